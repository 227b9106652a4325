"""Brings the daemon up: log, firewall, control socket, and the loop that joins them."""

from __future__ import annotations

import contextlib
import sys
import time
from collections.abc import AsyncIterator, Callable
from pathlib import Path
from typing import TYPE_CHECKING

from sipguard.config.settings import Settings
from sipguard.daemon.backend import firewall_of
from sipguard.daemon.commands import Commands
from sipguard.daemon.control import Control, read_socket
from sipguard.daemon.daemon import Daemon
from sipguard.daemon.memory import frugal, set_apart
from sipguard.daemon.metrics import measured, need_library
from sipguard.daemon.open_files import raise_open_files
from sipguard.daemon.operations import Operations, Reading
from sipguard.daemon.own_log import start as start_log

if TYPE_CHECKING:
    from sipguard.daemon.compat.start import Serve


async def protect(settings: Settings, read: Callable[[], Settings]) -> None:
    """Run by `settings` until stopped; `read` gets them anew for a reload. Raises `SipguardError`."""
    # A ban goes through three threads (watcher, loop, firewall). Python lets a busy one run for 5 ms before another may; a
    # guessing tool makes three guesses in that time.
    sys.setswitchinterval(0.0005)
    frugal()
    raise_open_files()
    start_log(settings.logtarget, settings.loglevel, settings.logformat)
    need_library(settings)  # refused before the state is opened, which nobody would close
    daemon = Daemon(settings, firewall_of(settings, clock=time.time), reload=read)
    daemon.tidy = set_apart
    serve = _control(settings, daemon)
    if settings.fail2ban_socket or settings.pidfile or settings.fail2ban_dbfile:
        from sipguard.daemon.compat.start import serving  # noqa: PLC0415 - a megabyte, for hosts that speak Fail2ban's ways

        serve = serving(Operations(daemon), serve)
    await daemon.run(measured(daemon, serve))


def _control(settings: Settings, daemon: Daemon) -> Serve:
    """The control sockets: one for everything, one that only answers questions."""
    ready, group, readers = daemon.ready.wait, settings.socket_group, settings.read_socket_group
    full = Control(Path(settings.socket), Commands(Operations(daemon)).table(), ready=ready, group=group)
    reading = Control(read_socket(settings), Commands(Reading(daemon)).table(), ready=ready, group=readers or group)

    @contextlib.asynccontextmanager
    async def serve() -> AsyncIterator[None]:
        async with full.serving(), reading.serving():
            yield

    return serve
