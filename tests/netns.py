"""Network namespaces for tests of firewalls: made under a unique name, entered, linked, and always removed.

    with namespace() as server, namespace() as attacker:
        link(attacker, ["198.51.100.66/24"], server, ["198.51.100.1/24"])
        with server.inside():
            ...  # sockets made here and programs started here belong to the namespace

The machine's own namespace is never changed: even the cables are made inside.
"""

from __future__ import annotations

import contextlib
import ctypes
import os
import secrets
import shutil
import socket
import struct
import subprocess
import time
from pathlib import Path
from typing import TYPE_CHECKING

import pytest
from needs import must_be_marked

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

LEGACY = "mount --bind /usr/sbin/xtables-legacy-multi /usr/sbin/xtables-nft-multi || exit 77; "
"""Shell: makes the legacy iptables the host's own, for this process alone (`ip netns exec` gives it mounts of its own)."""

_CLONE_NEWNET = 0x40000000
_libc = ctypes.CDLL(None, use_errno=True)


class Namespace:
    """One network namespace, with its loopback up."""

    def __init__(self, name: str) -> None:
        self.name = name
        self.cables = 0

    def run(self, *command: str, script: str = "", check: bool = True) -> str:
        """Run a program inside and give what it prints; fails with its complaint."""
        full = ["ip", "netns", "exec", self.name, *command]
        done = subprocess.run(full, input=script, capture_output=True, text=True, check=False)
        assert done.returncode == 0 or not check, f"{command}: {done.stderr}"
        return done.stdout

    @contextlib.contextmanager
    def inside(self) -> Iterator[None]:
        """Move this thread into the namespace: a socket stays where it was made, a program where it was started."""
        with Path("/proc/thread-self/ns/net").open("rb") as home:
            with Path("/run/netns", self.name).open("rb") as there:
                _enter(there.fileno())
            try:
                yield
            finally:
                _enter(home.fileno())


def _enter(descriptor: int) -> None:
    # os.setns came with Python 3.12 only.
    if _libc.setns(descriptor, _CLONE_NEWNET) != 0:
        raise OSError(ctypes.get_errno(), "setns")


def missing(*programs: str) -> str:
    """Say why namespaces cannot be made here, or which of these programs is not installed; empty when all is well."""
    if os.geteuid() != 0:
        return "needs root to make network namespaces"
    absent = [program for program in ("ip", *programs) if shutil.which(program) is None]
    return f"needs the programs {', '.join(absent)}" if absent else ""


@contextlib.contextmanager
def namespace(*programs: str) -> Iterator[Namespace]:
    """Make a namespace and remove it at the end; skips the test, saying why, without root or one of the programs."""
    must_be_marked("root")
    reason = missing(*programs)
    if reason:
        pytest.skip(reason)
    name = f"sgtest-{os.getpid()}-{secrets.token_hex(4)}"
    subprocess.run(["ip", "netns", "add", name], check=True)
    try:
        subprocess.run(["ip", "-n", name, "link", "set", "lo", "up"], check=True)
        yield Namespace(name)
    finally:
        subprocess.run(["ip", "netns", "del", name], check=True)


def link(one: Namespace, one_addresses: Sequence[str], other: Namespace, other_addresses: Sequence[str]) -> None:
    """Lay a cable (a veth pair) between two namespaces and give its ends addresses, each with its prefix length."""
    ends = (one, f"veth{one.cables}", one_addresses), (other, f"veth{other.cables}", other_addresses)
    peer = ["peer", "name", ends[1][1], "netns", other.name]
    _ip(one, "link", "add", ends[0][1], "type", "veth", *peer)
    for end, device, addresses in ends:
        end.cables += 1
        for address in addresses:
            # Without nodad an IPv6 address cannot be used in its first second.
            _ip(end, "address", "add", address, "dev", device, *(["nodad"] if ":" in address else []))
        _ip(end, "link", "set", device, "up")
    for (end, device, _), (far, far_device, addresses) in (ends, ends[::-1]):
        mac = _wait_until_up(far, far_device)
        for address in addresses:
            # Told, not discovered: over a new cable the first neighbour solicitations are lost for a second or two.
            if ":" in address:
                _ip(end, "neighbour", "add", address.split("/")[0], "lladdr", mac, "dev", device)


def _wait_until_up(end: Namespace, device: str) -> str:
    """Give the device's hardware address; until the kernel has seen both ends come up it drops what is sent."""
    deadline = time.monotonic() + 20
    while True:
        _, state, mac, *_ = _ip(end, "-br", "link", "show", device).split()
        if state == "UP":
            return mac
        assert time.monotonic() < deadline, f"{device} is {state}"
        time.sleep(0.01)


SO_TIMESTAMP = 29
"""socket(7); Python has no name for it."""


def arrival(listener: socket.socket) -> float:
    """Read a datagram and give the time (time.time()) at which the kernel had it, for a socket with SO_TIMESTAMP on."""
    _, told, _, _ = listener.recvmsg(2000, 100)
    ((_, _, when),) = told
    seconds, micros = struct.unpack("ll", when)
    return float(seconds + micros / 1e6)


def _ip(end: Namespace, *arguments: str) -> str:
    return subprocess.run(["ip", "-n", end.name, *arguments], check=True, capture_output=True, text=True).stdout
