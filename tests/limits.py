"""How long a thing may take.

A figure that sipguard promises ("rejected again within 0.3 s") is judged in `make test-long`, on a machine that does nothing
else, and measured by `make bench`. Everywhere else other programs have the processor at any moment, for seconds: there a test
says that the thing happens soon, far sooner than by the way that would do it late (a look every 20 s, a retry), and prints it.

Mark a test that asks `within` with `@pytest.mark.timed`: `make test-long` runs those too.
"""

from __future__ import annotations

import time

from effort import LONG

PATIENCE = 45.0
"""Seconds that a test waits for what should happen at once: the machine may be busy."""


def within(limit: float) -> float:
    """The seconds that a promise of `limit` seconds may take here: those in `make test-long`, elsewhere far more."""
    return limit if LONG else 2 + 5 * _slower() * limit


def _slower() -> float:
    """How many times as long as alone a program takes now: 3 where it gets a third of a processor."""
    begun, spent = time.monotonic(), time.thread_time()
    while time.thread_time() - spent < 0.05:
        pass
    return (time.monotonic() - begun) / 0.05
