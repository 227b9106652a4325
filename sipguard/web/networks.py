"""Where attackers are, as far as their addresses tell: the networks that most of them share."""

from __future__ import annotations

import ipaddress
from collections import Counter
from collections.abc import Iterable
from typing import Any

from sipguard.addresses import canonical

SHOWN = 8
PREFIXES = {4: 16, 6: 32}
"""What one provider usually has, by the version of IP."""


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


def busiest(addresses: Iterable[str]) -> list[dict[str, Any]]:
    """The networks with most of these addresses."""
    found: Counter[str] = Counter()
    for address in addresses:
        network = ipaddress.ip_network(address)
        prefix = min(PREFIXES[network.version], network.prefixlen)
        found[str(network.supernet(new_prefix=prefix))] += 1
    return [{"network": network, "bans": bans} for network, bans in found.most_common(SHOWN)]
