"""Says in our own log what a jail could not use of its logs' lines: at most once a minute of each kind and log."""

from __future__ import annotations

import logging
from typing import TYPE_CHECKING

from sipguard.text import printable

if TYPE_CHECKING:
    from collections.abc import Container

    from sipguard.detection.results import Counts
    from sipguard.model import Clock

log = logging.getLogger("fail2ban.filter")

TOLD_EVERY = 60.0
"""Seconds between two words about the same."""
_SLOW = "[%s] a regex of filter %s took too long on %d line%s, skipped; `sipguard test-filter` shows which"
_TAMPERED = (
    "[%s] %s: somebody has written into %d line%s of it: whom they name is not accused; docs/logs.md says who can, "
    "and which log is safer"
)


class _Told:
    """Lines of one kind: how many have not been told of, and when that may be."""

    __slots__ = ("lines", "next")

    def __init__(self) -> None:
        self.lines, self.next = 0, 0.0

    def due(self, now: float) -> int:
        """How many lines to tell of now."""
        if not self.lines or now < self.next:
            return 0
        lines, self.lines, self.next = self.lines, 0, now + TOLD_EVERY
        return lines


class LineProblems:
    def __init__(self, clock: Clock) -> None:
        self._clock = clock
        self._slow = _Told()
        self._tampered: dict[str, _Told] = {}

    def grew(self, path: str, counts: Counts, slow: int, tampered: int) -> None:
        """A log was read on, of which `counts` had so many lines before."""
        self._slow.lines += counts.timed_out - slow
        if counts.tampered > tampered:
            self._tampered.setdefault(path, _Told()).lines += counts.tampered - tampered

    def tell(self, jail: str, filter_name: str) -> None:
        if not (self._slow.lines or self._tampered):
            return
        now = self._clock()
        if lines := self._slow.due(now):
            log.warning(_SLOW, jail, filter_name, lines, _s(lines))
        for path, told in self._tampered.items():
            if lines := told.due(now):
                log.warning(_TAMPERED, jail, printable(path or "journal"), lines, _s(lines))

    def keep(self, followed: Container[str]) -> None:
        """Logs that are not among the `followed` ones are gone."""
        for path in [path for path in self._tampered if path not in followed]:
            del self._tampered[path]

    def shift(self, seconds: float) -> None:
        for told in (self._slow, *self._tampered.values()):
            told.next += seconds


def _s(number: int) -> str:
    return "" if number == 1 else "s"
