"""The live bans: what the kernel rejects for us now, and which of them ends next."""

from __future__ import annotations

import heapq
import math
from collections.abc import Iterator
from dataclasses import replace

from sipguard.addresses import covers
from sipguard.model import Ban

Key = tuple[str, str]
"""(jail, address)."""
_STALE = 100
"""Ends that have moved, and are let stand in the queue however few bans there are."""


class BanList:
    """Bans by jail and address, and a queue of their ends."""

    def __init__(self) -> None:
        self._bans: dict[Key, Ban] = {}
        self._ends: list[tuple[float, Key]] = []

    def __len__(self) -> int:
        return len(self._bans)

    def __iter__(self) -> Iterator[Ban]:
        return iter(self._bans.values())

    def get(self, jail: str, address: str) -> Ban | None:
        """The live ban of this address in this jail."""
        return self._bans.get((jail, address))

    def add(self, ban: Ban) -> None:
        """A ban is live; one of the same jail and address is replaced."""
        key = (ban.jail, ban.address)
        old = self._bans.get(key)
        self._bans[key] = ban
        if math.isinf(ban.until) or (old is not None and old.until == ban.until):
            return  # no end, or one that is in the queue already
        heapq.heappush(self._ends, (ban.until, key))
        self._bound()

    def remove(self, jail: str, address: str) -> Ban | None:
        """It is over; None if there was none."""
        ban = self._bans.pop((jail, address), None)
        self._bound()
        return ban

    def of_jail(self, jail: str) -> list[Ban]:
        """The live bans of one jail, oldest first."""
        return sorted((ban for ban in self if ban.jail == jail), key=lambda ban: ban.since)

    def of_address(self, address: str) -> list[Ban]:
        """The live bans of one address, or of a network that holds it, in whichever jail."""
        return [ban for ban in self if ban.address == address or covers(ban.address, address)]

    def next_end(self) -> float | None:
        """When the next ban ends; None if none ever does."""
        self._drop_replaced()
        return self._ends[0][0] if self._ends else None

    def take_ended(self, now: float) -> list[Ban]:
        """Remove the bans that have ended at `now`, and name them."""
        ended = []
        self._drop_replaced()
        while self._ends and self._ends[0][0] <= now:
            until, key = heapq.heappop(self._ends)
            ended.append(replace(self._bans.pop(key), until=until))
            self._drop_replaced()
        return ended

    def _bound(self) -> None:
        """Make the queue anew when most of it is ends that have moved: they would stay until their time, a day or a year."""
        if len(self._ends) > 2 * len(self._bans) + _STALE:
            self._ends = [(ban.until, key) for key, ban in self._bans.items() if not math.isinf(ban.until)]
            heapq.heapify(self._ends)

    def _drop_replaced(self) -> None:
        """Take from the front of the queue what was unbanned or got another end since."""
        while self._ends:
            until, key = self._ends[0]
            ban = self._bans.get(key)
            if ban is not None and ban.until == until:
                return
            heapq.heappop(self._ends)
