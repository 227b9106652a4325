"""The SIP servers of this machine, and the ports at which they listen: proc(5).

A server's UDP sockets are those of media too, so of these the ones count that it also listens at over TCP, and those of the usual
SIP ports; the other low ones are doubtful. Another user's process can be looked into by root alone, but whose a socket is, is
known to all: the users of SIP servers are called like them.
"""

from __future__ import annotations

import ipaddress
import pwd
import sys
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

if TYPE_CHECKING:
    from collections.abc import Iterator

SERVERS = frozenset(
    {"freeswitch", "asterisk", "kamailio", "opensips", "yate", "drachtio", "sofia-sip", "b2bua", "rtpengine"}
)
"""Names of processes (comm) of SIP servers."""
_USUAL = frozenset(range(5060, 5100))
_NOT_SIP = frozenset({22, 53, 80, 123, 443, 2000, 2727, 3478, 4520, 4569, 5000, 5038, 5353, 8021})
"""Other services of the same servers: DNS, HTTP, Skinny, MGCP, STUN, DUNDi, IAX2, Unistim, manager interface, event socket."""
_LISTENS, _UNCONNECTED = "0A", "07"
"""States of sockets: TCP_LISTEN, and of UDP TCP_CLOSE (net/tcp_states.h)."""
_MEDIA = 10_000
"""From here on ports of servers are those of media."""


class SipSocket(NamedTuple):
    """A port at which a SIP server of this machine listens."""

    server: str
    protocol: str
    port: int


class Bound(NamedTuple):
    """Where a SIP server of this machine listens."""

    server: str
    address: str
    """Canonical; `0.0.0.0` or `::` for all of the machine's."""
    port: int


class SipServers(NamedTuple):
    """What there is."""

    sockets: tuple[SipSocket, ...]
    doubtful: tuple[SipSocket, ...]
    """UDP ports of theirs that may be SIP's or not."""
    elsewhere: tuple[str, ...]
    """SIP servers in other network namespaces, as `asterisk (process 4711)`."""
    unreadable: tuple[str, ...]
    """SIP servers whose sockets we may not see."""
    bound: tuple[Bound, ...] = ()
    """The places of `sockets`, each once, whatever the protocol."""


def find(proc: Path = Path("/proc")) -> SipServers:
    """Look at all processes: some milliseconds."""
    home = _namespace(proc / "self")
    owners: dict[str, str] = {}
    elsewhere, unreadable = [], []
    for process, name in _servers(proc):
        space = _namespace(process)
        told = f"{name} (process {process.name})"
        if not space:
            unreadable.append(told)
        elif space != home:
            elsewhere.append(told)
        else:
            owners |= dict.fromkeys(_sockets(process), name)
    found = list(_ports(proc, owners))
    ports = sorted({(one, certain) for one, certain, _ in found})
    return SipServers(
        tuple(one for one, certain in ports if certain),
        tuple(one for one, certain in ports if not certain),
        tuple(elsewhere),
        tuple(unreadable),
        tuple(sorted({Bound(one.server, address, one.port) for one, certain, address in found if certain})),
    )


def _servers(proc: Path) -> Iterator[tuple[Path, str]]:
    try:
        processes = [entry for entry in proc.iterdir() if entry.name.isdigit()]
    except OSError:
        return
    for entry in processes:
        try:
            name = (entry / "comm").read_text().strip()
        except OSError:  # it has ended
            continue
        if name in SERVERS:
            yield entry, name


def _namespace(process: Path) -> str:
    try:
        return str((process / "ns" / "net").readlink())
    except OSError:
        return ""


def _sockets(process: Path) -> Iterator[str]:
    """The inodes of a process's sockets."""
    try:
        for entry in (process / "fd").iterdir():
            try:
                target = str(entry.readlink())
            except OSError:
                continue
            if target.startswith("socket:["):
                yield target[8:-1]
    except OSError:
        return


def _ports(proc: Path, owners: dict[str, str]) -> Iterator[tuple[SipSocket, bool, str]]:
    """The servers' ports, each with whether it is SIP's for certain, and the address that it is bound to."""

    def server_of(port: int, inode: str, user: int) -> str:
        name = owners.get(inode) or _name(user)
        return name if name in SERVERS or port in _USUAL else ""

    tcp = set()
    for address, port, inode, user in _table(proc, "tcp", _LISTENS):
        if port < _MEDIA and port not in _NOT_SIP and (server := server_of(port, inode, user)):
            tcp.add((server, port))
            yield SipSocket(server, "tcp", port), True, address
    for address, port, inode, user in _table(proc, "udp", _UNCONNECTED):
        if port < _MEDIA and port not in _NOT_SIP and (server := server_of(port, inode, user)):
            yield SipSocket(server, "udp", port), port in _USUAL or (server, port) in tcp, address


def _name(user: int) -> str:
    try:
        return pwd.getpwuid(user).pw_name
    except KeyError:
        return f"user {user}"


def _table(proc: Path, protocol: str, state: str) -> Iterator[tuple[str, int, str, int]]:
    """Local address and port, inode and user of each socket in this state, of both families, but for those on loopback."""
    for name in (protocol, f"{protocol}6"):
        try:
            lines = (proc / "self" / "net" / name).read_text().splitlines()[1:]
        except OSError:
            continue
        for line in lines:
            words = line.split()
            address, _, port = words[1].rpartition(":")
            if words[3] == state and not _is_loopback(address):
                yield _address(address), int(port, 16), words[9], int(words[7])


def _is_loopback(address: str) -> bool:
    """Of an address as proc(5) writes it: four bytes in the machine's order."""
    return address.endswith("7F") if len(address) == 8 else address == "00000000000000000000000001000000"


def _address(text: str) -> str:
    """The canonical form of an address that proc(5) writes as words of four bytes in the machine's order."""
    raw = bytes.fromhex(text)
    words = (raw[begin : begin + 4] for begin in range(0, len(raw), 4))
    return str(ipaddress.ip_address(b"".join(word[::-1] if sys.byteorder == "little" else word for word in words)))
