"""Text of strangers made fit for a log or a terminal."""

from __future__ import annotations


def printable(text: str, limit: int | None = None) -> str:
    """`text` with everything that a terminal could obey written as `\\x1b`, cut to `limit` characters if one is given."""
    shown = text if limit is None or len(text) <= limit else text[:limit] + "…"
    if shown.isprintable():
        return shown
    return "".join(c if c.isprintable() else c.encode("unicode_escape").decode() for c in shown)
