"""`sipguard flush`: all of ours, and nothing else."""

from __future__ import annotations

from pathlib import Path

import click

from sipguard.cli import output
from sipguard.cli.client import ask, json_option, socket_option


@click.command("flush")
@json_option
@socket_option
def command(as_json: bool, path: Path) -> None:
    """End every ban of sipguard's. Nobody else's rules are touched."""
    ended = ask(path, "flush")
    if as_json:
        output.as_json(ended)
    else:
        click.echo(f"{len(ended)} bans ended")
