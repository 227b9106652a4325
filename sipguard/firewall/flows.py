"""Ends the flows of a banned address: its entries in connection tracking are deleted (linux/netfilter/nfnetlink_conntrack.h).

A rule of others that accepts what is established, or an address translation that was made for a flow, ends with its entry.
For one address the kernel is asked for its entries alone; for many, all are read once. Nothing here is worth an error: the
ban holds without it.
"""

from __future__ import annotations

import contextlib
import ipaddress
import logging
import socket
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from sipguard import netlink
from sipguard.firewall.targets import Network, parse_target

if TYPE_CHECKING:
    from sipguard.firewall.targets import Target
    from sipguard.model import Ban

log = logging.getLogger(__name__)

_CTNETLINK = 1 << 8
_GET, _DELETE = _CTNETLINK | 1, _CTNETLINK | 2
_TUPLE_ORIG, _TUPLE_REPLY, _STATUS, _ID, _ZONE, _FILTER = 1, 2, 3, 12, 18, 25
_TUPLE_IP, _V4_SRC, _V6_SRC = 1, 1, 3
_BY_SOURCE = (1).to_bytes(4, "little")
_OFFLOADED = 1 << 14 | 1 << 15
"""IPS_OFFLOAD and IPS_HW_OFFLOAD: no rule sees the packets of such a flow."""
_FEW = 4
"""Addresses that are asked for one by one: each question makes the kernel walk its whole table."""
_COUNT = Path("/proc/sys/net/netfilter/nf_conntrack_count")
_FAMILIES = {4: socket.AF_INET, 6: socket.AF_INET6}


class Flows:
    """Deletes entries of connection tracking in the namespace where it is called; needs CAP_NET_ADMIN."""

    def __init__(self) -> None:
        self._problem = ""

    def end(self, bans: Sequence[Ban], *, answered: bool = False) -> int:
        """Delete the entries of these addresses (`entries_of`), and give their number. Raises nothing."""
        if not bans or not any_entry():
            return 0
        targets = list(dict.fromkeys(parse_target(ban.address) for ban in bans))
        try:
            with netlink.Conversation() as kernel:
                found = [(family, _named(entry)) for family, entry in entries_of(kernel, targets, answered=answered)]
                return sum(_delete(kernel, family, body) for family, body in found)
        except OSError as error:
            if self._problem != str(error):
                log.warning("Flows of banned addresses are not ended in connection tracking: %s", error)
            self._problem = str(error)
            return 0


def any_entry() -> bool:
    """Whether connections are tracked at all: to ask takes the kernel 10 ms, to look here nothing."""
    try:
        return int(_COUNT.read_text()) > 0
    except (OSError, ValueError):
        return True


def _delete(kernel: netlink.Conversation, family: int, body: bytes) -> bool:
    """Delete one entry; False when it has gone meanwhile."""
    try:
        kernel.tell(netlink.message(_DELETE, netlink.NLM_F_REQUEST | netlink.NLM_F_ACK, family, body))
    except TimeoutError:
        raise
    except OSError:
        return False
    return True


def offloaded(entry: bytes) -> bool:
    """Whether packets of this entry pass by a flowtable."""
    return bool(int.from_bytes(netlink.first(entry, _STATUS), "big") & _OFFLOADED)


def entries_of(
    kernel: netlink.Conversation, targets: Sequence[Target], *, answered: bool = False
) -> Iterator[tuple[int, bytes]]:
    """Give (family, attributes) of each entry whose first packet came from one of the targets. Raises `OSError`.

    `answered`: those instead that others began and that are offloaded, by which packets from the targets pass every rule.
    """
    side = _TUPLE_REPLY if answered else _TUPLE_ORIG
    for version, family in _FAMILIES.items():
        ours = [target for target in targets if target.version == version]
        if not ours:
            continue
        # Not for IPv6: there the kernel's filter gives the entries of all addresses but the one that was asked for.
        single = version == 4 and len(ours) <= _FEW and not any(isinstance(target, Network) for target in ours)
        # A kernel that does not know the filter (before 5.8) gives all: so each entry is looked at in any case.
        questions: Iterable[bytes] = [_question(side, target) for target in ours] if single else [b""]
        wanted = _Wanted(ours)
        for question in questions:
            for _, _, entry in kernel.dump(_GET, family, question):
                addresses = netlink.first(netlink.first(entry, side), _TUPLE_IP)
                source = netlink.first(addresses, _V4_SRC if version == 4 else _V6_SRC)
                if source in wanted and (not answered or offloaded(entry)):
                    yield family, entry


def _question(side: int, target: Target) -> bytes:
    """By the source of one side; CTA_FILTER_ORIG_FLAGS and CTA_FILTER_REPLY_FLAGS have the numbers of the tuples."""
    source = netlink.attribute(_V4_SRC, socket.inet_aton(str(target)))
    by_source = netlink.attribute(side, _BY_SOURCE)
    return netlink.attribute(side, netlink.attribute(_TUPLE_IP, source, nested=True), nested=True) + netlink.attribute(
        _FILTER, by_source, nested=True
    )


def _named(entry: bytes) -> bytes:
    """What tells the kernel which entry to delete: the tuple as it gave it, its id, its zone."""
    named = netlink.attribute(_TUPLE_ORIG, netlink.first(entry, _TUPLE_ORIG), nested=True)
    for kind in (_ID, _ZONE):
        if value := netlink.first(entry, kind):
            named += netlink.attribute(kind, value)
    return named


class _Wanted:
    """Addresses and networks of one family, asked in their packed form."""

    def __init__(self, targets: Iterable[Target]) -> None:
        self._addresses = {target.packed for target in targets if not isinstance(target, Network)}
        self._networks = [target for target in targets if isinstance(target, Network)]

    def __contains__(self, packed: bytes) -> bool:
        if packed in self._addresses:
            return True
        with contextlib.suppress(ValueError):
            return any(ipaddress.ip_address(packed) in network for network in self._networks)
        return False
