"""What was seen and counts for nothing, since nothing proves the address: kept for `explain`, in memory alone."""

from __future__ import annotations

from collections import OrderedDict, deque
from collections.abc import Iterator
from typing import NamedTuple

_ALARM_AGAIN = 3600.0
"""Seconds."""
_MOST_ADDRESSES = 10_000
_MOST_OF_ONE = 20
_MOST_ALARMS = 1000


class Doubt(NamedTuple):
    """One attempt that may be anybody's."""

    time: float
    user: str | None
    line: str


class Doubts:
    """The latest doubtful attempts of each address."""

    def __init__(self) -> None:
        self._of: OrderedDict[str, deque[Doubt]] = OrderedDict()

    def add(self, address: str, doubt: Doubt) -> None:
        """Remember one; the oldest go first."""
        self._of.setdefault(address, deque(maxlen=_MOST_OF_ONE)).append(doubt)
        self._of.move_to_end(address)
        if len(self._of) > _MOST_ADDRESSES:
            self._of.popitem(last=False)

    def of(self, address: str) -> list[Doubt]:
        """Those of an address, oldest first."""
        return list(self._of.get(address, ()))


class Alarms:
    """When it was told of a user that the password may be known: once an hour, however many packets and jails tell of it."""

    def __init__(self) -> None:
        self._told: deque[tuple[float, str, object]] = deque(maxlen=_MOST_ALARMS)

    def is_news(self, user: str, now: float, listener: object = None) -> bool:
        """Whether an alarm about this user is to be told to this listener (compared by its value) now; then it is told."""
        if any(0 <= now - when < _ALARM_AGAIN for when in self._times(user, listener)):
            return False
        self._told.append((now, user, listener))
        return True

    def _times(self, user: str, listener: object) -> Iterator[float]:
        return (when for when, who, whom in self._told if who == user and whom == listener)
