"""`sipguard unban`: by hand, and for good: earlier failures count no more."""

from __future__ import annotations

from pathlib import Path

import click

from sipguard.cli import output
from sipguard.cli.client import ask, json_option, socket_option


@click.command("unban")
@click.argument("address", required=False)
@click.option("--all", "everything", is_flag=True, help="Every ban of every jail.")
@click.option("--jail", help="In this jail only.")
@json_option
@socket_option
def command(address: str | None, everything: bool, jail: str | None, as_json: bool, path: Path) -> None:
    """Let an address through again, and forget its failures. Exit status 1 if it was not banned."""
    if bool(address) is everything:
        raise click.UsageError("give an address, or --all")
    ended = ask(path, "unban", address=address, all=everything, jail=jail)
    if as_json:
        output.as_json(ended)
        return
    for ban in ended:
        click.echo(f"{ban['address']} unbanned in {ban['jail']}")
    if not ended:
        click.echo("nothing was banned")
