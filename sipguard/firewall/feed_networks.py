"""What a feed's networks are to a backend: checked text, family and prefix length, quickly, for there are many.

A feed comes from a server of others. Nothing but what inet_pton(3) reads and inet_ntop(3) prints is handed on to a tool.
"""

from __future__ import annotations

import socket
from typing import TYPE_CHECKING, NamedTuple

from sipguard.errors import FirewallError

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

    from sipguard.firewall.nft_names import Family

_BITS = {"4": 32, "6": 128}
_KINDS = {"4": socket.AF_INET, "6": socket.AF_INET6}


class FeedNetwork(NamedTuple):
    """One network of a feed. `first` is its first address, `length` that of its prefix, `until` POSIX seconds."""

    family: Family
    first: str
    length: int
    until: float

    @property
    def text(self) -> str:
        """Canonical text: an address has no prefix."""
        return self.first if self.length == _BITS[self.family] else f"{self.first}/{self.length}"


def in_time(networks: Iterable[tuple[str, float]], now: float) -> Iterator[FeedNetwork]:
    """Read the networks whose time has not passed. Raises `FirewallError` for what is no network, or not canonical."""
    for text, until in networks:
        if until > now:
            yield _read(text, until)


def _read(text: str, until: float) -> FeedNetwork:
    host, slash, prefix = text.partition("/")
    family: Family = "6" if ":" in host else "4"
    bits = _BITS[family]
    try:
        packed = socket.inet_pton(_KINDS[family], host)
        length = int(prefix) if slash else bits
    except (OSError, ValueError):
        raise FirewallError(f"cannot reject {text[:60]!r}: neither an IP address nor a network") from None
    if not 0 <= length <= bits or int.from_bytes(packed, "big") & ((1 << (bits - length)) - 1):
        raise FirewallError(f"cannot reject {text[:60]!r}: its prefix does not fit the address")
    return FeedNetwork(family, socket.inet_ntop(_KINDS[family], packed), length, until)
