"""The kinds of values that keys may hold: `flag`, `path`, `span` and their like, each with what is allowed."""

from __future__ import annotations

import ipaddress
import locale
import math
import re
import shlex
from typing import Any
from urllib.parse import urlsplit

from sipguard.config import values
from sipguard.config.kind import BadDetailError, BadItemError, choice, confidential, items, refuse, says, whole
from sipguard.config.messages import shown
from sipguard.formula import Formula
from sipguard.model import PortRange
from sipguard.text import log_codec

DURATION = "a time such as 600, 10m, 1h30m or 1d"
_JOURNAL_FIELD = re.compile(r"[A-Z_][A-Z0-9_]*=", re.ASCII)


@says("true or false")
def flag(value: Any) -> bool:
    return value if isinstance(value, bool) else refuse(value)


@says("a local address with a port, such as 127.0.0.1:9191 or [::1]:9191, or the absolute path of a socket")
def listen(value: Any) -> str:
    """`address:port`, `[address]:port`, an absolute path, or empty; the address must be a loopback address."""
    if value == "" or (isinstance(value, str) and value.startswith("/")):
        return value if value == "" else path(value)
    given = text(value)
    host, _, port = given.rpartition(":")
    if not ipaddress.ip_address(host.strip("[]")).is_loopback or not 0 < int(port) < 65536:
        refuse(value)
    return given


@says("an address with a port, such as 127.0.0.1:9060 or [::1]:9060, or nothing")
def address_with_port(value: Any) -> str:
    """`address:port`, `[address]:port`, or empty."""
    if value == "":
        return ""
    given = text(value)
    host, _, port = given.rpartition(":")
    if not 0 < int(port) < 65536 or (":" in host) != host.startswith("["):
        refuse(value)
    ipaddress.ip_address(host.strip("[]"))
    return given


@says("an address, a network such as 192.0.2.0/24")
def network(value: Any) -> str:
    """An address or a network."""
    return str(ipaddress.ip_network(text(value), strict=False))


@says("a text")
def text(value: Any) -> str:
    """One line of visible text, without spaces around it."""
    return value.strip() if isinstance(value, str) and value.strip() and value.isprintable() else refuse(value)


@says("a text")
def optional_text(value: Any) -> str:
    return "" if value == "" else text(value)


@says("an absolute path")
def path(value: Any) -> str:
    word = text(value)
    return word if word.startswith("/") else refuse(value)


@says("an absolute path")
def optional_path(value: Any) -> str:
    return "" if value == "" else path(value)


count = whole(1, 1_000_000)
count_or_none = whole(0, 1_000_000).saying("a whole number of 0 or more")
prefix_length = whole(32, 128).saying("a whole number from 32 to 128")
"""Of an IPv6 network: one larger than /32 is a provider, not a customer."""


@says(f"{DURATION}, longer than 0, or -1 for ever")
def span(value: Any) -> float:
    """A duration above 0, or for ever."""
    if isinstance(value, bool) or not isinstance(value, str | int | float):
        refuse(value)
    return values.duration(value) or refuse(value)


@says(f"{DURATION}, longer than 0")
def optional_span(value: Any) -> float | None:
    return None if value == "" else finite_span(value)


@says("a number above 0")
def factor(value: Any) -> float:
    """A number above 0."""
    number = float(value) if isinstance(value, int | float) and not isinstance(value, bool) else refuse(value)
    return number if 0 < number <= 1e6 else refuse(value)


@says("arithmetic over ban.Time, ban.Count and banFactor")
def formula(value: Any) -> str | None:
    if value == "":
        return None
    Formula(text(value))
    return text(value)


@says('FIELD=value as journalctl takes it, e.g. "_SYSTEMD_UNIT=asterisk.service"')
def journalmatch(value: Any) -> str:
    """One alternative: one or more `FIELD=value`, which may be joined by `+`."""
    words = shlex.split(text(value))
    return text(value) if all(word == "+" or _JOURNAL_FIELD.match(word) for word in words) else refuse(value)


