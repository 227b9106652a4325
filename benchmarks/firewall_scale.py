"""How the firewall backends grow: 10,000 and 100,000 bans, in a network namespace that is made and removed here.

    python -m benchmarks.firewall_scale        (as root; prints one table)

`measure` gives the numbers, `report` the text.
"""

from __future__ import annotations

import ctypes
import importlib.util
import os
import secrets
import shutil
import socket
import subprocess
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from sipguard.firewall.base import Firewall
from sipguard.firewall.choose import open_firewall
from sipguard.model import Ban, PortRange, Rule

COUNTS = (10_000, 100_000)
MOST_RULES = 10_000
"""Bans of the backend `iptables` at most: each is a rule."""
SIP = Rule("asterisk", (PortRange(5060, 5061),), ("tcp", "udp"))
PACKETS = 20_000
FURTHER = 20
_CLONE_NEWNET = 0x40000000


@dataclass(frozen=True)
class Scale:
    """What one backend takes with so many bans. Seconds, and MiB."""

    backend: str
    bans: int
    install: float
    """All of them in one call."""
    further: float
    """One more, alone: the median."""
    packet: float
    """One UDP packet over loopback to a port of the jail, less the same without a firewall."""
    restart: float
    """A new process opens, and is given all of them again."""
    listing: float
    """Reading all of them back, for the comparison with the daemon's list."""
    kernel: float
    """Memory of the machine that went."""


def measure(counts: Sequence[int] = COUNTS, backends: Sequence[str] = ("nftables", "ipset", "iptables")) -> list[Scale]:
    """Measure each backend that this host has. Needs root."""
    found = []
    for backend in backends:
        for count in counts:
            if backend == "iptables" and (count > MOST_RULES or not _has_legacy()):
                continue
            if backend == "ipset" and shutil.which("ipset") is None:
                continue
            with _namespace():
                found.append(_measure(backend, count))
    return found


def report(scales: Sequence[Scale]) -> str:
    """The numbers as a table."""
    head = f"{'backend':9} {'bans':>8} {'install':>9} {'one more':>9} {'a packet':>9} {'restart':>9} {'listing':>9} {'memory':>8}"
    lines = [
        f"{s.backend:9} {s.bans:8,} {s.install:7.3f} s {s.further * 1e3:6.2f} ms {s.packet * 1e6:6.2f} µs "
        f"{s.restart:7.3f} s {s.listing:7.3f} s {s.kernel:4.0f} MiB"
        for s in scales
    ]
    return "\n".join([head, *lines])


def _measure(backend: str, count: int) -> Scale:
    bare = _per_packet()
    firewall = _open(backend)
    firewall.open([SIP])
    end = time.time() + 86_400
    bans = [Ban(f"10.{i >> 16}.{i >> 8 & 255}.{i & 255}", "asterisk", 0.0, end) for i in range(count)]
    free = _available()
    install = _seconds(lambda: firewall.ban(bans))
    kernel = max(0.0, free - _available())
    further = sorted(
        _seconds(lambda number=number: firewall.ban([Ban(f"198.18.0.{number}", "asterisk", 0.0, end)]))  # type: ignore[misc]
        for number in range(FURTHER)
    )[FURTHER // 2]
    packet = _per_packet() - bare
    again = _open(backend)

    def restart() -> None:
        again.open([SIP])
        again.ban(bans)

    took = _seconds(restart)
    listing = _seconds(lambda: again.entries() and None)
    return Scale(backend, count, install, further, packet, took, listing, kernel)


def _open(backend: str) -> Firewall:
    if backend == "iptables":
        from sipguard.firewall.iptables import IptablesFirewall  # noqa: PLC0415 - python-iptables may not be there

        return IptablesFirewall(clock=time.time, program="iptables-legacy")
    return open_firewall(backend, clock=time.time)


def _has_legacy() -> bool:
    return shutil.which("iptables-legacy") is not None and importlib.util.find_spec("iptc") is not None


def _seconds(function: Callable[[], None]) -> float:
    begin = time.perf_counter()
    function()
    return time.perf_counter() - begin


def _available() -> float:
    """MiB that programs could still have."""
    lines = Path("/proc/meminfo").read_text().splitlines()
    (kib,) = (line.split()[1] for line in lines if line.startswith("MemAvailable"))
    return int(kib) / 1024


def _per_packet() -> float:
    """CPU seconds for one datagram over loopback: the best of three runs."""
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as listener, socket.socket(type=socket.SOCK_DGRAM) as sender:
        listener.bind(("127.0.0.1", 5060))
        sender.connect(("127.0.0.1", 5060))
        payload = b"x" * 400
        best = float("inf")
        for _ in range(3):
            begin = time.process_time()
            for _ in range(PACKETS):
                sender.send(payload)
            best = min(best, time.process_time() - begin)
        return best / PACKETS


@contextmanager
def _namespace() -> Iterator[None]:
    """Be in a network namespace of our own for a while: the machine's firewall is not touched."""
    libc = ctypes.CDLL(None, use_errno=True)  # os.setns came with Python 3.12 only
    name = f"sgbench-{os.getpid()}-{secrets.token_hex(3)}"
    subprocess.run(["ip", "netns", "add", name], check=True)
    try:
        subprocess.run(["ip", "-n", name, "link", "set", "lo", "up"], check=True)
        with Path("/proc/thread-self/ns/net").open("rb") as home, Path("/run/netns", name).open("rb") as there:
            if libc.setns(there.fileno(), _CLONE_NEWNET) != 0:
                raise OSError(ctypes.get_errno(), "setns")
            try:
                yield
            finally:
                libc.setns(home.fileno(), _CLONE_NEWNET)
    finally:
        subprocess.run(["ip", "netns", "del", name], check=True)


if __name__ == "__main__":
    print(report(measure()))
