"""Notices that somebody has set the clock: NTP after the start, an operator, a virtual machine that was moved.

Bans and counts are kept in the time of day, since the log's lines are; the kernel counts the time of a ban by itself. A
clock that is set back by an hour would let an attacker start anew, and one that is set forward would end every ban: so all
times move along.
"""

from __future__ import annotations

import time
from collections.abc import Callable

from sipguard.model import Clock

LEAST = 2.0
"""Seconds: less is a clock that is steered, and does no harm."""


class ClockJumps:
    """Compares the clock with one that nobody can set (CLOCK_MONOTONIC, clock_gettime(2))."""

    def __init__(self, clock: Clock, moved: Callable[[float], None], monotonic: Clock = time.monotonic) -> None:
        """`moved` is called with the seconds by which the clock was set."""
        self._clock = clock
        self._moved = moved
        self._monotonic = monotonic
        self._ahead = clock() - monotonic()

    def check(self) -> None:
        """Tell of it if the clock was set since the last call."""
        ahead = self._clock() - self._monotonic()
        step = ahead - self._ahead
        self._ahead = ahead
        if abs(step) >= LEAST:
            self._moved(step)
