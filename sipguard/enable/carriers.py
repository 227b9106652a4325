"""Who of the hosts that a server's configuration names goes into `ignoreip`."""

from __future__ import annotations

import ipaddress
import re
from typing import TYPE_CHECKING

from sipguard.text import printable

if TYPE_CHECKING:
    from collections.abc import Iterable

    from sipguard.enable.found import Carrier

_URI = re.compile(r"^(?:sips?:)?(?:[^@]*@)?(\[[0-9A-Fa-f:.]+\]|[^\s:;,>?]+|[0-9A-Fa-f:.]+(?=$|/))", re.IGNORECASE)
_NAME = re.compile(r"(?=.{1,253}$)(?!\d+\.)[A-Za-z0-9_](?:[A-Za-z0-9_-]*\.)+[A-Za-z][A-Za-z0-9-]*[A-Za-z0-9]")
WIDEST = {4: 16, 6: 32}
"""Shortest prefix of a public network that is proposed: a carrier has its own addresses, not half of the Internet."""


def host_of(text: str) -> str:
    """The host of `sip:user@host:port;transport=tcp`, `host:port`, `[2001:db8::1]:5060` or `192.0.2.0/24`; empty if none."""
    text = text.strip().strip("<>\"'")
    try:
        return str(_network(text))
    except ValueError:
        pass
    match = _URI.match(text)
    return match[1].strip("[]") if match else ""


def proposed(carriers: Iterable[Carrier]) -> tuple[dict[str, Carrier], list[str]]:
    """Entries of `ignoreip`, each with the carrier that names it, and one line for each that is not proposed."""
    good: dict[str, Carrier] = {}
    refused: dict[str, str] = {}
    for carrier in carriers:
        word, reason = _judge(carrier.host)
        if reason:
            refused.setdefault(f"{printable(carrier.host)} ({printable(carrier.where)}): {reason}", "")
        elif word:
            good.setdefault(word, carrier)
    return good, list(refused)


def _judge(host: str) -> tuple[str, str]:
    """The entry for `ignoreip`, or why there is none; both are empty for this machine itself."""
    try:
        network = _network(host)
    except ValueError:
        if host.lower() in ("", "localhost", "dynamic"):
            return "", ""
        return (host.lower(), "") if _NAME.fullmatch(host) else ("", "neither an address nor a full host name")
    if network.is_loopback or network.is_multicast or (network.is_unspecified and network.num_addresses == 1):
        return "", ""
    if network.prefixlen < WIDEST[network.version] and not (network.is_private and network.prefixlen >= 8):
        return "", "too large a network to exempt from bans"
    alone = network.num_addresses == 1
    return str(network.network_address if alone else network), ""


def _network(text: str) -> ipaddress.IPv4Network | ipaddress.IPv6Network:
    """Also with a netmask, as Asterisk writes networks. Raises ValueError."""
    return ipaddress.ip_network(text, strict=False)
