"""`sipguard run`: the daemon in the foreground, as systemd and containers want it."""

from __future__ import annotations

import asyncio
import signal
from dataclasses import replace
from pathlib import Path

import click

from sipguard.cli.options import PATH, config_option
from sipguard.cli.tree import BanActions, banactions_option, fail2ban_dir_option, load_settings
from sipguard.config.settings import Settings
from sipguard.errors import SipguardError
from sipguard.service_manager import has_systemd, starting

_STRAY_SIGNALS = (
    signal.SIGHUP,
    signal.SIGUSR1,
    signal.SIGUSR2,
    signal.SIGALRM,
    signal.SIGVTALRM,
    signal.SIGPROF,
    signal.SIGIO,
    signal.SIGPWR,
)
BACKENDS = ("auto", "nftables", "ipset", "iptables", "memory")


@click.command("run")
@config_option()
@fail2ban_dir_option
@banactions_option
@click.option("--firewall", type=click.Choice(BACKENDS), help="What enforces bans; `memory` enforces nothing.")
@click.option("--flush-on-stop", is_flag=True, help="Remove all bans from the firewall when stopped.")
@click.option(
    "--state-dir", type=PATH, help="Where bans and log positions are kept.  [default: as the configuration says]"
)
@click.option(
    "--socket", type=PATH, help="Where other commands reach the daemon.  [default: as the configuration says]"
)
@click.option("--fail2ban-socket", type=PATH, help="Answer fail2ban-client and other clients of Fail2ban here too.")
def command(
    config: Path | None,
    fail2ban_dir: Path | None,
    banactions: BanActions,
    firewall: str | None,
    flush_on_stop: bool,
    state_dir: Path | None,
    socket: Path | None,
    fail2ban_socket: Path | None,
) -> None:
    """Protect: follow the logs and ban, until stopped.

    Bans stay in the firewall when the daemon stops, unless --flush-on-stop; the next start goes on with them.
    """

    _outlive_signals()

    def read() -> Settings:
        settings = load_settings(config, fail2ban_dir, banactions)
        return replace(
            settings,
            firewall=firewall or settings.firewall,
            flush_on_stop=flush_on_stop or settings.flush_on_stop,
            state_dir=str(state_dir or settings.state_dir),
            socket=str(socket or settings.socket),
            fail2ban_socket=str(fail2ban_socket or settings.fail2ban_socket),
        )

    settings = read()
    _need_rights(settings)
    # Imported here: a wrong configuration is told before a second is spent on the rest.
    from sipguard.daemon.start import protect  # noqa: PLC0415

    asyncio.run(protect(settings, read))


def _need_rights(settings: Settings) -> None:
    """Raise SipguardError for a user who may not change the firewall: nothing that happens later would give him that right."""
    if settings.firewall == "memory":
        return
    from sipguard.firewall import host  # noqa: PLC0415 - after a wrong configuration is told

    if host.has_right(host.CAP_NET_ADMIN):
        return
    lacks = ["CAP_NET_ADMIN, to change the firewall"]
    if not host.has_right(host.CAP_DAC_READ_SEARCH):
        lacks.append("CAP_DAC_READ_SEARCH, to read others' logs")
    service = f", or start the service: {starting()}" if has_systemd() else ""
    raise SipguardError(
        f"run lacks rights: {'; '.join(lacks)}. Use sudo{service}. "
        "For a trial without them: --firewall memory --state-dir DIR --socket PATH"
    )


def _outlive_signals() -> None:
    """A stray signal that would end the process does nothing; the daemon itself takes SIGHUP, SIGTERM and SIGINT later.

    A handler and not SIG_IGN, which the actions' commands would inherit (signal(7)).
    """
    for number in _STRAY_SIGNALS:
        signal.signal(number, lambda *_: None)
        signal.siginterrupt(number, False)  # no call into the kernel fails for it
