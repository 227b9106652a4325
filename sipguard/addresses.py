"""Addresses as all of sipguard writes them: canonical text, so that the same address is always the same string."""

from __future__ import annotations

import ipaddress
import socket
from functools import lru_cache


@lru_cache(maxsize=8192)  # an attacker's lines come by the thousand
def canonical(text: str) -> str:
    """`text` as `ipaddress` prints it; a network with host bits loses them, one of a single address loses its prefix.

    Brackets around IPv6 and a scope (`%eth0`) go, since no firewall rule has them; an IPv4-mapped IPv6 address is IPv4.

    Raises:
        ValueError: it is no address and no network.
    """
    try:
        # What inet_pton(3) takes as IPv4 is written in the one way there is: the usual case, ten times as fast.
        socket.inet_pton(socket.AF_INET, text)
        return text
    except (OSError, ValueError):
        pass
    try:
        packed = socket.inet_pton(socket.AF_INET6, text)
        if any(packed[:10]):  # those that hold an IPv4 address are written in more than one way
            return socket.inet_ntop(socket.AF_INET6, packed)
    except (OSError, ValueError):
        pass
    address, slash, prefix = text.strip().partition("/")
    bare = address.strip("[]").partition("%")[0] + slash + prefix
    if "/" not in bare:
        return str(_unmapped(ipaddress.ip_address(bare)))
    network = ipaddress.ip_network(bare, strict=False)
    if isinstance(network, ipaddress.IPv6Network) and network.prefixlen >= 96 and network.network_address.ipv4_mapped:
        network = ipaddress.ip_network(f"{network.network_address.ipv4_mapped}/{network.prefixlen - 96}")
    return str(network.network_address) if network.num_addresses == 1 else str(network)


@lru_cache(maxsize=4096)
def network_of(address: str, prefix: int) -> str:
    """The network of `prefix` bits that a canonical IPv6 address is in, canonical as well."""
    number = int.from_bytes(socket.inet_pton(socket.AF_INET6, address)) >> (128 - prefix) << (128 - prefix)
    packed = number.to_bytes(16)
    # What may hold an IPv4 address is written in more than one way; `ipaddress` takes thirty times as long.
    base = socket.inet_ntop(socket.AF_INET6, packed) if any(packed[:10]) else str(ipaddress.IPv6Address(packed))
    return f"{base}/{prefix}"


_EMBEDDING = tuple(
    (int(one.network_address) >> (128 - one.prefixlen), 128 - one.prefixlen)
    for one in map(ipaddress.IPv6Network, ("64:ff9b::/96", "64:ff9b:1::/48", "2002::/16", "2001::/32"))
)


@lru_cache(maxsize=4096)
def embeds_ipv4(address: str) -> bool:
    """Whether this canonical IPv6 address stands for one IPv4 host: its network then holds strangers, not one customer.

    NAT64 (RFC 6052, RFC 8215), 6to4 (RFC 3056), Teredo (RFC 4380).
    """
    number = int.from_bytes(socket.inet_pton(socket.AF_INET6, address))
    return any(number >> shift == prefix for prefix, shift in _EMBEDDING)


def reverse_name(address: str) -> str:
    """An address, or a network's first, as DNS block lists name it: its parts backwards, each followed by a dot."""
    pointer = ipaddress.ip_network(address).network_address.reverse_pointer
    return pointer.removesuffix("in-addr.arpa").removesuffix("ip6.arpa")


def covers(network: str, address: str) -> bool:
    """Whether `network`, canonical as `address` is, holds more than one address, this one or network among them."""
    if "/" not in network:
        return False
    whole, part = ipaddress.ip_network(network), ipaddress.ip_network(address)
    if isinstance(whole, ipaddress.IPv6Network):
        return isinstance(part, ipaddress.IPv6Network) and part.subnet_of(whole)
    return isinstance(part, ipaddress.IPv4Network) and part.subnet_of(whole)


def _unmapped(address: ipaddress.IPv4Address | ipaddress.IPv6Address) -> ipaddress.IPv4Address | ipaddress.IPv6Address:
    if isinstance(address, ipaddress.IPv6Address) and address.ipv4_mapped is not None:
        return address.ipv4_mapped
    return address
