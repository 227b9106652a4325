"""Finds a number in ranges that may overlap. They are made disjoint once; each look-up is a binary search."""

from __future__ import annotations

import heapq
from bisect import bisect_left
from collections.abc import Iterable


class Spans:
    """Made from (first, last, why), both ends included. Where ranges overlap, the one that was given first counts."""

    def __init__(self, spans: Iterable[tuple[int, int, str]]) -> None:
        self._first: list[int] = []
        self._last: list[int] = []
        self._order: list[int] = []
        self._why: list[str] = []
        begins: list[tuple[int, int, int]] = []
        for order, (first, last, why) in enumerate(spans):
            begins.append((first, order, last))
            self._why.append(why)
        begins.sort(reverse=True)
        open_: list[tuple[int, int]] = []
        place = 0
        while begins or open_:
            if not open_:
                place = begins[-1][0]
            while begins and begins[-1][0] == place:
                _, order, last = begins.pop()
                heapq.heappush(open_, (order, last))
            order, last = open_[0]
            end = min(last, begins[-1][0] - 1) if begins else last
            if end >= place:
                self._add(place, end, order)
                place = end + 1
            while open_ and open_[0][1] < place:
                heapq.heappop(open_)

    def _add(self, first: int, last: int, order: int) -> None:
        if self._order and self._order[-1] == order and self._last[-1] == first - 1:
            self._last[-1] = last
            return
        self._first.append(first)
        self._last.append(last)
        self._order.append(order)

    def find(self, first: int, last: int) -> str | None:
        """The `why` of the range given first among those that share a number with `first` to `last`; None if none does."""
        begin = place = bisect_left(self._last, first)
        while place < len(self._first) and self._first[place] <= last:
            place += 1
        return self._why[min(self._order[begin:place])] if place > begin else None
