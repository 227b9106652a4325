"""One sipguard alone changes the firewall of a network namespace: two would take each other's rules away without end.

Its sign is an abstract Unix socket (unix(7)): the kernel keeps such names apart by network namespace, as it does the firewall,
and forgets one with the process that has it, however that ends.
"""

from __future__ import annotations

import errno
import os
import socket
import struct
from pathlib import Path

from sipguard.errors import FirewallError

_NAME = "\0sipguard-firewall"
_NET_ADMIN = 1 << 12
"""CAP_NET_ADMIN (linux/capability.h)."""
_ASKERS = 64
"""Others that may ask who has it: each does once."""


class SoleOwner:
    """The right to change this namespace's firewall. Any thread may ask, one at a time."""

    def __init__(self) -> None:
        self._sign: socket.socket | None = None
        self.is_settled = False
        """Whether `claim` has nothing left to do: the right is had, or nobody else can want it."""
        self._other = 0
        """The process that had it when last asked for."""

    def claim(self) -> None:
        """Have the right, or get it. Raises `FirewallError` while another sipguard has it; costs nothing once it is had."""
        if self.is_settled:
            return
        sign = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM | socket.SOCK_CLOEXEC)
        try:
            sign.bind(_NAME)
            sign.listen(_ASKERS)
        except OSError as error:
            sign.close()
            if error.errno == errno.EADDRINUSE:
                self._give_way()
        else:
            self._sign = sign
        self.is_settled = True

    def _give_way(self) -> None:
        """Raise `FirewallError` if another sipguard has the name."""
        if not self._other or not Path(f"/proc/{self._other}").exists():  # else it is known, and asked but once
            owner = _owner()
            if owner is None:
                return
            self._other = owner
        process = f"process {self._other}" if self._other else "in another container"
        raise FirewallError(
            f"another sipguard ({process}) guards this network namespace already: stop one of the two; "
            "until then this one changes nothing"
        )

    def leave(self) -> None:
        """Give the right back."""
        if self._sign is not None:
            self._sign.close()
        self._sign, self.is_settled = None, False


def _owner() -> int | None:
    """The process that has the name, 0 for one in another PID namespace; None for one that cannot change firewalls, or we."""
    with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM | socket.SOCK_CLOEXEC) as asked:
        asked.setblocking(False)
        try:
            asked.connect(_NAME)
            # struct ucred of unix(7): those of whoever called listen(2).
            pid, uid, _ = struct.unpack("3i", asked.getsockopt(socket.SOL_SOCKET, socket.SO_PEERCRED, 12))
        except OSError:  # nobody listens, or too many have asked: no sipguard
            return None
    if pid == os.getpid() or not (uid in {0, os.geteuid()} or _may_change_firewalls(pid)):
        return None
    return int(pid)


def _may_change_firewalls(pid: int) -> bool:
    try:
        status = Path(f"/proc/{pid}/status").read_text()
    except OSError:
        return False
    (capabilities,) = (int(line.split()[1], 16) for line in status.splitlines() if line.startswith("CapEff:"))
    return bool(capabilities & _NET_ADMIN)
