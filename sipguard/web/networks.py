"""The networks that most banned addresses are in."""

from __future__ import annotations

import ipaddress
from collections import Counter
from collections.abc import Iterable, Sequence
from typing import Any

from sipguard.addresses import canonical
from sipguard.geoip import origins

SHOWN = 8
PREFIXES = {4: 16, 6: 32}
"""IP version → prefix length of the networks that one provider usually has."""


def network_around(text: str) -> str | None:
    """An address or a network, or the beginning of an IPv4 address (`203.0.113`) as a network; None for other text."""
    text = text.strip()
    try:
        return canonical(text)
    except ValueError:
        pass
    parts = text.rstrip(".").split(".")
    if "." in text and len(parts) < 4 and all(part.isascii() and part.isdigit() and int(part) < 256 for part in parts):
        return f"{'.'.join([*map(str, map(int, parts)), *['0'] * (4 - len(parts))])}/{8 * len(parts)}"
    return None


def busiest(addresses: Iterable[str], databases: Sequence[str] = ()) -> list[dict[str, Any]]:
    """The networks with most of these addresses: named by a GeoIP database, or else the prefix of `PREFIXES`."""
    listed = list(addresses)
    places = origins(listed, databases)
    found = Counter(places.get(address) or _provider(address) for address in listed)
    return [
        {"name": name, "network": name if network_around(name) else None, "bans": bans}
        for name, bans in found.most_common(SHOWN)
    ]


def _provider(address: str) -> str:
    network = ipaddress.ip_network(address)
    prefix = min(PREFIXES[network.version], network.prefixlen)
    return str(network.supernet(new_prefix=prefix))
