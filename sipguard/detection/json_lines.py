"""Lines that are JSON objects, as lines of text: what a filter's `jsonline` asks for."""

from __future__ import annotations

import json
import re
from datetime import UTC, datetime
from typing import Any

_NEWLINE = "#012"
_FIELD = re.compile(r"\{([\w.]+)(?:\|(\w+))?\}")
_SEVERITIES = ("CONSOLE", "ALERT", "CRIT", "ERR", "WARNING", "NOTICE", "INFO", "DEBUG")


def read_json(line: str) -> Any:
    """What a line of JSON says; None when it is none, as one that was cut."""
    try:
        return json.loads(line)
    except (ValueError, RecursionError):
        return None


def from_json(template: str, line: str) -> str | None:
    """A line of JSON as a line of text; None when it is not the object that the template asks for.

    Line feeds within become `#012`; half a surrogate pair, which no text can hold, `?`. `{key|severity}` writes a number of
    syslog's as its name in FreeSWITCH's spelling, `{key|time}` microseconds since 1970 as a date with zone.
    """
    data = read_json(line)
    missing = False

    def field(match: re.Match[str]) -> str:
        nonlocal missing
        value: Any = data
        for key in match[1].split("."):
            value = value.get(key) if isinstance(value, dict) else None
        text = _written(value, match[2])
        missing = missing or text is None
        return text or ""

    text = _FIELD.sub(field, template)
    return None if missing else text.rstrip("\r\n").replace("\n", _NEWLINE).encode("utf-8", "replace").decode()


def _written(value: Any, how: str | None) -> str | None:
    if isinstance(value, bool) or not isinstance(value, str | int | float):
        return None
    if how is None:
        return str(value)
    try:
        number = float(value)
        if how == "severity":
            return _SEVERITIES[int(number)]
        return datetime.fromtimestamp(number / 1e6, UTC).strftime("%Y-%m-%d %H:%M:%S.%f%z")
    except (ValueError, IndexError, OverflowError, OSError):
        return None
