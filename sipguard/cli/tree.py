"""The options by which a command is pointed at a Fail2ban tree."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Literal

import click

from sipguard.cli.options import PATH
from sipguard.config.settings import load

if TYPE_CHECKING:
    from sipguard.config.settings import Settings

BanActions = Literal["firewall", "commands"]

fail2ban_dir_option = click.option(
    "--fail2ban-dir",
    type=PATH,
    metavar="DIR",
    help="Run the jails of this Fail2ban tree, e.g. /etc/fail2ban, as Fail2ban would.",
)
banactions_option = click.option(
    "--banactions",
    type=click.Choice(("firewall", "commands")),
    default="firewall",
    show_default=True,
    help="Who carries out the firewall actions of such a tree: sipguard's firewall, or the commands of the action files.",
)


def load_settings(config: Path | None, fail2ban_dir: Path | None, banactions: BanActions = "firewall") -> Settings:
    """The native configuration, or with a tree what the tree says over it. Raises ConfigError."""
    if fail2ban_dir is None:
        return load(config)
    from sipguard.fail2ban.config.to_settings import load_tree  # noqa: PLC0415 - most run without a tree

    return load_tree(fail2ban_dir, config, banactions=banactions)
