"""`sipguard unban`: by hand, and for good: earlier failures count no more."""

from __future__ import annotations

from pathlib import Path

import click

from sipguard.cli import output
from sipguard.cli.client import ask, json_option, socket_option
from sipguard.cli.completion import banned_addresses, jail_names


@click.command("unban")
@click.argument("address", required=False, shell_complete=banned_addresses)
@click.option("--all", "everything", is_flag=True, help="Every ban of every jail.")
@click.option("--jail", metavar="NAME", shell_complete=jail_names, help="Only in this jail.")
@click.option("--fleet", is_flag=True, help="Also on the other nodes of the fleet that take it from this one.")
@click.option("-y", "--yes", is_flag=True, help="With --all: do it without asking.")
@json_option
@socket_option
def command(
    address: str | None, everything: bool, jail: str | None, fleet: bool, yes: bool, as_json: bool, path: Path
) -> None:
    """Let an address through again, and forget its failures."""
    if bool(address) is everything:
        raise click.UsageError("give an address, or --all")
    if fleet and (everything or jail):
        raise click.UsageError("--fleet takes an address alone")
    if everything and not yes:
        live = ask(path, "bans", limit=1, packets=False, jail=jail)["total"]
        output.confirm(f"This ends {output.counted(live, 'ban')}{f' of {jail}' if jail else ''}.", yes=not live)
    ended = ask(path, "unban", address=address, all=everything, jail=jail, fleet=fleet)
    if as_json:
        output.print_json(ended)
        return
    for ban in ended:
        click.echo(f"{ban['address']} unbanned in {ban['jail']}")
    if fleet:
        click.echo(f"{address}: the other nodes are told")
    elif not ended:
        click.echo("nothing was banned")
