"""Counts unanswered challenges: a scan of users leaves many, a phone only when a packet is lost.

A challenge is not a failure. One that is unanswered for `window` seconds is one sign of a scan. The same user at the same
address gives only one sign per findtime, so only many users at one address make a scan.
"""

from __future__ import annotations

from collections import OrderedDict
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterator

_OPEN = 10_000
"""Most open challenges, and most remembered signs; the oldest are dropped first."""


class Challenges:
    """The open challenges of one jail. Times are POSIX seconds; answers are matched by session, or by user without one."""

    def __init__(self, window: float, findtime: float) -> None:
        self._window = window
        self._findtime = findtime
        self._open: OrderedDict[tuple[str, str], tuple[float, str]] = OrderedDict()
        self._signs: OrderedDict[tuple[str, str], float] = OrderedDict()

    def sent(self, address: str, user: str, session: str, time: float) -> None:
        """Record that the server has asked this address for credentials."""
        self._open.setdefault((address, session or user), (time, user))
        if len(self._open) > _OPEN:
            self._open.popitem(last=False)

    def answered(self, address: str, user: str, session: str) -> None:
        """Record an answer, whether correct or not."""
        self._open.pop((address, session or user), None)

    def overdue(self, now: float) -> Iterator[tuple[str, str, float]]:
        """Address, user and time of each new sign of a scan."""
        while self._open:
            (address, key), (time, user) = next(iter(self._open.items()))
            if time > now - self._window:
                return
            del self._open[(address, key)]
            if time >= self._signs.get((address, user), -self._findtime) + self._findtime:
                self._signs[(address, user)] = time
                if len(self._signs) > _OPEN:
                    self._signs.popitem(last=False)
                yield address, user, time

    def shift(self, seconds: float) -> None:
        for key, (time, user) in self._open.items():
            self._open[key] = time + seconds, user
        for sign in self._signs:
            self._signs[sign] += seconds
