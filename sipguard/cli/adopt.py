"""`sipguard adopt`: takes over from a running Fail2ban, and goes back."""

from __future__ import annotations

import shlex
import time
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

import click

from sipguard.cli import output
from sipguard.cli.client import DEFAULT_SOCKET
from sipguard.cli.options import PATH, config_option
from sipguard.text import printable

if TYPE_CHECKING:
    from collections.abc import Mapping

    from sipguard.adopt.services import Services
    from sipguard.config.settings import Settings

COMMANDS = {
    "stop_fail2ban": "Instead of `systemctl disable --now fail2ban`, or `fail2ban-client stop` where there is no systemd.",
    "start_fail2ban": "For --undo: instead of `systemctl enable --now fail2ban`, or `fail2ban-client start`.",
    "start_sipguard": "Instead of `systemctl enable --now sipguard`, or a process in the background.",
    "stop_sipguard": "For --undo: instead of `systemctl disable --now sipguard`, or the signal TERM.",
}


def _command_options(function: click.decorators.FC) -> click.decorators.FC:
    for name, told in COMMANDS.items():
        function = click.option(f"--{name.replace('_', '-')}", name, metavar="COMMAND", help=told)(function)
    return function


@click.command("adopt")
@click.option("--dry-run", is_flag=True, help="Show what would change, and change nothing.")
@click.option("--undo", is_flag=True, help="Go back to Fail2ban, with the bans and positions of now.")
@click.option(
    "--fail2ban-dir",
    type=PATH,
    default=Path("/etc/fail2ban"),
    show_default=True,
    metavar="DIR",
    help="Fail2ban's configuration.",
)
@config_option("sipguard.toml, for what Fail2ban cannot say.")
@click.option(
    "--firewall",
    metavar="NAME",
    help="What enforces bans: nftables, ipset, iptables.  [default: as sipguard.toml says]",
)
@click.option("--state-dir", type=PATH, help="Where sipguard's state is kept.  [default: as sipguard.toml says]")
@click.option("--socket", "path", type=PATH, help="sipguard's control socket.  [default: as sipguard.toml says]")
@_command_options
def command(
    *,
    dry_run: bool,
    undo: bool,
    fail2ban_dir: Path,
    config: Path | None,
    firewall: str | None,
    state_dir: Path | None,
    path: Path | None,
    **commands: str | None,
) -> None:
    """Take over from a running Fail2ban: its jails, its live bans with their remaining time, its log positions.

    Shows what will change, puts the bans into sipguard's own table, stops Fail2ban, and starts sipguard. You are protected all
    the time. --undo does the reverse.
    """
    from sipguard.adopt.takeover import Adoption  # noqa: PLC0415
    from sipguard.daemon.backend import firewall_of  # noqa: PLC0415
    from sipguard.fail2ban.config.settings import read_settings  # noqa: PLC0415 - the help needs none of it
    from sipguard.fail2ban.config.to_settings import load_tree  # noqa: PLC0415

    loaded = load_tree(fail2ban_dir, config)
    settings = replace(
        loaded,
        firewall=firewall or loaded.firewall,
        state_dir=str(state_dir or loaded.state_dir),
        socket=str(path or loaded.socket or DEFAULT_SOCKET),
    )
    given = {"-c": config, "--firewall": firewall, "--state-dir": state_dir, "--socket": path}
    adoption = Adoption(
        settings,
        _database(read_settings(fail2ban_dir).dbfile),
        _services(settings, fail2ban_dir, given, commands),
        firewall_of(settings, clock=time.time),
        time.time,
        lambda line: output.say(printable(line)),
    )
    if undo and dry_run:
        raise click.UsageError("--dry-run tells of the way to sipguard alone; --undo has none")
    if undo:
        adoption.undo()
        return
    kept = adoption.announce()
    if not dry_run:
        adoption.carry_out(kept)


def _database(dbfile: str) -> Path:
    if dbfile.lower() in ("none", ":memory:"):
        raise click.UsageError(
            f"Fail2ban's dbfile is {dbfile}: its bans are nowhere to be read; give it a file in fail2ban.local and restart it"
        )
    return Path(dbfile)


def _services(
    settings: Settings, fail2ban_dir: Path, given: Mapping[str, object], commands: dict[str, str | None]
) -> Services:
    from sipguard.adopt.services import Services, own_program  # noqa: PLC0415

    options = [word for key, value in given.items() if value is not None for word in (key, str(value))]
    run = [*own_program(), "run", "--fail2ban-dir", str(fail2ban_dir), *options]
    return Services(
        fail2ban_dir,
        Path(settings.socket),
        run,
        **{name: tuple(shlex.split(text)) for name, text in commands.items() if text},
    )
