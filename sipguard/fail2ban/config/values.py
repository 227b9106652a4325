"""Parses values in Fail2ban's configuration: times, numbers, booleans, lists. ValueErrors carry a text for the operator."""

from __future__ import annotations

import re
from contextlib import suppress

from sipguard import durations
from sipguard.model import FOREVER

_TRUE = frozenset({"1", "on", "true", "yes"})


def seconds(text: str) -> float:
    """Seconds from `10m`, `1d 12h`, `1y-6mo`, `60*60`, `-1`; negative means for ever. Raises ValueError."""
    try:
        value = float(durations.seconds(text))
    except (ArithmeticError, NameError, SyntaxError, ValueError) as error:
        raise ValueError(f"{_short(text)}: invalid duration; expected seconds, or e.g. 10m, 1h 30m, 1d") from error
    return FOREVER if value < 0 else value


def number(text: str) -> float:
    """A number or an arithmetic expression, as allowed in `bantime.factor`. Raises ValueError."""
    with suppress(ValueError):
        return float(text)
    try:
        return float(durations.seconds(text))
    except (ArithmeticError, NameError, SyntaxError, ValueError) as error:
        raise ValueError(f"{_short(text)} is not a number") from error


def _short(text: str) -> str:
    return f"{text!a}" if len(text) <= durations.LONGEST else f"{text[:40]!a}…"


def is_true(text: str) -> bool:
    """True for `1`, `on`, `true`, `yes` in any case, as in Fail2ban; everything else is false."""
    return text.lower() in _TRUE


def words(text: str) -> tuple[str, ...]:
    """The words of a list separated by spaces, commas or newlines."""
    return tuple(re.split(r"[\s,]+", text.strip(" ,\n\t"))) if text.strip(" ,\n\t") else ()
