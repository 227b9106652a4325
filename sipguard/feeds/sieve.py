"""Turns a feed's entries into the fewest disjoint networks for the firewall.

A mistake in somebody's feed must not cut this host off. Ranges that no stranger sends from and networks that are too wide are
refused. Protected networks are cut out of every entry that covers them.
"""

from __future__ import annotations

import socket
from collections.abc import Iterable, Iterator
from dataclasses import dataclass

Span = tuple[int, int, float]
"""First address, last address, until."""

_BITS = {4: 32, 6: 128}
_KIND = {4: socket.AF_INET, 6: socket.AF_INET6}
_WIDEST = {4: 8, 6: 16}
"""Shortest prefix allowed. No registry gives one holder more than an IPv4 /8; an IPv6 /16 exceeds all that is in use."""
_MAPPED = 0xFFFF << 32
_GLOBAL_6 = (0x2 << 124, (0x4 << 124) - 1)
"""2000::/3, all global unicast addresses assigned by IANA (RFC 4291, 2.4). Private, loopback and multicast lie outside."""
_NOBODY = (
    # RFC 6890 and the IANA special-purpose registry. Documentation and benchmark ranges are missing on purpose: nobody uses
    # them, so rejecting them harms nobody.
    ("0.0.0.0", 8, "this network"),  # noqa: S104 - a range to refuse, nothing is bound
    ("10.0.0.0", 8, "private"),
    ("100.64.0.0", 10, "private (carrier NAT)"),
    ("127.0.0.0", 8, "loopback"),
    ("169.254.0.0", 16, "link-local"),
    ("172.16.0.0", 12, "private"),
    ("192.0.0.0", 24, "reserved"),
    ("192.168.0.0", 16, "private"),
    ("224.0.0.0", 4, "multicast"),
    ("240.0.0.0", 4, "reserved"),
)


class FeedRefusedError(ValueError):
    """A network that must not enter the firewall; the text says why."""


def parse(text: str) -> tuple[int, int, int]:
    """Parse an address or network into (version, first address, prefix length).

    Clears host bits; turns IPv4-mapped IPv6 into IPv4. Raises `ValueError` if it is neither.
    """
    host, slash, prefix = text.partition("/")
    version = 6 if ":" in host else 4
    try:
        number = int.from_bytes(socket.inet_pton(_KIND[version], host), "big")
        length = int(prefix) if slash else _BITS[version]
    except OSError:
        raise ValueError("no address") from None
    if slash and not (prefix.isascii() and prefix.isdigit() and length <= _BITS[version]):
        raise ValueError("invalid prefix length")
    if version == 6 and length >= 96 and number >> 32 == _MAPPED >> 32:
        version, number, length = 4, number - _MAPPED, length - 96
    return version, number >> (_BITS[version] - length) << (_BITS[version] - length), length


