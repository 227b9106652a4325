"""`sipguard client`: fail2ban-client's commands. Its options are fail2ban-client's, so click passes them all through."""

from __future__ import annotations

import sys

import click


@click.command(
    "client",
    context_settings={"ignore_unknown_options": True, "allow_interspersed_args": False, "help_option_names": []},
    add_help_option=False,
)
@click.argument("arguments", nargs=-1, type=click.UNPROCESSED)
def command(arguments: tuple[str, ...]) -> None:
    """Do what fail2ban-client does, with its output and exit status: status, set JAIL banip …, reload, get JAIL … .

    `sipguard client --help` lists its options and commands.
    """
    from sipguard.fail2ban.client.main import run  # noqa: PLC0415 - `sipguard --help` does not need it

    sys.exit(run(arguments))
