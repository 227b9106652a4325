"""`sipguard reload`: the configuration, without a gap in the protection."""

from __future__ import annotations

from pathlib import Path

import click

from sipguard.cli import output
from sipguard.cli.client import ask, json_option, socket_option


@click.command("reload")
@json_option
@socket_option
def command(as_json: bool, path: Path) -> None:
    """Make the running daemon read its configuration again."""
    result = ask(path, "reload")
    if as_json:
        output.print_json(result)
    else:
        click.echo(f"running: {', '.join(result['jails']) or 'no jail'}")
        for error in result["errors"]:
            output.complain(f"sipguard: {error}")
    if result["errors"]:
        raise click.exceptions.Exit(2)
    if not result["jails"]:
        raise click.exceptions.Exit(1)
