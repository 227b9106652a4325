"""Which addresses a batch of bans is about: checked and canonical, before any of them reaches a kernel.

An address comes out of a log line, so an attacker wrote it. Only what `ipaddress` prints is handed on: `nft`
resolves names (`localhost` bans 127.0.0.1), reads `;` and `}` as syntax, and refuses a whole batch for one bad element.
"""

from __future__ import annotations

import socket
from ipaddress import IPv4Address, IPv4Network, IPv6Address, IPv6Network, ip_network
from typing import TYPE_CHECKING

from sipguard.errors import FirewallError

if TYPE_CHECKING:
    from collections.abc import Collection, Sequence

    from sipguard.model import Ban

Network = IPv4Network | IPv6Network
Target = IPv4Address | IPv6Address | Network
"""What a ban rejects: one address, or a network of more than one."""


def parse_target(text: str) -> Target:
    """Read an address or a network; host bits and an IPv6 zone (`%eth0`) are dropped, an IPv4-mapped one becomes IPv4.

    Raises `FirewallError` for anything else, host names included.
    """
    try:
        # `ip_address` and `ip_network` try IPv4 first, and an exception that nobody sees costs as much as the rest.
        if "/" in text:
            target: Target = IPv6Network(text, strict=False) if ":" in text else IPv4Network(text, strict=False)
        else:
            target = IPv6Address(text) if ":" in text else IPv4Address(text)
    except ValueError:
        raise FirewallError(f"cannot ban {text!r}: neither an IP address nor a network") from None
    if isinstance(target, Network):
        first = target.network_address
        if "%" not in text and target.prefixlen < target.max_prefixlen and not _is_mapped(first):
            return target
        return _plain_network(target)
    if isinstance(target, IPv6Address) and ("%" in text or _is_mapped(target)):
        # Built anew from the number, because `str` of an address keeps its zone, which may hold any character.
        return target.ipv4_mapped or IPv6Address(int(target))
    return target


def is_canonical(text: str) -> bool:
    """Whether this is an address, or an IPv6 network of /64, just as `parse_target` would give it; in a tenth of the time.

    In a burst it is asked of every ban. It may say False of one that is.
    """
    base, slash, length = text.partition("/")
    family = socket.AF_INET6 if ":" in base else socket.AF_INET
    try:
        packed = socket.inet_pton(family, base)
    except (OSError, ValueError):
        return False
    if socket.inet_ntop(family, packed) != base:
        return False
    if family == socket.AF_INET:
        return not slash
    # What may hold an IPv4 address is written in more than one way.
    return any(packed[:10]) and (not slash or (length == "64" and not any(packed[8:])))


def _is_mapped(address: IPv4Address | IPv6Address) -> bool:
    return isinstance(address, IPv6Address) and address.ipv4_mapped is not None


def _plain_network(network: Network) -> Target:
    """Give the network without zone and mapping; one of a single address is that address."""
    first, length = network.network_address, network.prefixlen
    if isinstance(first, IPv6Address):
        if length >= 96 and first.ipv4_mapped:
            first, length = first.ipv4_mapped, length - 96
        else:
            first = IPv6Address(int(first))
    return first if length == first.max_prefixlen else ip_network((first, length))


def latest(bans: Sequence[Ban], jails: Collection[str], now: float) -> dict[str, dict[Target, float]]:
    """Group bans that still have time to run: jail → target → until. Of several for one target the last counts.

    Raises `FirewallError` for an address that is none, or a jail that `open` was not told of.
    """
    grouped: dict[str, dict[Target, float]] = {}
    for ban in bans:
        if ban.jail not in jails:
            raise FirewallError(
                f"cannot ban {ban.address!r}: the firewall was not opened for a jail named {ban.jail!r}"
            )
        target = parse_target(ban.address)
        if ban.until > now:
            grouped.setdefault(ban.jail, {})[target] = ban.until
    return grouped