@says(f"{DURATION}, longer than 0")
def finite_span(value: Any) -> float:
    seconds = span(value)
    return seconds if math.isfinite(seconds) else refuse(value)


@says("a port (1 to 65535), a range such as 5060-5061, a service such as sip, a list of these, or all")
def ports(value: Any) -> tuple[PortRange, ...]:
    given = value if isinstance(value, list) else [value]
    for item in given:
        if isinstance(item, bool) or not isinstance(item, str | int):
            raise BadItemError(item)
        try:
            values.ports(item)
        except values.NoServicesError as error:
            raise BadDetailError(f" = {shown(item)}: {error}") from None
        except ValueError:
            raise BadItemError(item) from None
    return values.ports(given)


@says("tcp, udp, sctp, dccp, a list of these, or all")
def protocols(value: Any) -> tuple[str, ...]:
    return values.protocols([text(item) for item in (value if isinstance(value, list) else [value])])


# The last label has at least two characters and begins with a letter: `192.0.2.x` is a typing error, not a name.
_HOST_NAME = re.compile(
    r"(?=.{1,253}\Z)(?:[a-z0-9_](?:[a-z0-9_-]{0,61}[a-z0-9])?\.)*[a-z][a-z0-9-]{0,61}[a-z0-9]\.?",
    re.IGNORECASE | re.ASCII,
)


@says("a chain of the filter table such as FORWARD")
def chain(value: Any) -> str:
    """Name of an iptables chain."""
    word = text(value)
    return word if re.fullmatch(r"[A-Za-z][A-Za-z0-9_-]{0,27}", word) else refuse(value)


@says("an address, a network such as 192.0.2.0/24, a host name, file:/PATH")
def ignored(value: Any) -> str:
    """An address or network in canonical form, or a host name, or a list (`file:/…`), as written."""
    word = text(value)
    if word.startswith("file:/"):
        return word
    return word if _HOST_NAME.fullmatch(word) else values.canonical(word)


_EVERYBODY = {"0.0.0.0/0": "IPv4", "::/0": "IPv6"}


def sift_ignored(value: Any) -> tuple[list[str], list[str]]:
    """The valid entries of `ignoreip`, and what to tell of them: a typo must not leave a jail unguarded.

    Raises:
        ValueError: neither a list nor text.
    """
    valid, notes = [], []
    for entry in items(value):
        try:
            valid.append(ignored(entry))
            if kind := _EVERYBODY.get(valid[-1]):
                notes.append(f"ignoreip: {valid[-1]} protects every {kind} address; none is banned")
        except ValueError:
            notes.append(f"ignoreip: {str(entry)[:60]!a} is not an address, network or host name; it protects nobody")
    return valid, notes


@says("a text encoding such as utf-8 or latin-1, or auto")
def encoding(value: Any) -> str:
    """A Python codec for text in lines; `auto` means the locale's."""
    name = locale.getpreferredencoding(False) if value == "auto" else text(value)
    try:
        return log_codec(name)
    except LookupError:
        return refuse(value)


_OFFSET = re.compile(r"(?:UTC|GMT|Z)?(?:[+-](?:0\d|1[0-4]):?[0-5]\d)?", re.ASCII)


@says("UTC, UTC+0200 or a zone such as Europe/Zurich")
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
        refuse(value)
    return word


verdict = choice("reject", "drop")
secret = confidential(optional_text).saying("a text without line breaks")


@says("an http or https address")
def http_url(value: Any) -> str:
    word = text(value)
    parts = urlsplit(word)
    return word if parts.scheme in ("http", "https") and parts.hostname and " " not in word else refuse(value)


@says("STDOUT, STDERR, SYSLOG or an absolute path")
def logtarget(value: Any) -> str:
    word = text(value)
    return word if word.startswith("/") else str(choice("STDOUT", "STDERR", "SYSLOG")(value))
