"""Turns a feed's entries into the fewest disjoint networks for the firewall.

A mistake in somebody's feed must not cut this host off. Ranges that no stranger sends from and networks that are too wide are
refused. Protected networks are cut out of every entry that covers them.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass

from sipguard.networks import BITS, REFUSED_SPANS, parse, write

Span = tuple[int, int, float]
"""First address, last address, until."""


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
        spans[version].append((first, first + (1 << (BITS[version] - length)) - 1, until))
    keep: dict[int, list[Span]] = {4: [(first, last, 0.0) for first, last in REFUSED_SPANS], 6: []}
    for text in protected:
        version, first, length = parse(text)
        keep[version].append((first, first + (1 << (BITS[version] - length)) - 1, 0.0))
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
        bits = BITS[version] - shorter
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
        yield first, BITS[version] - (size.bit_length() - 1)
        first += size
