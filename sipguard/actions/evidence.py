"""Keeps the latest lines and captured groups per address, for a ban's `<matches>` and `<F-…>`, in bounded memory.

Lines dropped here or lost by a restart may still be in the database, without the groups.
"""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Mapping
from dataclasses import dataclass

from sipguard.model import Failure

MOST_LINES = 10
"""Lines kept per address: the latest ones."""
MOST_LENGTH = 1_000
"""Characters kept of one line or group."""
MOST_KEPT = 2_000_000
"""Characters kept for all addresses together."""


@dataclass(slots=True)
class Found:
    """The lines and groups of one address in one jail."""

    lines: tuple[str, ...] = ()
    data: Mapping[str, str] | None = None

    @property
    def size(self) -> int:
        """Size in characters, with some overhead per text."""
        texts = [*self.lines, *(self.data or {}).values()]
        return 100 + sum(60 + len(text) for text in texts)


class Evidence:
    """Failures of addresses that are not banned yet. The least recently seen are dropped first."""

    def __init__(self, most: int = MOST_KEPT) -> None:
        self._most = most
        self._kept = 0
        self._found: OrderedDict[tuple[str, str], Found] = OrderedDict()

    def add(self, jail: str, address: str, failure: Failure) -> None:
        key = (jail, address)
        found = self._take(key) or Found()
        new = tuple(line[:MOST_LENGTH] for line in failure.lines[-MOST_LINES:])
        found.lines = (*found.lines, *new)[-MOST_LINES:]
        found.data = {name: value[:MOST_LENGTH] for name, value in failure.tags.items() if value is not None}
        self._found[key] = found
        self._kept += found.size
        while self._kept > self._most and self._found:
            self._take(next(iter(self._found)))

    def take(self, jail: str, address: str) -> Found:
        """Remove and return what is known of an address."""
        return self._take((jail, address)) or Found()

    def _take(self, key: tuple[str, str]) -> Found | None:
        found = self._found.pop(key, None)
        if found is not None:
            self._kept -= found.size
        return found
