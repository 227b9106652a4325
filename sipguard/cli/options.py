"""Options that several commands have."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import click
from click.decorators import FC

from sipguard.config.paths import MAIN_FILE

PATH = click.Path(path_type=Path)
root_option = click.option(
    "--root",
    type=click.Path(path_type=Path, file_okay=False, exists=True),
    default=Path("/"),
    metavar="DIR",
    help="Look at and write to the machine below this folder; no user is made, nothing is started or stopped.",
)


def config_option(told: str = "The configuration file.") -> Callable[[FC], FC]:
    """`-c FILE`. Without it SIPGUARD_CONFIG names the file (`paths.main_file`)."""
    return click.option("-c", "--config", type=PATH, metavar="FILE", help=f"{told}  [default: {MAIN_FILE}]")
