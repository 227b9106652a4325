"""`sipguard ban`: by hand."""

from __future__ import annotations

import sys
from pathlib import Path

import click

from sipguard.cli import output
from sipguard.cli.client import ask, json_option, socket_option


@click.command("ban")
@click.argument("addresses", nargs=-1, required=True, metavar="ADDRESS...")
@click.option("--jail", help="For this jail's ports; needed when several jails run.")
@click.option("--time", "length", help="How long, e.g. 1h; -1 for good.  [default: the jail's bantime]")
@click.option("--reason", help="Kept with the ban, for `sipguard explain`.")
@json_option
@socket_option
def command(
    addresses: tuple[str, ...], jail: str | None, length: str | None, reason: str | None, as_json: bool, path: Path
) -> None:
    """Reject addresses for a while. ADDRESS is an address, a network, or `-` for a list on standard input."""
    made = []
    for address in _expand(addresses):
        ban = ask(path, "ban", address=address, jail=jail, time=length, reason=reason)
        made.append(ban)
        if not as_json:
            until = ban["until"]
            end = "for good" if until is None else f"until {output.moment(until)}"
            click.echo(f"{ban['address']} banned by {ban['jail']} {end}")
    if as_json:
        output.as_json(made)


def _expand(addresses: tuple[str, ...]) -> list[str]:
    """Replace `-` by the words of standard input."""
    expanded: list[str] = []
    for address in addresses:
        expanded += sys.stdin.read().split() if address == "-" else [address]
    return expanded
