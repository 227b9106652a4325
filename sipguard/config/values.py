"""Text → values: durations, addresses, ports, protocols, yes and no, as written in configuration and commands.

Each raises `ValueError` with a short text that says what the value is not and how to write it. The value is named in
that text as given: who prints it escapes it (`messages.printable`).
"""

from __future__ import annotations

import math
import re
import socket
from typing import TYPE_CHECKING

from sipguard import addresses, durations
from sipguard.model import FOREVER, PortRange

if TYPE_CHECKING:
    from collections.abc import Iterable

PROTOCOLS = ("tcp", "udp", "sctp", "dccp")
"""The protocols that have ports."""

# Numbers and units without arithmetic. The digits are bounded, so that no text of any length costs time.
_PARTS = re.compile(r"(?:\s*[0-9]{1,18}(?:\.[0-9]{1,9})?(?![0-9.])\s*[a-z]*)+", re.IGNORECASE | re.ASCII)
_LONGEST = 1000 * 365.25 * 86400
_SERVICE = re.compile(r"[a-z0-9][a-z0-9_.+*-]{0,63}", re.IGNORECASE | re.ASCII)
_RANGE = re.compile(r"([0-9]{1,5})\s*[-:]\s*([0-9]{1,5})", re.ASCII)


def duration(value: str | float) -> float:
    """Seconds from `600`, `10m`, `1h30m`, `1d 12h` or a number; `-1` and infinity are for ever (`math.inf`).

    Source: jail.conf(5), TIME ABBREVIATION FORMAT. Unlike there, arithmetic (`60*60`) is not read, and of negative
    numbers -1 alone has a meaning.

    Raises:
        ValueError: it is no duration, or longer than 1000 years (no clock can show its end).
    """
    seconds = _number(value) if isinstance(value, str) else value
    if seconds in (-1, FOREVER):
        return FOREVER
    # Compared, not converted: TOML has integers that no float can hold. NaN compares false.
    if isinstance(value, bool) or not seconds >= 0:
        raise ValueError(f"{value} is not a duration; write e.g. 10m or 1h30m")
    if seconds > _LONGEST:
        raise ValueError(f"{value} is longer than 1000 years; write -1 for ever")
    return float(seconds)


def _number(text: str) -> float:
    """The seconds that a text of parts adds up to; NaN when it is not made of such parts."""
    stripped = text.strip()
    if stripped == "-1":
        return -1.0
    if not _PARTS.fullmatch(stripped):
        return math.nan
    try:
        return durations.seconds(stripped)
    except (NameError, SyntaxError, ValueError):
        return math.nan


def format_duration(seconds: float) -> str:
    """A duration as `duration` reads it: `10m`, `1h30m`, `1d12h`; `-1` for one without end."""
    if math.isinf(seconds):
        return "-1"
    whole, rest = divmod(seconds, 1)
    if rest:
        return f"{seconds:g}s"
    left, text = int(whole), ""
    for size, unit in ((86400, "d"), (3600, "h"), (60, "m"), (1, "s")):
        count, left = divmod(left, size)
        text += f"{count}{unit}" if count else ""
    return text or "0s"


def canonical(text: str) -> str:
    """An address or network in the one form that is used everywhere: see `sipguard.addresses`.

    Raises:
        ValueError: it is no address and no network, or has a zone (`%eth0`), which no firewall set can hold.
    """
    if "%" in text:
        raise ValueError(f"{text} has a zone; write the address without %…")
    try:
        return addresses.canonical(text)
    except ValueError:
        raise ValueError(f"{text} is not an address or network; write e.g. 192.0.2.5 or 2001:db8::/64") from None


def ports(value: str | int | Iterable[str | int]) -> tuple[PortRange, ...]:
    """Ports from `5060`, `5060-5061`, `5060:5061`, `sip`, several of them, or `all`; none means all, as in `Rule`.

    Sorted, and ranges that touch are joined: nftables refuses a set with overlapping ranges.

    Raises:
        ValueError: one is no port, or none is given (all ports are written `all`).
    """
    ranges: list[PortRange] = []
    for item in _items(value):
        one = _port(item)
        if one is None:
            return ()
        ranges.append(one)
    if not ranges:
        raise ValueError("no port is given; write e.g. 5060, or all")
    return _joined(ranges)


def _items(value: str | int | Iterable[str | int]) -> list[str]:
    given = [value] if isinstance(value, str | int) else value
    return [part for item in given for part in str(item).replace(",", " ").split()]


def _port(text: str) -> PortRange | None:
    """One port or range; None for all."""
    if text.lower() == "all":
        return None
    if pair := _RANGE.fullmatch(text):
        first, last = int(pair[1]), int(pair[2])
    else:
        first = last = _port_number(text)
    if first == 0 and last == 65535:
        return None
    if not 1 <= first <= last <= 65535:
        raise ValueError(f"{text} is not a port; write e.g. 5060, 5060-5061, sip or all")
    return PortRange(first, last)


def _port_number(text: str) -> int:
    """The number of a port, or of a service by getservbyname(3); -1 when there is none."""
    if text.isascii() and text.isdigit():
        return int(text[:6])
    if _SERVICE.fullmatch(text) is None:
        return -1
    try:
        return socket.getservbyname(text)
    except OSError:
        return -1


def _joined(ranges: list[PortRange]) -> tuple[PortRange, ...]:
    result: list[PortRange] = []
    for one in sorted(ranges, key=lambda r: (r.first, r.last)):
        if result and one.first <= result[-1].last + 1:
            result[-1] = PortRange(result[-1].first, max(one.last, result[-1].last))
        else:
            result.append(one)
    return tuple(result)


def protocols(value: str | Iterable[str]) -> tuple[str, ...]:
    """Protocols in the order given, once each; `all` gives none, which means every protocol, as in `Rule`.

    Raises:
        ValueError: one is unknown, or none is given.
    """
    names = [item.lower() for item in _items(value)]
    for name in names:
        if name not in (*PROTOCOLS, "all"):
            raise ValueError(f"{name} is not a protocol; write {', '.join(PROTOCOLS)} or all")
    if not names:
        raise ValueError("no protocol is given; write e.g. udp, or all")
    return () if "all" in names else tuple(dict.fromkeys(names))


def boolean(text: str) -> bool:
    """True for `true`, `yes`, `on`, `1`; false for `false`, `no`, `off`, `0`; any case.

    Raises:
        ValueError: it is neither.
    """
    word = text.strip().lower()
    if word in ("true", "yes", "on", "1"):
        return True
    if word in ("false", "no", "off", "0"):
        return False
    raise ValueError(f"{text} is neither true nor false")
