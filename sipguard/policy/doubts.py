"""What was seen and counts for nothing, since nothing proves the address: kept for `explain`, in memory alone."""

from __future__ import annotations

from collections import OrderedDict, deque
from typing import NamedTuple

_ALARM_AGAIN = 3600.0
"""Seconds."""
_MOST_ADDRESSES = 10_000
_MOST_OF_ONE = 20


class Doubt(NamedTuple):
    """One attempt that may be anybody's."""

    time: float
    user: str | None
    line: str


class Doubts:
    """The latest doubtful attempts of each address."""

    def __init__(self) -> None:
        self._of: OrderedDict[str, deque[Doubt]] = OrderedDict()
        self._alarms: OrderedDict[str, float] = OrderedDict()
        """User → when it was told last that the password may be known."""

    def add(self, address: str, doubt: Doubt) -> None:
        """Remember one; the oldest go first."""
        self._of.setdefault(address, deque(maxlen=_MOST_OF_ONE)).append(doubt)
        self._of.move_to_end(address)
        if len(self._of) > _MOST_ADDRESSES:
            self._of.popitem(last=False)

    def is_news(self, user: str, now: float) -> bool:
        """Whether an alarm about this user's password is to be told: once an hour, however many packets are sent."""
        before = self._alarms.get(user)
        if before is not None and 0 <= now - before < _ALARM_AGAIN:
            return False
        self._alarms[user] = now
        self._alarms.move_to_end(user)
        if len(self._alarms) > _MOST_ADDRESSES:
            self._alarms.popitem(last=False)
        return True

    def of(self, address: str) -> list[Doubt]:
        """Those of an address, oldest first."""
        return list(self._of.get(address, ()))
