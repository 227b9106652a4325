"""A table that forgets: bounded in entries and in age, at no cost per entry.

Entries live in a few dicts, the youngest first; the oldest dict goes as a whole. So an entry lives for `lifetime` at least and
for `lifetime * (1 + 1 / (parts - 1))` at most, unless the table is full.
"""

from __future__ import annotations

from typing import Generic, TypeVar

K = TypeVar("K")
V = TypeVar("V")


class Generations(Generic[K, V]):
    """Times are POSIX seconds, given by the caller; a clock that goes back makes entries live longer, never shorter."""

    def __init__(self, lifetime: float, limit: int, parts: int = 3) -> None:
        self._span = lifetime / (parts - 1)
        self._most = max(1, limit // parts)
        self._turned: float | None = None
        self.parts: list[dict[K, V]] = [{} for _ in range(parts)]
        self.lost_until = 0.0
        """The table was full: what was put before this time may be missing, though it is younger than `lifetime`."""

    def __len__(self) -> int:
        return sum(map(len, self.parts))

    def get(self, key: K) -> V | None:
        """The value of the youngest entry for `key`."""
        for part in self.parts:
            value = part.get(key)
            if value is not None:
                return value
        return None

    def put(self, key: K, value: V, now: float) -> list[dict[K, V]]:
        """Add or replace. Gives the dicts that went: by age, or because the table is full."""
        gone = self.turn(now)
        newest = self.parts[0]
        if len(newest) >= self._most and key not in newest:
            self.lost_until = now
            gone.append(self._turn_once(now))
            newest = self.parts[0]
        newest[key] = value
        return gone

    def turn(self, now: float) -> list[dict[K, V]]:
        """Let go what is too old at `now`; gives the dicts that went."""
        if self._turned is None or now < self._turned:
            self._turned = now
        if now - self._turned < self._span:
            return []
        gone = []
        for _ in range(min(len(self.parts), int((now - self._turned) / self._span))):
            gone.append(self._turn_once(now))
        return gone

    def _turn_once(self, now: float) -> dict[K, V]:
        self._turned = now
        self.parts.insert(0, {})
        return self.parts.pop()
