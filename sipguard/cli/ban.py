"""`sipguard ban`: by hand."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Any

import click

from sipguard.cli import output
from sipguard.cli.client import ask, json_option, socket_option
from sipguard.cli.completion import jail_names

AT_ONCE = 1000
"""Addresses in one question: the daemon reads logs between two of them."""


@click.command("ban")
@click.argument("addresses", nargs=-1, required=True, metavar="ADDRESS...")
@click.option(
    "--jail",
    metavar="NAME",
    shell_complete=jail_names,
    help="Only on this jail's ports.  [default: every port, in a jail of its own]",
)
@click.option(
    "--time",
    "length",
    metavar="TIME",
    help="How long, e.g. 1h; -1 for good.  [default: the jail's bantime; without a jail 24h]",
)
@click.option("--reason", help="Why; `sipguard explain` shows it.")
@json_option
@socket_option
def command(
    addresses: tuple[str, ...], jail: str | None, length: str | None, reason: str | None, as_json: bool, path: Path
) -> None:
    """Reject addresses for a while. ADDRESS is an address, a network, or `-` for a list on standard input.

    If one of them is no address, or may never be banned, the others are banned all the same.
    """
    made: list[dict[str, Any]] = []
    refused: list[str] = []
    words = [[address] if address != "-" else sys.stdin.read().split() for address in addresses]
    expanded = [word for several in words for word in several]
    for start in range(0, len(expanded), AT_ONCE):
        chunk = expanded[start : start + AT_ONCE]
        answer = ask(path, "ban", addresses=chunk, jail=jail, time=length, reason=reason)
        made += answer["made"]
        refused += answer["refused"]
        if not as_json:
            _tell(answer["made"], answer["kept"])
    if as_json:
        output.print_json(made)
    for line in refused:
        output.complain(f"sipguard: {line}")
    if refused:
        raise click.exceptions.Exit(2)


def _tell(made: list[dict[str, Any]], kept: list[str]) -> None:
    for ban in made:
        until = ban["until"]
        end = "for good" if until is None else f"until {output.moment(until)}"
        longer = "; that ban lasts longer and is left as it is" if ban["address"] in kept else ""
        output.say(f"{ban['address']} banned {output.by(ban['jail'])} {end}{longer}")
