"""All bans of all jails as people want to see them: filtered, sorted, a page at a time; those of now and those of the past."""

from __future__ import annotations

import asyncio
import heapq
import ipaddress
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from typing import NamedTuple

from sipguard.addresses import canonical
from sipguard.daemon.daemon import Daemon
from sipguard.errors import FirewallError, SipguardError, StateError
from sipguard.model import Ban
from sipguard.state.history import History, PastBan, reading

MOST_ON_A_PAGE = 10_000
"""Bans of one answer."""
COUNTED_UNASKED = 20_000
"""Live bans up to which the kernel's counters are read for a list: of more it has much to tell."""


class ListedBan(NamedTuple):
    """One ban of a list."""

    ban: Ban
    ended: float | None
    """When it ended, POSIX seconds; None while it is live."""
    users: Mapping[str, int]
    """User → attempts that led to the ban, most first."""
    packets: int | None
    """Packets of the address that the kernel has rejected; None where nothing counts them."""


class BanPage(NamedTuple):
    """Part of a list."""

    bans: list[ListedBan]
    total: int
    """Bans that the question is about, whether on this page or not."""
    begin: int
    """Number of the first one of the page, from 0."""


class _AnyBan(NamedTuple):
    ban: Ban
    ended: float | None


_Network = ipaddress.IPv4Network | ipaddress.IPv6Network


def _address_key(address: str) -> tuple[int, int, int]:
    network = ipaddress.ip_network(address)
    return network.version, int(network.network_address), network.prefixlen


_ORDERS: Mapping[str, Callable[[_AnyBan, Mapping[str, int]], tuple[object, ...]]] = {
    "since": lambda one, _: (-one.ban.since,),
    "until": lambda one, _: (one.ban.until if one.ended is None else one.ended,),
    "address": lambda one, _: _address_key(one.ban.address),
    "jail": lambda one, _: (one.ban.jail, -one.ban.since),
    "attempts": lambda one, _: (-one.ban.attempts, -one.ban.since),
    "count": lambda one, _: (-one.ban.count, -one.ban.since),
    "packets": lambda one, packets: (-packets.get(one.ban.address, 0), -one.ban.since),
    "evidence": lambda one, _: (one.ban.evidence or "~", -one.ban.since),
}
ORDERS = tuple(_ORDERS)
"""What a list can be sorted by: the newest, the most first."""


@dataclass(frozen=True, slots=True)
class BanQuery:
    """Which bans, in which order, which part of them. Raises `SipguardError` for what is not known."""

    jail: str | None = None
    address: str | None = None
    """An address, or a network for all within."""
    user: str | None = None
    """Bans with attempts that named this user."""
    evidence: str | None = None
    sort: str = "since"
    reverse: bool = False
    begin: int = 0
    limit: int = 100
    packets: bool | None = None
    """Whether the kernel's counters are read; None: where that is quickly done."""

    def __post_init__(self) -> None:
        """Raises `SipguardError`."""
        if self.sort not in _ORDERS:
            raise SipguardError(f"--sort {self.sort}: not known; write one of {', '.join(ORDERS)}")
        if not 0 < self.limit <= MOST_ON_A_PAGE or self.begin < 0:
            raise SipguardError(
                f"--limit {self.limit}, --from {self.begin}: write 1 to {MOST_ON_A_PAGE}, and 0 or more"
            )
        if self.address is not None:
            try:
                canonical(self.address)
            except ValueError:
                raise SipguardError(
                    f"{self.address!r} is not an address; write e.g. 203.0.113.5 or 203.0.113.0/24"
                ) from None

    def network(self) -> _Network | None:
        """The address or network that is asked about."""
        return None if self.address is None else ipaddress.ip_network(canonical(self.address))

    def wants(self, ban: Ban, of_user: set[tuple[str, str]] | None, within: _Network | None) -> bool:
        """Whether a ban is one of those that are asked for; `within` is `network`, made once for all bans."""
        return (
            (self.jail is None or ban.jail == self.jail)
            and (self.evidence is None or ban.evidence == self.evidence)
            and (of_user is None or (ban.jail, ban.address) in of_user)
            and (within is None or _touches(within, ban.address))
        )


