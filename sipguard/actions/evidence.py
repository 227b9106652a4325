"""The lines and captured groups that may yet become a ban's `<matches>` and `<F-…>`: the latest, in bounded memory.

What has been forgotten for want of room, or by a restart, the database may still know, without the groups.
"""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Mapping
from dataclasses import dataclass

from sipguard.model import Failure

MOST_LINES = 10
"""Lines kept of one address: the latest."""
MOST_LENGTH = 1_000
"""Characters kept of one line or group."""
MOST_KEPT = 2_000_000
"""Characters kept of all addresses."""


@dataclass(slots=True)
class Found:
    """What is kept of one address in one jail."""

    lines: tuple[str, ...] = ()
    data: Mapping[str, str] | None = None

    @property
    def size(self) -> int:
        """Characters; each text counts as a little more than itself."""
        texts = [*self.lines, *(self.data or {}).values()]
        return 100 + sum(60 + len(text) for text in texts)


class Evidence:
    """Failures of addresses that are not banned yet; those seen longest ago go first."""

    def __init__(self, most: int = MOST_KEPT) -> None:
        self._most = most
        self._kept = 0
        self._found: OrderedDict[tuple[str, str], Found] = OrderedDict()

    def add(self, jail: str, address: str, failure: Failure) -> None:
        """A failure was counted."""
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
        """What is known of an address, which is then forgotten here."""
        return self._take((jail, address)) or Found()

    def _take(self, key: tuple[str, str]) -> Found | None:
        found = self._found.pop(key, None)
        if found is not None:
            self._kept -= found.size
        return found
