"""Text of strangers: how it is read from bytes, and made fit for a log or a terminal."""

from __future__ import annotations

import codecs
import re
from urllib.parse import urlsplit

WIDE = frozenset({"utf-16", "utf-16-le", "utf-16-be"})
"""Codecs whose line feed is two bytes, one of them 0A."""


def printable(text: str, limit: int | None = None) -> str:
    """`text` with everything that a terminal could obey written as `\\x1b`, cut to `limit` characters if one is given."""
    shown = text if limit is None or len(text) <= limit else text[:limit] + "…"
    if shown.isprintable():
        return shown
    return "".join(c if c.isprintable() else c.encode("unicode_escape").decode() for c in shown)


def span(seconds: float | None) -> str:
    """`90` → `1m 30s`; None, which has no end, → `for good`."""
    if seconds is None:
        return "for good"
    parts = []
    rest = max(0, round(seconds))
    for unit, size in (("d", 86400), ("h", 3600), ("m", 60), ("s", 1)):
        number, rest = divmod(rest, size)
        if number:
            parts.append(f"{number}{unit}")
    return " ".join(parts[:2]) or "0s"


_WITHIN = re.compile(r"(\d+ (?:failures?|calls to nowhere) within )(\d+) s")
_UNITS = ((86400, "day"), (3600, "hour"), (60, "minute"), (1, "second"))


def in_words(reason: str) -> str:
    """`5 failures within 600 s`, as logs and JSON have the reason of a ban, for people: `5 failures within 10 minutes`.

    What somebody has written himself stays as it is.
    """
    match = _WITHIN.fullmatch(reason)
    if match is None or not (seconds := int(match[2])):
        return reason
    size, unit = next((size, unit) for size, unit in _UNITS if seconds % size == 0)
    number = seconds // size
    return f"{match[1]}{number} {unit}{'' if number == 1 else 's'}"


def short(text: str, limit: int) -> str:
    """What a stranger chose, printable and no longer than that: he may have made it as long as he likes."""
    shown = printable(text[: limit + 1])
    return shown if len(shown) <= limit else f"{shown[: limit - 1]}…"


def log_codec(name: str) -> str:
    """Python's own name for the codec of a log: one for text, by which lines that the byte 0A ends can be read one by one.

    Raises LookupError where there is none of that name, or it is of another kind.
    """
    try:
        known = codecs.lookup(name).name
        ends_lines = known in ("utf-8-sig", *WIDE) or "\n".encode(known) == b"\n"
        bytes(range(256)).decode(known, "replace")
    except ValueError as error:  # UnicodeError, of codecs that are not for logs, and NUL in a name
        raise LookupError(str(error)) from None
    if not ends_lines:
        raise LookupError(name)
    return known


def shown_url(url: str) -> str:
    """A URL without what may be secret in it: scheme and host, and `…` for the rest, since a path may be a token as well."""
    where = urlsplit(url)
    if not where.hostname:
        return f"{where.scheme}://{where.path}"
    port = f":{where.port}" if where.port else ""
    rest = "/…" if where.path not in ("", "/") or where.query or where.fragment else ""
    return f"{where.scheme}://{where.hostname}{port}{rest}"


_URL = re.compile(
    r"\b(?!file:)(?P<scheme>[a-z][a-z0-9+.-]*:/+)(?P<host>[^\s\"'/?#@]*)(?P<rest>[^\s\"']*)", re.IGNORECASE
)
_LOGIN = re.compile(r"[^\s\"']*:[^\s\"']*@[^\s\"']*")
_NAMED = re.compile(
    r"(\w*(?:pass|secret|token|key|credential)\w*\s*=\s*)(\"[^\"]*\"?|'[^']*'?|[^\s,&\]]+)", re.IGNORECASE
)


def without_secrets(text: str) -> str:
    """A text of the configuration fit to be repeated in a message: nothing of URLs but scheme and host, no passwords or keys.

    What is wrong with a value may be the very thing that would tell a URL or a key apart: in doubt it is left out.
    """
    text = _NAMED.sub(r"\1…", text)
    # Where there is an @, only the one who wrote it knows where a password ends.
    text = _LOGIN.sub("…@…", text)
    return _URL.sub(r"\g<scheme>\g<host>/…", text)
