"""The host's own iptables and ip6tables: the way to the filter table for whoever may use them."""

from __future__ import annotations

from typing import TYPE_CHECKING

from sipguard.errors import FirewallError
from sipguard.firewall import programs

if TYPE_CHECKING:
    from collections import deque
    from collections.abc import Mapping, Sequence

LOCK_WAIT = "10"
"""Seconds to wait for the xtables lock."""

_SIGNS: Mapping[str, str] = {
    "open socket to ipset": "its match `set` needs a raw socket: give CAP_NET_RAW as well as CAP_NET_ADMIN",
    "can't open lock file": "iptables-legacy works for root alone: run as root, or choose the firewall nftables",
    "you must be root": "iptables-legacy needs a raw socket: give CAP_NET_RAW as well, or choose the firewall nftables",
    "Permission denied": "run as root or with CAP_NET_ADMIN",
    "Operation not permitted": "run as root or with CAP_NET_ADMIN",
    "Another app is currently holding the xtables lock": f"another program held the xtables lock for {LOCK_WAIT} s",
    "can't initialize": "the kernel has no such tables: choose the firewall nftables",
}


class ProgramFilter:
    """The filter table of one family through `program` (iptables, ip6tables). `pids` is given the numbers of its processes."""

    def __init__(self, program: str, pids: deque[int]) -> None:
        self._program = program
        self._pids = pids

    def read(self) -> list[str]:
        """Give chains (`-N`) and rules (`-A`) as iptables -S does. Raises `FirewallError`."""
        return self._run([self._program, "-w", LOCK_WAIT, "-S"]).splitlines()

    def restore(self, lines: Sequence[str]) -> None:
        """Do these lines of an iptables-restore script, all or none, and leave the rest. Raises `FirewallError`."""
        script = "\n".join(["*filter", *lines, "COMMIT", ""])
        self._run([f"{self._program}-restore", "--noflush", "-w", LOCK_WAIT], script)

    def _run(self, command: Sequence[str], script: str = "") -> str:
        try:
            return programs.run(command, script, package="iptables", pids=self._pids)
        except programs.ProgramError as error:
            for sign, text in _SIGNS.items():
                if sign in error.stderr:
                    raise FirewallError(f"{self._program}: {text}") from None
            raise
