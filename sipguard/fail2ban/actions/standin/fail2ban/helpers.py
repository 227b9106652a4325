"""Small helpers that actions import."""

from __future__ import annotations

import logging
import re


def getLogger(name: str) -> logging.Logger:  # noqa: N802 - Fail2ban's name
    """A logger below `fail2ban`."""
    return logging.getLogger(name if name.startswith("fail2ban") else f"fail2ban.{name.rpartition('.')[2]}")


def splitwords(text: str | None) -> list[str]:
    """The words between blanks, commas and line ends."""
    return [word for word in re.split(r"[ ,\n]+", text or "") if word]


def str2LogLevel(value: str) -> int:  # noqa: N802 - Fail2ban's name
    """`INFO` → its number. Raises ValueError."""
    level = logging.getLevelName(str(value).upper())
    if not isinstance(level, int):
        raise ValueError(f"invalid log level {value!r}")
    return level
