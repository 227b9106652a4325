"""From the link layer to the IP packet (https://www.tcpdump.org/linktypes.html)."""

from __future__ import annotations

from typing import NamedTuple

_IPV4, _IPV6 = 0x0800, 0x86DD
_VLAN = frozenset({0x8100, 0x88A8, 0x9100})
_MOST_TAGS = 4
_NULL, _ETHERNET, _RAW, _LOOP, _COOKED, _IPV4_ONLY, _IPV6_ONLY, _COOKED2 = 0, 1, 101, 108, 113, 228, 229, 276
_OUTGOING, _TO_US = 4, 0
_LOOPBACK_TYPE = 772
"""ARPHRD_LOOPBACK: a packet on `lo` is seen once, and came and went at once."""


class Network(NamedTuple):
    """An IP packet; whether it came in, where the link layer tells."""

    packet: bytes
    inbound: bool | None = None


def network(link: int, data: bytes) -> Network | None:
    """The IP packet in a frame; None for every other kind of frame, and for link layers that are not known."""
    if link == _ETHERNET:
        return _ethernet(data, 12)
    if link in {_RAW, 12, 14, _IPV4_ONLY, _IPV6_ONLY}:
        return Network(data)
    if link in {_NULL, _LOOP}:
        return Network(data[4:])
    if link == _COOKED and len(data) >= 16:
        return _cooked(data, 14, kind=int.from_bytes(data[:2], "big"), device=int.from_bytes(data[2:4], "big"))
    if link == _COOKED2 and len(data) >= 20:
        return _cooked(data, 0, kind=data[10], device=int.from_bytes(data[8:10], "big"), begin=20)
    return None


def knows(link: int) -> bool:
    """Whether packets of this link layer can be read."""
    return link in {_NULL, _ETHERNET, 12, 14, _RAW, _LOOP, _COOKED, _IPV4_ONLY, _IPV6_ONLY, _COOKED2}


def _cooked(data: bytes, at: int, *, kind: int, device: int, begin: int = 16) -> Network | None:
    inbound = {_TO_US: True, _OUTGOING: False}.get(kind) if device != _LOOPBACK_TYPE else None
    found = _typed(data, at, begin)
    return found and found._replace(inbound=inbound)


def _ethernet(data: bytes, at: int) -> Network | None:
    return _typed(data, at, at + 2)


def _typed(data: bytes, at: int, begin: int) -> Network | None:
    """What the EtherType at `at` says; VLAN tags are passed over."""
    kind = int.from_bytes(data[at : at + 2], "big")
    for _ in range(_MOST_TAGS):
        if kind not in _VLAN:
            break
        kind = int.from_bytes(data[begin + 2 : begin + 4], "big")
        begin += 4
    return Network(data[begin:]) if kind in {_IPV4, _IPV6} else None
