"""Brings the daemon up: log, firewall, control socket, and the loop that joins them."""

from __future__ import annotations

import sys
import time
from collections.abc import Callable
from pathlib import Path

from sipguard.config.settings import Settings
from sipguard.daemon.backend import firewall_of
from sipguard.daemon.commands import Commands
from sipguard.daemon.compat.start import serving
from sipguard.daemon.control import Control
from sipguard.daemon.daemon import Daemon
from sipguard.daemon.memory import frugal
from sipguard.daemon.metrics import measured
from sipguard.daemon.own_log import start as start_log


async def protect(settings: Settings, read: Callable[[], Settings]) -> None:
    """Run by `settings` until stopped; `read` gets them anew for a reload. Raises `SipguardError`."""
    # A ban goes through three threads (watcher, loop, firewall). Python lets a busy one run for 5 ms before another may; a
    # guessing tool makes three guesses in that time.
    sys.setswitchinterval(0.0005)
    frugal()
    start_log(settings.logtarget, settings.loglevel, settings.logformat)
    daemon = Daemon(settings, firewall_of(settings, clock=time.time), reload=read)
    control = Control(Path(settings.socket), Commands(daemon).table(), group=settings.socket_group)
    await daemon.run(measured(daemon, serving(daemon, control.serving)))
