"""Checks networks that feeds, the fleet and CrowdSec want rejected: none may cut this host off from its own network."""

from __future__ import annotations

import socket
from collections.abc import Mapping

BITS = {4: 32, 6: 128}
_FAMILY = {4: socket.AF_INET, 6: socket.AF_INET6}
WIDEST = {4: 8, 6: 16}
"""IP version → shortest prefix allowed. Regional registries give nobody a larger block."""
_MAPPED = 0xFFFF << 32
_GLOBAL_6 = (0x2 << 124, (0x4 << 124) - 1)
"""2000::/3: IANA assigns global unicast addresses from here alone. Private, loopback and multicast addresses lie outside."""
_SPECIAL_4 = (
    # RFC 6890 and IANA's registry of special-purpose addresses. The ranges for documentation and benchmarks are left out: no host
    # uses them, so rejecting them does no harm.
    ("0.0.0.0", 8, "this network"),  # noqa: S104 - a range to refuse, nothing is bound
    ("10.0.0.0", 8, "private"),
    ("100.64.0.0", 10, "private (carrier NAT)"),
    ("127.0.0.0", 8, "loopback"),
    ("169.254.0.0", 16, "link-local"),
    ("172.16.0.0", 12, "private"),
    ("192.0.0.0", 24, "reserved"),
    ("192.168.0.0", 16, "private"),
    ("224.0.0.0", 4, "multicast"),
    ("240.0.0.0", 4, "reserved"),
)


class NetworkRefusedError(ValueError):
    """An entry that sipguard does not accept: this network must stay reachable. The text says why."""


def parse(text: str) -> tuple[int, int, int]:
    """Parse an address or network into (IP version, first address, prefix length).

    Clears the host bits; turns IPv4-mapped IPv6 into IPv4. Raises `ValueError` if `text` is neither.
    """
    host, slash, prefix = text.partition("/")
    version = 6 if ":" in host else 4
    try:
        number = int.from_bytes(socket.inet_pton(_FAMILY[version], host), "big")
        length = int(prefix) if slash else BITS[version]
    except OSError:
        raise ValueError("no address") from None
    if slash and not (prefix.isascii() and prefix.isdigit() and length <= BITS[version]):
        raise ValueError("invalid prefix length")
    if version == 6 and length >= 96 and number >> 32 == _MAPPED >> 32:
        version, number, length = 4, number - _MAPPED, length - 96
    return version, number >> (BITS[version] - length) << (BITS[version] - length), length


def write(version: int, first: int, length: int) -> str:
    """The canonical text of a network, as `sipguard.model` defines it."""
    host = socket.inet_ntop(_FAMILY[version], first.to_bytes(BITS[version] // 8, "big"))
    return host if length == BITS[version] else f"{host}/{length}"


def admit(text: str, widest: Mapping[int, int] = WIDEST, *, is_cut: bool = False) -> str:
    """Canonical text of an entry. Raises `NetworkRefusedError` if it must not be rejected, `ValueError` if it is no network.

    `is_cut`: an IPv4 network that contains a refused range is admitted, because somebody cuts the range out (`feeds.sieve`).
    """
    version, first, length = parse(text)
    if length < widest[version]:
        raise NetworkRefusedError(f"wider than /{widest[version]}")
    last = first + (1 << (BITS[version] - length)) - 1
    if version == 6:
        if not (_GLOBAL_6[0] <= first and last <= _GLOBAL_6[1]):
            raise NetworkRefusedError("no global IPv6 address")
    else:
        for begin, end, why in _REFUSED_4:
            if begin <= first and last <= end:
                raise NetworkRefusedError(why)
            if first <= begin and end <= last and not is_cut:
                raise NetworkRefusedError(f"in part {why}")
    return write(version, first, length)


def _span(host: str, length: int) -> tuple[int, int]:
    version, first, _ = parse(f"{host}/{length}")
    return first, first + (1 << (BITS[version] - length)) - 1


_REFUSED_4 = tuple((*_span(host, length), why) for host, length, why in _SPECIAL_4)
REFUSED_SPANS = tuple((first, last) for first, last, _ in _REFUSED_4)
"""First and last address of each IPv4 range that no feed, node or CrowdSec can have rejected."""
