"""Text of strangers made fit for a log or a terminal."""

from __future__ import annotations

import codecs
from urllib.parse import urlsplit


def printable(text: str, limit: int | None = None) -> str:
    """`text` with everything that a terminal could obey written as `\\x1b`, cut to `limit` characters if one is given."""
    shown = text if limit is None or len(text) <= limit else text[:limit] + "…"
    if shown.isprintable():
        return shown
    return "".join(c if c.isprintable() else c.encode("unicode_escape").decode() for c in shown)


def text_codec(name: str) -> str:
    """Python's name of an encoding in which any bytes at all can be read.

    Raises:
        LookupError: there is no such encoding, it is none of text (`base64`), or it refuses bytes (`idna`).
    """
    try:
        bytes(range(256)).decode(name, "replace")
    except UnicodeError:
        raise LookupError(name) from None
    return codecs.lookup(name).name


def shown_url(url: str) -> str:
    """A URL without what may be secret in it: user, password, query, fragment."""
    where = urlsplit(url)
    port = f":{where.port}" if where.port else ""
    return f"{where.scheme}://{where.hostname}{port}{where.path}"
