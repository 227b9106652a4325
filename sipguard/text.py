"""Text of strangers made fit for a log or a terminal."""

from __future__ import annotations

from urllib.parse import urlsplit


def printable(text: str, limit: int | None = None) -> str:
    """`text` with everything that a terminal could obey written as `\\x1b`, cut to `limit` characters if one is given."""
    shown = text if limit is None or len(text) <= limit else text[:limit] + "…"
    if shown.isprintable():
        return shown
    return "".join(c if c.isprintable() else c.encode("unicode_escape").decode() for c in shown)


def shown_url(url: str) -> str:
    """A URL without what may be secret in it: user, password, query, fragment."""
    where = urlsplit(url)
    port = f":{where.port}" if where.port else ""
    return f"{where.scheme}://{where.hostname}{port}{where.path}"
