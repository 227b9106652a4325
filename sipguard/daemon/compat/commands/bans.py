"""Bans: made, ended and asked for."""

from __future__ import annotations

import datetime
from collections.abc import Awaitable, Callable, Sequence
from typing import Any

from sipguard.addresses import covers
from sipguard.daemon.compat.host import Host
from sipguard.daemon.operations import known
from sipguard.durations import whole_seconds
from sipguard.model import Ban


def banned(host: Host, addresses: Sequence[str]) -> list[Any]:
    """`banned [IP…]`: who is banned by each jail, or which jails ban each address."""
    if not addresses:
        return [{name: _addresses(host, name) for name in (jail,)} for jail in host.names()]
    by_jail = {jail: set(_addresses(host, jail)) for jail in host.names()}
    return [[jail for jail, live in by_jail.items() if known(address) in live] for address in addresses]


def banned_by(host: Host, jail: str, addresses: Sequence[str]) -> Any:
    """`get JAIL banned [IP…]`: the addresses; 1 or 0 for one address, a list of these for several."""
    live = _addresses(host, jail)
    if not addresses:
        return live
    banned_now = set(live)
    found = [int(known(address) in banned_now) for address in addresses]
    return found[0] if len(found) == 1 else found


def ban_list(host: Host, jail: str, words: Sequence[str]) -> list[str]:
    """`get JAIL banip [SEPARATOR|--with-time]`: by the end of the ban."""
    bans = sorted(host.bans(jail), key=lambda ban: ban.until)
    if list(words[:1]) != ["--with-time"]:
        return [ban.address for ban in bans]
    return [_with_time(ban) for ban in bans]


async def _unban(host: Host, jail: str, words: Sequence[str]) -> int:
    report = words[0] == "--report-absent"
    addresses = list(words[1:] if report else words)
    ended = await host.unban(jail, addresses)
    if report:
        freed = {ban.address for ban in ended}
        absent = [one for one in addresses if not any(_stands_for(one, address) for address in freed)]
        if absent:
            raise ValueError(f"not banned: {absent!r}")
    return len(ended)


async def _attempt(host: Host, jail: str, words: Sequence[str]) -> int:
    host.jail(jail)
    if not words:
        raise TypeError("Filter.addAttempt() missing 1 required positional argument: 'ip'")
    await host.attempt(jail, words[0], words[1:])
    return 1


SET: dict[str, Callable[[Host, str, Sequence[str]], Awaitable[int]]] = {
    "banip": Host.ban,
    "unbanip": _unban,
    "attempt": _attempt,
}
"""`set JAIL …` that acts."""


def _addresses(host: Host, jail: str) -> list[str]:
    return [ban.address for ban in host.bans(jail)]


def _stands_for(given: str, banned: str) -> bool:
    """Whether an address or network to be unbanned is this banned one, is in it, or holds it."""
    address = known(given)
    return address is not None and (address == banned or covers(address, banned) or covers(banned, address))


def _with_time(ban: Ban) -> str:
    return f"{ban.address} \t{moment(ban.since)} + {whole_seconds(ban)} = {moment(ban.until)}"


def moment(time: float) -> str:
    """Local time as Fail2ban writes it; the last second of the year 9999 for what never ends."""
    if time >= 253402214400:
        return "9999-12-31 23:59:59"
    return datetime.datetime.fromtimestamp(int(time)).strftime("%Y-%m-%d %H:%M:%S")  # noqa: DTZ006 - local, as it is read
