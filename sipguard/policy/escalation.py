"""Computes longer bans and fewer tries for repeat offenders: jail.conf(5), `bantime.increment` and related keys."""

from __future__ import annotations

import functools
import math
import random as _random
from typing import TYPE_CHECKING

from sipguard.formula import Formula

if TYPE_CHECKING:
    from collections.abc import Callable

    from sipguard.model import BanGrowth

LONGEST = 1000 * 365.25 * 86_400
"""Longest ban by a formula, in seconds: no clock can show a later time."""
_MOST_DOUBLINGS = 20


def grown(bantime: float, growth: BanGrowth, count: int, *, random: Callable[[], float] = _random.random) -> float:
    """Length in seconds of a ban after `count` earlier ones; `bantime` is the length of the first.

    A first ban is not changed, nor is one without end. `random` gives numbers from 0 to 1. Raises ValueError: the formula
    has no number for this.
    """
    if not growth.increment or count < 1 or math.isinf(bantime):
        return bantime
    seconds = _by_multiplier(bantime, growth, count) if growth.multipliers else _by_formula(bantime, growth, count)
    if growth.maxtime is not None:
        seconds = min(seconds, growth.maxtime)
    if growth.rndtime is not None:
        # So that nobody can tell in advance when the ban ends.
        seconds += random() * growth.rndtime
    return max(1.0, min(seconds, LONGEST))


def weight(growth: BanGrowth, count: int, maxretry: int) -> int:
    """Weight of one attempt after `count` bans of its address: 2, 3, 5, 9 …, at most `maxretry`."""
    if not growth.increment or count < 1:
        return 1
    return min((1 << min(count, _MOST_DOUBLINGS)) // 2 + 1, max(1, maxretry))


def _by_multiplier(bantime: float, growth: BanGrowth, count: int) -> float:
    last = len(growth.multipliers) - 1
    return bantime * growth.factor * growth.multipliers[min(count, last)]


def _by_formula(bantime: float, growth: BanGrowth, count: int) -> float:
    """Never shorter than `bantime`."""
    if growth.formula is None:
        return max(bantime, bantime * (1 << min(count, _MOST_DOUBLINGS)) * growth.factor)
    try:
        return max(bantime, _formula(growth.formula)(bantime, count, growth.factor))
    except OverflowError:
        return LONGEST


@functools.lru_cache(maxsize=64)
def _formula(text: str) -> Formula:
    return Formula(text)
