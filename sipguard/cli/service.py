"""`sipguard service`: an installation by pip as a service of systemd."""

from __future__ import annotations

from pathlib import Path

import click

from sipguard.cli import output
from sipguard.cli.options import root_option


@click.group("service")
def command() -> None:
    """Make this installation a service of systemd, or take it away. The Debian package brings its own."""


@command.command("install")
@root_option
def _install(root: Path) -> None:
    """Write the unit for this installation's path, make the user `sipguard`, and start the service."""
    from sipguard.service.install import install  # noqa: PLC0415 - the help needs none of it

    install(root, output.say)


@command.command("uninstall")
@root_option
@click.option("--purge", is_flag=True, help="Remove configuration, state and the user `sipguard` too.")
def _uninstall(root: Path, *, purge: bool) -> None:
    """Stop the service, remove its files, and everything of sipguard's in the firewall.

    With --purge, what `sipguard enable` has written is put back first.
    """
    from sipguard.service.install import uninstall  # noqa: PLC0415

    if purge:
        from sipguard.enable.machine import Machine  # noqa: PLC0415
        from sipguard.enable.purging import take_back  # noqa: PLC0415

        take_back(Machine(root), output.say)
    uninstall(root, output.say, purge=purge)
