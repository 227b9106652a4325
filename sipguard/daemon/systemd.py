"""Tells systemd how we are: the datagrams of sd_notify(3), without its library."""

from __future__ import annotations

import os
import socket


def notify(state: str) -> bool:
    """Send `READY=1` and the like to the service manager; False when nobody listens."""
    address = os.environ.get("NOTIFY_SOCKET")
    if not address:
        return False
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM | socket.SOCK_CLOEXEC) as sock:
        try:
            sock.sendto(state.encode(), "\0" + address[1:] if address.startswith("@") else address)
        except OSError:  # the manager went away: nothing depends on its hearing us
            return False
    return True


def watchdog_interval() -> float | None:
    """Seconds between signs of life that the manager asks for (`WATCHDOG_USEC`), halved for safety; None for none."""
    usec = os.environ.get("WATCHDOG_USEC", "")
    pid = os.environ.get("WATCHDOG_PID")
    if not usec.isdigit() or (pid and int(pid) != os.getpid()):
        return None
    return int(usec) / 2_000_000
