"""Text of strangers made fit for a log or a terminal."""

from __future__ import annotations


def printable(text: str, limit: int = 200) -> str:
    """`text` with everything that a terminal could obey written as `\\x1b`, and cut to `limit` characters."""
    shown = text if len(text) <= limit else text[:limit] + "…"
    if shown.isprintable():
        return shown
    return "".join(c if c.isprintable() else c.encode("unicode_escape").decode() for c in shown)
