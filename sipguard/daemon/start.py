"""Brings the daemon up: log, firewall, control socket, and the loop that joins them."""

from __future__ import annotations

import os
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

from sipguard.config.settings import Settings
from sipguard.daemon.commands import Commands
from sipguard.daemon.control import Control
from sipguard.daemon.daemon import Daemon
from sipguard.daemon.logs import start as start_log
from sipguard.daemon.metrics import measured
from sipguard.errors import ConfigError
from sipguard.firewall.choose import open_firewall


async def protect(settings: Settings, read: Callable[[], Settings]) -> None:
    """Run by `settings` until stopped; `read` gets them anew for a reload. Raises `SipguardError`."""
    # A ban goes through three threads (watcher, loop, firewall). Python lets a busy one run for 5 ms before another may; a
    # guessing tool makes three guesses in that time.
    sys.setswitchinterval(0.0005)
    start_log(settings.logtarget, settings.loglevel, settings.logformat)
    firewall = open_firewall(settings.firewall, clock=time.time)
    daemon = Daemon(settings, firewall, reload=read)
    control = Control(Path(settings.socket), Commands(daemon).table(), group=settings.socket_group)
    with _pidfile(settings.pidfile):
        await daemon.run(measured(daemon, control.serving))


@contextmanager
def _pidfile(path: str) -> Iterator[None]:
    """Our process id in this file while we run; no path, no file. Raises `ConfigError`."""
    if not path:
        yield
        return
    file = Path(path)
    try:
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_text(f"{os.getpid()}\n", encoding="ascii")
    except OSError as error:
        raise ConfigError(f"pidfile {path}: {error.strerror}; name another place in fail2ban.conf, or None") from error
    try:
        yield
    finally:
        file.unlink(missing_ok=True)
