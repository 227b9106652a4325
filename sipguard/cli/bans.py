"""`sipguard bans`: everybody who is rejected now."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import click

from sipguard.cli.ban_table import answer, list_options
from sipguard.cli.client import ask, json_option, socket_option


@click.command("bans")
@list_options
@json_option
@socket_option
def command(as_json: bool, path: Path, **query: Any) -> None:
    """List the live bans of all jails: since when, for how long, why, and on what evidence.

    ADDRESS is an address, or a network for everybody in it.
    """
    answer(ask(path, "bans", **query), past=False, as_json=as_json)
