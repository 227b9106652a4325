"""Validators of `schema`: each converts a TOML value to a value of the model.

A validator accepts anything that TOML can contain and raises `ValueError` if it is invalid; the row says what is allowed.
"""

from __future__ import annotations

import ipaddress
import locale
import math
import re
import shlex
from collections.abc import Callable
from typing import Any, NoReturn

from sipguard.config import values
from sipguard.config.messages import shown
from sipguard.formula import Formula
from sipguard.secret import Secret
from sipguard.text import log_codec

_JOURNAL_FIELD = re.compile(r"[A-Z_][A-Z0-9_]*=", re.ASCII)
Reader = Callable[[Any], Any]
"""A validator: value from TOML → value for the model."""


class BadItemError(ValueError):
    """One item of a list is invalid."""

    def __init__(self, item: object) -> None:
        self.item = item
        super().__init__(shown(item))


class BadDetailError(ValueError):
    """Part of a value is invalid; the text says which part and what is allowed."""


def _no(value: object) -> NoReturn:
    raise ValueError(shown(value))


def flag(value: Any) -> bool:
    return value if isinstance(value, bool) else _no(value)


def listen(value: Any) -> str:
    """`address:port`, `[address]:port`, an absolute path, or empty; the address must be a loopback address."""
    if value == "" or (isinstance(value, str) and value.startswith("/")):
        return value if value == "" else path(value)
    given = text(value)
    host, _, port = given.rpartition(":")
    if not ipaddress.ip_address(host.strip("[]")).is_loopback or not 0 < int(port) < 65536:
        _no(value)
    return given


def address_with_port(value: Any) -> str:
    """`address:port`, `[address]:port`, or empty."""
    if value == "":
        return ""
    given = text(value)
    host, _, port = given.rpartition(":")
    if not 0 < int(port) < 65536 or (":" in host) != host.startswith("["):
        _no(value)
    ipaddress.ip_address(host.strip("[]"))
    return given


def secret(value: Any) -> Secret:
    """A confidential text; may be empty."""
    return Secret(optional_text(value))


def network(value: Any) -> str:
    """An address or a network."""
    return str(ipaddress.ip_network(text(value), strict=False))


def text(value: Any) -> str:
    """One line of visible text, without spaces around it."""
    return value.strip() if isinstance(value, str) and value.strip() and value.isprintable() else _no(value)


def optional_text(value: Any) -> str:
    return "" if value == "" else text(value)


def path(value: Any) -> str:
    word = text(value)
    return word if word.startswith("/") else _no(value)


def optional_path(value: Any) -> str:
    return "" if value == "" else path(value)


def choice(*words: str) -> Reader:
    """One of these words, in any case."""
    by_word = {word.lower(): word for word in words}
    return lambda value: by_word.get(text(value).lower()) or _no(value)


def count(value: Any) -> int:
    return value if isinstance(value, int) and not isinstance(value, bool) and 1 <= value <= 1_000_000 else _no(value)


def count_or_none(value: Any) -> int:
    return 0 if value == 0 and not isinstance(value, bool) else count(value)


def prefix_length(value: Any) -> int:
    """Prefix length of an IPv6 network, 32 to 128: a network larger than /32 is a provider, not a customer."""
    return value if isinstance(value, int) and not isinstance(value, bool) and 32 <= value <= 128 else _no(value)


def span(value: Any) -> float:
    """A duration above 0, or for ever."""
    if isinstance(value, bool) or not isinstance(value, str | int | float):
        _no(value)
    return values.duration(value) or _no(value)


def optional_span(value: Any) -> float | None:
    return None if value == "" else finite_span(value)


def factor(value: Any) -> float:
    """A number above 0."""
    number = float(value) if isinstance(value, int | float) and not isinstance(value, bool) else _no(value)
    return number if 0 < number <= 1e6 else _no(value)


def formula(value: Any) -> str | None:
    if value == "":
        return None
    Formula(text(value))
    return text(value)


def journalmatch(value: Any) -> str:
    """One alternative: one or more `FIELD=value`, which may be joined by `+`."""
    words = shlex.split(text(value))
    return text(value) if all(word == "+" or _JOURNAL_FIELD.match(word) for word in words) else _no(value)


