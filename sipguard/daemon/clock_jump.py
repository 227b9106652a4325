"""Notices that somebody has set the clock: NTP after the start, an operator, a virtual machine that was moved.

Bans and counts are kept in the time of day, since the log's lines are; the kernel counts the time of a ban by itself. A
clock that is set back by an hour would let an attacker start anew, and one that is set forward would end every ban: so all
times move along.
"""

from __future__ import annotations

import time

from sipguard.model import Clock

LEAST = 2.0
"""Seconds: less is a clock that is steered, and does no harm."""


class ClockJumps:
    """Compares the clock with one that nobody can set (CLOCK_MONOTONIC, clock_gettime(2))."""

    def __init__(self, clock: Clock, monotonic: Clock = time.monotonic) -> None:
        self._clock = clock
        self._monotonic = monotonic
        self._ahead = clock() - monotonic()

    def taken(self) -> float:
        """By how many seconds the clock was set since the last call; 0.0 if it was not."""
        ahead = self._clock() - self._monotonic()
        step = ahead - self._ahead
        self._ahead = ahead
        return step if abs(step) >= LEAST else 0.0
