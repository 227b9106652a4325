"""Converts a journal entry, as JSON from journalctl(1), to its time and a line as in syslog."""

from __future__ import annotations

import json
from typing import Any, NamedTuple

FIELDS = (
    "_HOSTNAME",
    "SYSLOG_IDENTIFIER",
    "_COMM",
    "SYSLOG_PID",
    "_PID",
    "MESSAGE",
    "_SOURCE_REALTIME_TIMESTAMP",
    "_SOURCE_MONOTONIC_TIMESTAMP",
)
"""The requested fields; those that begin with two underscores are always included."""


class JournalEntry(NamedTuple):
    """One entry of the journal."""

    time: float
    """Time of logging in POSIX seconds: the program's own time if it states one."""
    text: str
    """`HOST IDENTIFIER[PID]: MESSAGE`, with line feeds written as `\\n`."""
    cursor: str
    received: int
    """When the journal received it, in microseconds."""


def read_entry(line: bytes, encoding: str = "utf-8") -> JournalEntry | None:
    """Parse one line of `journalctl --output=json`; None if it is not an entry."""
    try:
        fields: Any = json.loads(line)
        received = int(fields["__REALTIME_TIMESTAMP"])
        cursor = str(fields["__CURSOR"])
        time = int(_first(fields.get("_SOURCE_REALTIME_TIMESTAMP")) or received)
    except (ValueError, KeyError, TypeError, RecursionError):
        return None
    return JournalEntry(time / 1_000_000, _render(fields, encoding).replace("\n", "\\n"), cursor, received)


def _render(fields: dict[str, Any], encoding: str) -> str:
    def text(name: str) -> str:
        return _text(fields.get(name), encoding)

    parts = [text("_HOSTNAME")]
    if program := text("SYSLOG_IDENTIFIER") or text("_COMM"):
        pid = text("SYSLOG_PID") or text("_PID")
        parts.append(f"{program}[{pid}]:" if pid else f"{program}:")
        if parts[-1] == "kernel:":
            since_boot = text("_SOURCE_MONOTONIC_TIMESTAMP") or text("__MONOTONIC_TIMESTAMP")
            parts.append(f"[{int(since_boot) / 1_000_000:12.6f}]" if since_boot.isdigit() else "")
    return " ".join([*filter(None, parts), text("MESSAGE")])


def _text(value: Any, encoding: str) -> str:
    """Decode a field: text, a list of bytes if it is not UTF-8, or a list of these (journalctl(1), `json`)."""
    if isinstance(value, str):
        return value
    if isinstance(value, list):
        if value and all(isinstance(one, int) and 0 <= one < 256 for one in value):
            return bytes(value).decode(encoding, "replace")
        return " ".join(_text(one, encoding) for one in value)
    return "" if value is None else str(value)


def _first(value: Any) -> Any:
    return value[0] if isinstance(value, list) and value else value
