"""`sipguard firewall show` and `verify`: what is ours in the kernel, and whether all of it is there."""

from __future__ import annotations

from pathlib import Path

import click

from sipguard.cli import output
from sipguard.cli.client import ask, json_option, socket_option
from sipguard.text import printable


@click.group("firewall")
def command() -> None:
    """Show or verify what sipguard has made in the firewall."""


@command.command("show")
@socket_option
def show(path: Path) -> None:
    """Print what sipguard has made, in the backend's own syntax: nft, iptables, ipset."""
    for line in ask(path, "firewall", what="show").splitlines():
        output.say(printable(line.expandtabs(4)))


@command.command("verify")
@json_option
@socket_option
def verify(as_json: bool, path: Path) -> None:
    """Check that the firewall has every ban and rule. Exit status 1 if something is missing."""
    problems = ask(path, "firewall", what="verify")
    output.answer(problems, as_json, lambda found: output.say("\n".join(map(printable, found)) or "all there"))
    if problems:
        raise click.exceptions.Exit(1)