def write(version: int, first: int, length: int) -> str:
    """Canonical text of a network (see `sipguard.model`)."""
    host = socket.inet_ntop(_KIND[version], first.to_bytes(_BITS[version] // 8, "big"))
    return host if length == _BITS[version] else f"{host}/{length}"


def admit(text: str) -> str:
    """Canonical text of an entry. Raises `FeedRefusedError` if it is not allowed, `ValueError` if it is not a network."""
    version, first, length = parse(text)
    if length < _WIDEST[version]:
        raise FeedRefusedError(f"wider than /{_WIDEST[version]}")
    last = first + (1 << (_BITS[version] - length)) - 1
    if version == 6:
        if not (_GLOBAL_6[0] <= first and last <= _GLOBAL_6[1]):
            raise FeedRefusedError("no global IPv6 address")
    else:
        for begin, end, why in _REFUSED_4:
            if begin <= first and last <= end:
                raise FeedRefusedError(why)
    return write(version, first, length)


@dataclass(frozen=True, slots=True)
class Sifted:
    """The networks to load into the firewall."""

    networks: list[tuple[str, float]]
    """Disjoint networks, each with its expiry (POSIX seconds)."""
    addresses: int
    """Number of IPv4 addresses covered. A single far too wide entry shows here."""


def sift(entries: Iterable[tuple[str, float]], protected: Iterable[str]) -> Sifted:
    """Merge overlapping entries and cut out the protected networks. Both lists hold canonical text.

    Each part keeps the latest expiry of the entries that cover it. Neighbours are merged if they expire together.
    """
    spans: dict[int, list[Span]] = {4: [], 6: []}
    for text, until in entries:
        version, first, length = parse(text)
        spans[version].append((first, first + (1 << (_BITS[version] - length)) - 1, until))
    keep: dict[int, list[Span]] = {4: list(_REFUSED_SPANS), 6: []}
    for text in protected:
        version, first, length = parse(text)
        keep[version].append((first, first + (1 << (_BITS[version] - length)) - 1, 0.0))
    networks: list[tuple[str, float]] = []
    addresses = 0
    for version, found in spans.items():
        holes = [(first, last) for first, last, _ in _disjoint(keep[version])]
        for first, last, until in _cut(_disjoint(found), holes):
            networks += ((write(version, *part), until) for part in _networks(version, first, last))
            addresses += last - first + 1 if version == 4 else 0
    return Sifted(networks, addresses)


def around(text: str) -> Iterator[str]:
    """This network and every larger one that contains it, as canonical text: the possible names of an entry covering it."""
    version, first, length = parse(text)
    for shorter in range(length, -1, -1):
        bits = _BITS[version] - shorter
        yield write(version, first >> bits << bits, shorter)


def _disjoint(spans: list[Span]) -> Iterator[Span]:
    """Make nested spans disjoint, and merge neighbours that expire together. Spans nest or lie apart, as networks do."""
    stack: list[tuple[int, float]] = []
    joined: Span | None = None
    position = 0
    # The last span lies beyond all others and so empties the stack.
    beyond = (1 << 129, 1 << 129, 0.0)
    for first, last, until in [*sorted(spans, key=lambda span: (span[0], -span[1])), beyond]:
        pieces: list[Span] = []
        while stack and stack[-1][0] < first:
            end, time = stack.pop()
            pieces.append((position, end, time))
            position = max(position, end + 1)
        if stack:
            pieces.append((position, first - 1, stack[-1][1]))
            until = max(until, stack[-1][1])  # noqa: PLW2901 - within a network that lasts longer
        for piece in pieces:
            if piece[0] > piece[1]:
                continue
            if joined and joined[1] + 1 == piece[0] and joined[2] == piece[2]:
                joined = (joined[0], piece[1], piece[2])
            else:
                if joined:
                    yield joined
                joined = piece
        stack.append((last, until))
        position = first
    if joined:
        yield joined


def _cut(spans: Iterable[Span], holes: list[tuple[int, int]]) -> Iterator[Span]:
    """Remove the parts that lie in a hole. Both must be in ascending order."""
    index = 0
    for begin, last, until in spans:
        first = begin
        while index < len(holes) and holes[index][1] < first:
            index += 1
        at = index
        while at < len(holes) and holes[at][0] <= last:
            if first < holes[at][0]:
                yield first, holes[at][0] - 1, until
            first = max(first, holes[at][1] + 1)
            at += 1
        if first <= last:
            yield first, last, until


def _networks(version: int, first: int, last: int) -> Iterator[tuple[int, int]]:
    """The fewest networks (first address, prefix length) that cover exactly this span."""
    while first <= last:
        size = 1 << ((last - first + 1).bit_length() - 1)
        if first:
            size = min(size, first & -first)
        yield first, _BITS[version] - (size.bit_length() - 1)
        first += size


def _span(host: str, length: int) -> tuple[int, int]:
    version, first, _ = parse(f"{host}/{length}")
    return first, first + (1 << (_BITS[version] - length)) - 1


_REFUSED_4 = tuple((*_span(host, length), why) for host, length, why in _NOBODY)
_REFUSED_SPANS = tuple((first, last, 0.0) for first, last, _ in _REFUSED_4)
