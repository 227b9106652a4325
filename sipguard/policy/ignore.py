"""Who is never banned: the machine itself, and what `ignoreip` names."""

from __future__ import annotations

import ipaddress
import socket
from collections.abc import Iterable
from pathlib import Path

from sipguard.addresses import canonical
from sipguard.policy.spans import Spans

FILE = "file:"
"""Begins an entry of `ignoreip` that names a list."""
Network = ipaddress.IPv4Network | ipaddress.IPv6Network

_MOST_KNOWN = 4096
"""Answers remembered: an attacker's lines come by the thousand, and each asks."""

_LOOPBACK: tuple[Network, ...] = (ipaddress.ip_network("127.0.0.0/8"), ipaddress.ip_network("::1/128"))

_NO_HOSTS: tuple[tuple[Network, str], ...] = tuple(
    (ipaddress.ip_network(text), f"{what}: no host has this address")
    for text, what in (
        ("0.0.0.0/32", "unspecified"),
        ("255.255.255.255/32", "broadcast"),
        ("224.0.0.0/4", "multicast"),
        ("::/128", "unspecified"),
        ("ff00::/8", "multicast"),
    )
)
"""RFC 6890 and RFC 4291, 2.5.2 and 2.7: never the source of a packet, and some firewalls refuse them."""


class IgnoreList:
    """Networks that must never be banned, and why.

    Host names are not resolved here and lists not read, since that may block: whoever knows their addresses says so with
    `learn`.
    """

    def __init__(self, entries: Iterable[str], *, own: Iterable[str] = ()) -> None:
        self.names: tuple[str, ...] = ()
        """The entries that are host names, to be resolved by the owner."""
        self.files: tuple[str, ...] = ()
        """The entries `file:PATH`, to be read by the owner."""
        self._configured: list[tuple[Network, str]] = []
        self._resolved: dict[str, list[tuple[Network, str]]] = {}
        self._own: list[tuple[Network, str]] = []
        self._known: dict[str, str | None] = {}
        self._spans: dict[int, Spans] = {}
        """All of it as numbers, by version of IP: in a burst every address asks, and lists have 50,000 networks."""
        self._learnt: dict[str, tuple[str, ...]] = {}
        names = []
        for entry in entries:
            try:
                self._configured.append((_network(entry), f"ignoreip {entry}"))
            except ValueError:
                names.append(entry)
        self.names = tuple(name for name in names if not name.startswith(FILE))
        self.files = tuple(name for name in names if name.startswith(FILE))
        self.set_own(own)

    def set_own(self, addresses: Iterable[str]) -> None:
        """The machine's own addresses as they are now."""
        own = [(network, "loopback") for network in _LOOPBACK]
        own += [(_network(address), "this machine's own address") for address in addresses]
        if own != self._own:
            self._changed()
            self._own = own

    def learn(self, name: str, addresses: Iterable[str]) -> None:
        """A host name of `names`, or a list of `files`, has these addresses or networks now."""
        if self._learnt.get(name) == (learnt := tuple(addresses)):
            return
        self._changed()
        self._learnt[name] = learnt
        networks = map(_network, learnt)
        self._resolved[name] = [(network, f"ignoreip {name}") for network in networks]

    def networks(self) -> list[str]:
        """All of it as networks: for what must not be rejected by whatever else."""
        groups = (self._own, self._configured, *self._resolved.values())
        return [str(network) for group in groups for network, _ in group]

    def reason(self, address: str) -> str | None:
        """Why this address or network must not be banned, None if it may.

        A network is refused as soon as it holds one address that must not be banned.
        """
        if address in self._known:
            return self._known[address]
        if len(self._known) >= _MOST_KNOWN:
            self._known.clear()
        self._known[address] = why = self._find_reason(address)
        return why

    def _find_reason(self, address: str) -> str | None:
        version, first, last = _span(address)
        if not self._spans:
            groups = (self._own, self._configured, *self._resolved.values(), _NO_HOSTS)
            spans = [(*_span(str(network)), why) for group in groups for network, why in group]
            self._spans = {number: Spans(one[1:] for one in spans if one[0] == number) for number in (4, 6)}
        return self._spans[version].find(first, last)

    def _changed(self) -> None:
        self._known.clear()
        self._spans.clear()


def _network(text: str) -> Network:
    """An address or network as failures name it: without a zone, an IPv4-mapped one as IPv4. Raises `ValueError`."""
    return ipaddress.ip_network(canonical(text))


def _span(text: str) -> tuple[int, int, int]:
    """Version, first and last address of a canonical address or network, as numbers."""
    base, slash, prefix = text.partition("/")
    family, version, bits = (socket.AF_INET6, 6, 128) if ":" in base else (socket.AF_INET, 4, 32)
    first = int.from_bytes(socket.inet_pton(family, base))
    return version, first, first | ((1 << (bits - int(prefix))) - 1 if slash else 0)


def own_addresses(proc: Path = Path("/proc/net")) -> list[str]:
    """The addresses of this machine's interfaces, without asking anybody.

    Read from `fib_trie` (IPv4, proc(5)) and `if_inet6` (IPv6), which belong to the network namespace that we run in.
    """
    found = set()
    candidate = ""
    for line in _lines(proc / "fib_trie"):
        words = line.split()
        if words[:1] == ["|--"]:
            candidate = words[1]
        elif words[:2] == ["/32", "host"] and words[2:3] == ["LOCAL"]:
            found.add(candidate)
    for line in _lines(proc / "if_inet6"):
        found.add(str(ipaddress.IPv6Address(bytes.fromhex(line.split()[0]))))
    return sorted(found)


def _lines(path: Path) -> list[str]:
    try:
        return path.read_text().splitlines()
    except OSError:  # no IPv6 in this kernel, or no /proc: what is not there cannot be read
        return []
