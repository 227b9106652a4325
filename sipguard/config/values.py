"""Parses durations, addresses, ports, protocols and booleans, as written in configuration and commands.

Each raises `ValueError` with a short text that says what is wrong and what is expected. The text contains the value as
given, so escape it before printing (`text.printable`).
"""

from __future__ import annotations

import math
import re
import socket
from pathlib import Path
from typing import TYPE_CHECKING

from sipguard import addresses, durations
from sipguard.model import FOREVER, PortRange

if TYPE_CHECKING:
    from collections.abc import Iterable

PROTOCOLS = ("tcp", "udp", "sctp", "dccp")
"""The protocols that have ports."""

# Numbers and units without arithmetic. The number of digits is limited, so that long texts cost no time.
_PARTS = re.compile(r"(?:\s*[0-9]{1,18}(?:\.[0-9]{1,9})?(?![0-9.])\s*[a-z]*)+", re.IGNORECASE | re.ASCII)
_LONGEST = 1000 * 365.25 * 86400
SERVICES = Path("/etc/services")
"""Where the C library looks up names of ports; minimal containers lack it."""
_SERVICE = re.compile(r"[a-z0-9][a-z0-9_.+*-]{0,63}", re.IGNORECASE | re.ASCII)
_RANGE = re.compile(r"([0-9]{1,5})\s*[-:]\s*([0-9]{1,5})", re.ASCII)


class NoServicesError(ValueError):
    """A port is given by name, and nothing here knows names."""


def duration(value: str | float) -> float:
    """Seconds from `600`, `10m`, `1h30m`, `1d 12h` or a number; `-1` and infinity are for ever (`math.inf`).

    Source: jail.conf(5), TIME ABBREVIATION FORMAT. Unlike there, arithmetic (`60*60`) is not supported, and -1 is the
    only negative number with a meaning.

    Raises:
        ValueError: invalid, or longer than 1000 years (no clock can show its end).
    """
    seconds = _number(value) if isinstance(value, str) else value
    if seconds in (-1, FOREVER):
        return FOREVER
    # Compared, not converted: TOML has integers that no float can hold. NaN compares false.
    if isinstance(value, bool) or not seconds >= 0:
        raise ValueError(f"{value}: invalid duration; expected e.g. 10m or 1h30m")
    if seconds > _LONGEST:
        raise ValueError(f"{value}: longer than 1000 years; write -1 for ever")
    return float(seconds)


def _number(text: str) -> float:
    """Sum of the parts of a text, in seconds; NaN if it does not consist of such parts."""
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
    """Format seconds so that `duration` can parse it: `10m`, `1h30m`, `1d12h`; `-1` for ever."""
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
    """Canonical text of an address or network, the only form used elsewhere: see `sipguard.addresses`.

    Raises:
        ValueError: neither an address nor a network, or with a zone (`%eth0`), which no firewall set supports.
    """
    if "%" in text:
        raise ValueError(f"{text} has a zone; write the address without %…")
    try:
        return addresses.canonical(text)
    except ValueError:
        raise ValueError(f"{text} is not an address or network; write e.g. 192.0.2.5 or 2001:db8::/64") from None


def ports(value: str | int | Iterable[str | int]) -> tuple[PortRange, ...]:
    """Parse ports: `5060`, `5060-5061`, `5060:5061`, `sip`, several of them, or `all`. An empty result means all.

    The result is sorted and adjacent ranges are joined: nftables refuses a set with overlapping ranges.

    Raises:
        ValueError: invalid port, or none given (all ports are written `all`).
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
        if _SERVICE.fullmatch(text) and not text.isdigit() and not SERVICES.exists():
            raise NoServicesError(f"this machine has no {SERVICES}; write the port's number, or install netbase")
        raise ValueError(f"{text} is not a port; write e.g. 5060, 5060-5061, sip or all")
    return PortRange(first, last)


def _port_number(text: str) -> int:
    """The number of a port, or of a service by getservbyname(3); -1 if there is none."""
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
    """Parse protocols, keeping their order without duplicates. An empty result (from `all`) means every protocol.

    Raises:
        ValueError: unknown protocol, or none given.
    """
    names = [item.lower() for item in _items(value)]
    for name in names:
        if name not in (*PROTOCOLS, "all"):
            raise ValueError(f"{name} is not a protocol; write {', '.join(PROTOCOLS)} or all")
    if not names:
        raise ValueError("no protocol is given; write e.g. udp, or all")
    return () if "all" in names else tuple(dict.fromkeys(names))
