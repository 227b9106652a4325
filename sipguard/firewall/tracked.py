"""What connection tracking knows of flows: to tell by which way packets of a banned address reach the server. Reads only.

Bans of nf_tables reject before packets are tracked: an entry that a banned address began after its ban went past them.
Source: linux/netfilter/nfnetlink_conntrack.h, nf_conntrack_common.h.
"""

from __future__ import annotations

import ipaddress
import itertools
from typing import TYPE_CHECKING, NamedTuple

from sipguard import netlink
from sipguard.firewall.flows import any_entry, entries_of, offloaded
from sipguard.firewall.targets import parse_target

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

MOST = 20_000
"""Entries that are read to find who else speaks to the server."""
_ORIGINAL, _REPLY = 1, 2
_IP, _PROTOCOL = 1, 2
_NUMBER, _SOURCE_PORT, _TARGET_PORT = 1, 2, 3
_PROTOCOLS = {6: "tcp", 17: "udp", 33: "dccp", 132: "sctp"}


class Tracked(NamedTuple):
    """A flow by what `source` sends: to `target` and `port`; `server` and `server_port` are who gets it."""

    protocol: str
    source: str
    target: str
    port: int
    server: str
    server_port: int
    offloaded: bool = False

    @property
    def translated(self) -> bool:
        """Whether another gets it than the one it is sent to."""
        return (self.server, self.server_port) != (self.target, self.port)


class Tracking:
    """Flows in the namespace of the thread that asks; needs CAP_NET_ADMIN. What cannot be read is not there."""

    def of(self, addresses: Sequence[str]) -> list[Tracked] | None:
        """Flows that these addresses or networks have begun, or answer and are offloaded; None where nothing is tracked."""
        if not any_entry():
            return None
        try:
            with netlink.Conversation() as kernel:
                targets = [parse_target(one) for one in addresses]
                begun = [entry for _, entry in entries_of(kernel, targets)]
                answered = [entry for _, entry in entries_of(kernel, targets, answered=True)]
        except OSError:
            return None
        flows = [_read(entry, _ORIGINAL, _REPLY) for entry in begun]
        flows += [_read(entry, _REPLY, _ORIGINAL) for entry in answered]
        return [flow for flow in flows if flow]

    def heard(self) -> list[Tracked]:
        """Flows of anybody: the first `MOST`."""
        everybody = [parse_target("0.0.0.0/0"), parse_target("::/0")]
        try:
            with netlink.Conversation() as kernel:
                entries = [entry for _, entry in itertools.islice(entries_of(kernel, everybody), MOST)]
        except OSError:
            return []
        return [flow for entry in entries if (flow := _read(entry, _ORIGINAL, _REPLY))]


def _read(entry: bytes, there: int, back: int) -> Tracked | None:
    """A flow of a protocol with ports; `there` is the tuple of what its source sends."""
    sent, returned = netlink.first(entry, there), netlink.first(entry, back)
    number, _, port = _ports(sent)
    if number not in _PROTOCOLS:
        return None
    source, target = _addresses(sent)
    server, _ = _addresses(returned)
    return Tracked(_PROTOCOLS[number], source, target, port, server, _ports(returned)[1], offloaded(entry))


def _addresses(end: bytes) -> tuple[str, str]:
    """Source and destination: IPv4's attributes are 1 and 2, IPv6's 3 and 4."""
    found: Iterable[tuple[int, bytes]] = sorted(netlink.attributes(netlink.first(end, _IP)))
    source, target = (str(ipaddress.ip_address(packed)) for _, packed in found)
    return source, target


def _ports(end: bytes) -> tuple[int, int, int]:
    """The protocol's number, source and destination port."""
    protocol = netlink.first(end, _PROTOCOL)
    number, source, target = (
        int.from_bytes(netlink.first(protocol, kind), "big") for kind in (_NUMBER, _SOURCE_PORT, _TARGET_PORT)
    )
    return number, source, target
