"""Bans: made, ended and asked for."""

from __future__ import annotations

import datetime
import ipaddress
from collections.abc import Awaitable, Callable, Collection, Sequence
from typing import Any

from sipguard.addresses import canonical
from sipguard.daemon.compat.host import Host
from sipguard.durations import whole_seconds
from sipguard.model import Ban

Network = ipaddress.IPv4Network | ipaddress.IPv6Network


def banned(host: Host, addresses: Sequence[str]) -> list[Any]:
    """`banned [IP…]`: who is banned by each jail, or which jails ban each address."""
    if not addresses:
        return [{name: _addresses(host, name) for name in (jail,)} for jail in host.names()]
    by_jail = {jail: set(_addresses(host, jail)) for jail in host.names()}
    return [[jail for jail, live in by_jail.items() if same(address) in live] for address in addresses]


def banned_by(host: Host, jail: str, addresses: Sequence[str]) -> Any:
    """`get JAIL banned [IP…]`: the addresses; 1 or 0 for one address, a list of these for several."""
    live = _addresses(host, jail)
    if not addresses:
        return live
    known = set(live)
    found = [int(same(address) in known) for address in addresses]
    return found[0] if len(found) == 1 else found


def ban_list(host: Host, jail: str, words: Sequence[str]) -> list[str]:
    """`get JAIL banip [SEPARATOR|--with-time]`: by the end of the ban."""
    bans = sorted(host.bans(jail), key=lambda ban: ban.until)
    if list(words[:1]) != ["--with-time"]:
        return [ban.address for ban in bans]
    return [_with_time(ban) for ban in bans]


async def unban(host: Host, jail: str | None, addresses: Sequence[str] | None) -> int:
    """End these bans, or all; a network ends those of every address within. The number of bans that ended."""
    if addresses is None:
        return await host.unban(jail, None)
    count = 0
    for one in [jail] if jail else host.names():
        live = set(_addresses(host, one))
        count += await host.unban(one, [address for given in addresses for address in _meant(live, given)])
    return count


async def _ban(host: Host, jail: str, words: Sequence[str]) -> int:
    host.options(jail)
    return await host.ban(jail, list(words))


async def _unban(host: Host, jail: str, words: Sequence[str]) -> int:
    report = words[0] == "--report-absent"
    addresses = list(words[1:] if report else words)
    live = set(_addresses(host, jail))
    absent = [one for one in addresses if not live.intersection(_meant(live, one))]
    count = await unban(host, jail, addresses)
    if absent and report:
        raise ValueError(f"not banned: {absent!r}")
    return count


async def _attempt(host: Host, jail: str, words: Sequence[str]) -> int:
    host.options(jail)
    if not words:
        raise TypeError("Filter.addAttempt() missing 1 required positional argument: 'ip'")
    await host.attempt(jail, words[0], words[1:])
    return 1


SET: dict[str, Callable[[Host, str, Sequence[str]], Awaitable[int]]] = {
    "banip": _ban,
    "unbanip": _unban,
    "attempt": _attempt,
}
"""`set JAIL …` that acts."""


def same(address: str) -> str:
    """The address as bans are kept; what is none is left as it is, and found nowhere."""
    try:
        return canonical(address)
    except ValueError:
        return address


def _addresses(host: Host, jail: str) -> list[str]:
    return [ban.address for ban in host.bans(jail)]


def _meant(live: Collection[str], given: str) -> list[str]:
    """What an address or network to be unbanned stands for: itself, or the banned addresses within."""
    address = same(given)
    if address in live or "/" not in address:
        return [address]
    try:
        network = ipaddress.ip_network(address)
    except ValueError:
        return [address]
    return [one for one in live if _holds(network, ipaddress.ip_network(one))]


def _holds(network: Network, other: Network) -> bool:
    return network.version == other.version and network.supernet_of(other)  # type: ignore[arg-type]


def _with_time(ban: Ban) -> str:
    return f"{ban.address} \t{moment(ban.since)} + {whole_seconds(ban)} = {moment(ban.until)}"


def moment(time: float) -> str:
    """Local time as Fail2ban writes it; the last second of the year 9999 for what never ends."""
    if time >= 253402214400:
        return "9999-12-31 23:59:59"
    return datetime.datetime.fromtimestamp(int(time)).strftime("%Y-%m-%d %H:%M:%S")  # noqa: DTZ006 - local, as it is read
