"""The values in Fail2ban's configuration: times, truth, lists. Each raises ValueError with a text for people."""

from __future__ import annotations

import re
from contextlib import suppress

from sipguard import durations
from sipguard.model import FOREVER

_TRUE = frozenset({"1", "on", "true", "yes"})


def seconds(text: str) -> float:
    """`10m`, `1d 12h`, `1y-6mo`, `60*60`, `-1`: seconds; below zero means for ever. Raises ValueError."""
    try:
        value = float(durations.seconds(text))
    except (ArithmeticError, NameError, SyntaxError, ValueError) as error:
        raise ValueError(f"{_short(text)} is not a duration; write seconds, or for example 10m, 1h 30m, 1d") from error
    return FOREVER if value < 0 else value


def number(text: str) -> float:
    """A number, or an arithmetic expression of numbers, as `bantime.factor` may hold. Raises ValueError."""
    with suppress(ValueError):
        return float(text)
    try:
        return float(durations.seconds(text))
    except (ArithmeticError, NameError, SyntaxError, ValueError) as error:
        raise ValueError(f"{_short(text)} is not a number") from error


def _short(text: str) -> str:
    return f"{text!a}" if len(text) <= durations.LONGEST else f"{text[:40]!a}…"


def is_true(text: str) -> bool:
    """Fail2ban's truth: `1`, `on`, `true`, `yes` in any case; all else is false."""
    return text.lower() in _TRUE


def words(text: str) -> tuple[str, ...]:
    """What stands between blanks, commas and new lines."""
    return tuple(re.split(r"[\s,]+", text.strip(" ,\n\t"))) if text.strip(" ,\n\t") else ()