def finite_span(value: Any) -> float:
    seconds = span(value)
    return seconds if math.isfinite(seconds) else _no(value)


def items(value: Any, separator: str) -> list[Any]:
    """The items of a list, or of one text split at `separator` (a regex); may be empty."""
    if isinstance(value, str):
        return [item for item in re.split(separator, value) if item]
    return value if isinstance(value, list) else _no(value)


def each(parse: Reader, separator: str) -> Reader:
    """A list of values, or one text split at `separator` (a regex); may be empty."""

    def read(value: Any) -> tuple[Any, ...]:
        result = []
        for item in items(value, separator):
            try:
                result.append(parse(item))
            except ValueError:
                raise BadItemError(item) from None
        return tuple(result)

    return read


def at_least_one(parse: Reader) -> Reader:
    return lambda value: parse(value) or _no(value)


def ports(value: Any) -> Any:
    items = value if isinstance(value, list) else [value]
    for item in items:
        if isinstance(item, bool) or not isinstance(item, str | int):
            raise BadItemError(item)
        try:
            values.ports(item)
        except values.NoServicesError as error:
            raise BadDetailError(f" = {shown(item)}: {error}") from None
        except ValueError:
            raise BadItemError(item) from None
    return values.ports(items)


def protocols(value: Any) -> Any:
    items = value if isinstance(value, list) else [value]
    return values.protocols([text(item) for item in items])


# The last label has at least two characters and begins with a letter: `192.0.2.x` is a typing error, not a name.
_HOST_NAME = re.compile(
    r"(?=.{1,253}\Z)(?:[a-z0-9_](?:[a-z0-9_-]{0,61}[a-z0-9])?\.)*[a-z][a-z0-9-]{0,61}[a-z0-9]\.?",
    re.IGNORECASE | re.ASCII,
)


def chain(value: Any) -> str:
    """Name of an iptables chain."""
    word = text(value)
    return word if re.fullmatch(r"[A-Za-z][A-Za-z0-9_-]{0,27}", word) else _no(value)


def ignored(value: Any) -> str:
    """An address or network in canonical form, or a host name, or a list (`file:/…`), as written."""
    word = text(value)
    if word.startswith("file:/"):
        return word
    return word if _HOST_NAME.fullmatch(word) else values.canonical(word)


IGNORED_SEPARATOR = r"[\s,]+"
_EVERYBODY = {"0.0.0.0/0": "IPv4", "::/0": "IPv6"}


def sift_ignored(value: Any) -> tuple[list[str], list[str]]:
    """The valid entries of `ignoreip`, and what to tell of them: a typo must not leave a jail unguarded.

    Raises:
        ValueError: neither a list nor text.
    """
    valid, notes = [], []
    for entry in items(value, IGNORED_SEPARATOR):
        try:
            valid.append(ignored(entry))
            if kind := _EVERYBODY.get(valid[-1]):
                notes.append(f"ignoreip: {valid[-1]} protects every {kind} address; none is banned")
        except ValueError:
            notes.append(f"ignoreip: {str(entry)[:60]!a} is not an address, network or host name; it protects nobody")
    return valid, notes


def encoding(value: Any) -> str:
    """A Python codec for text in lines; `auto` means the locale's."""
    name = locale.getpreferredencoding(False) if value == "auto" else text(value)
    try:
        return log_codec(name)
    except LookupError:
        return _no(value)


_OFFSET = re.compile(r"(?:UTC|GMT|Z)?(?:[+-](?:0\d|1[0-4]):?[0-5]\d)?", re.ASCII)


def timezone(value: Any) -> str | None:
    """A fixed offset or a zone of the IANA database."""
    if value == "":
        return None
    word = text(value)
    if _OFFSET.fullmatch(word):
        return word
    import zoneinfo  # noqa: PLC0415

    try:
        zoneinfo.ZoneInfo(word)
    except (zoneinfo.ZoneInfoNotFoundError, ValueError, OSError):
        _no(value)
    return word


def logtarget(value: Any) -> str:
    word = text(value)
    return word if word.startswith("/") else str(choice("STDOUT", "STDERR", "SYSLOG")(value))