def _touches(asked: _Network, banned: str) -> bool:
    if (asked.version == 6) != (":" in banned):
        return False
    network = ipaddress.ip_network(banned)
    return asked.overlaps(network)


class BanList:
    """The lists of one daemon: one at a time is made, so that a flood of questions costs no more than one thread."""

    def __init__(self, daemon: Daemon) -> None:
        self._daemon = daemon
        self._one_at_a_time = asyncio.Lock()

    async def live(self, query: BanQuery) -> BanPage:
        """The bans of now. Raises `SipguardError`."""
        async with self._one_at_a_time:
            bans = list(self._daemon.bans.live)
            packets = await self._packets(query, len(bans))
            return await self._page(query, packets, lambda _history: map(_live, bans))

    async def past(self, query: BanQuery, since: float) -> BanPage:
        """The bans that were live from `since` on (POSIX seconds), those of now among them. Raises `SipguardError`."""
        async with self._one_at_a_time:
            live = list(self._daemon.bans.live)
            packets = await self._packets(query, len(live))

            def all_of(history: History | None) -> Iterable[_AnyBan]:
                yield from map(_live, live)
                yield from map(_over, history.ended(since) if history else ())

            return await self._page(query, packets, all_of)

    async def _page(
        self, query: BanQuery, packets: Mapping[str, int] | None, bans: Callable[[History | None], Iterable[_AnyBan]]
    ) -> BanPage:
        self._daemon.store.save()  # what has just been counted belongs to it
        database = self._daemon.store.database

        def make() -> BanPage:
            if database is None:
                return _select(query, packets, bans(None), None)
            with reading(database.path) as history:
                return _select(query, packets, bans(history), history)

        try:
            return await asyncio.to_thread(make)
        except StateError:
            return _select(query, packets, bans(None), None)  # the live ones are known without the disk

    async def _packets(self, query: BanQuery, live: int) -> Mapping[str, int] | None:
        """Address or network → packets rejected; None where nobody counts, or to ask would take long."""
        asked = query.packets if query.packets is not None else live <= COUNTED_UNASKED or query.sort == "packets"
        worker = self._daemon.bans.firewall_worker
        count = getattr(worker.firewall, "rejected_by_target", None)
        if not (asked and count and live):
            return None
        try:
            counted: Mapping[str, int] = await worker.call(count)
        except FirewallError:
            return None
        return counted


def _live(ban: Ban) -> _AnyBan:
    return _AnyBan(ban, None)


def _over(past: PastBan) -> _AnyBan:
    return _AnyBan(past.ban, past.ended)


def _select(
    query: BanQuery, packets: Mapping[str, int] | None, bans: Iterable[_AnyBan], history: History | None
) -> BanPage:
    """Those that are asked for, of which no more are kept than the page needs."""
    within = query.network()
    of_user = None if query.user is None else history.bans_of_user(query.user) if history else set()
    total = 0

    def wanted() -> Iterable[_AnyBan]:
        nonlocal total
        for one in bans:
            if query.wants(one.ban, of_user, within):
                total += 1
                yield one

    order, counted = _ORDERS[query.sort], packets or {}
    take = heapq.nlargest if query.reverse else heapq.nsmallest
    end = query.begin + query.limit
    page = take(end, wanted(), key=lambda one: (*order(one, counted), one.ban.address, one.ban.jail))[query.begin : end]
    users = history.users([one.ban for one in page]) if history else {}
    listed = [
        ListedBan(
            ban=one.ban,
            ended=one.ended,
            users=users.get(one.ban, {}),
            packets=None if packets is None or one.ended is not None else packets.get(one.ban.address),
        )
        for one in page
    ]
    return BanPage(listed, total, query.begin)
