"""What was seen and counts for nothing, since nothing proves the address: kept for `explain`, in memory alone."""

from __future__ import annotations

from collections import OrderedDict, deque
from typing import NamedTuple

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

    def add(self, address: str, doubt: Doubt) -> None:
        """Remember one; the oldest go first."""
        self._of.setdefault(address, deque(maxlen=_MOST_OF_ONE)).append(doubt)
        self._of.move_to_end(address)
        if len(self._of) > _MOST_ADDRESSES:
            self._of.popitem(last=False)

    def of(self, address: str) -> list[Doubt]:
        """Those of an address, oldest first."""
        return list(self._of.get(address, ()))
