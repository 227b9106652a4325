"""One running feed: schedules its fetches, checks what arrives and updates the firewall.

A new list is checked, loaded into the firewall as a whole and only then marked as accepted. A suspicious list is held and
reported once; the previous one stays active.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
from abc import ABC, abstractmethod
from collections.abc import Awaitable, Callable, Collection, Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any, NamedTuple, ParamSpec, Protocol, TypeVar

from sipguard.errors import FeedError, FirewallError, StateError
from sipguard.feeds.pace import Pace, Sleep
from sipguard.feeds.sieve import Sifted, around, sift
from sipguard.feeds.store import FeedState, FeedStore
from sipguard.feeds.web import Web
from sipguard.model import Clock, Feed, Verdict

log = logging.getLogger("sipguard.feeds")

P = ParamSpec("P")
T = TypeVar("T")

KEEP_REGISTERED = 3 * 86_400.0
"""For this long (seconds) after a successful registration, a feed that lists the address is held."""
_SMALL = 100
"""Smallest base for `max_growth`, in entries: growth from two entries to twenty is not suspicious."""
_SMALL_ADDRESSES = 65_536
"""The same, in IPv4 addresses covered."""


class Sink(Protocol):
    """The part of the firewall that feeds use; see firewall/base.py. Every method raises `FirewallError`."""

    async def set_feed(self, name: str, networks: list[tuple[str, float]], verdict: Verdict) -> None:
        """Make these the only networks rejected for a feed."""

    async def drop_feed(self, name: str) -> None:
        """Stop rejecting anything for a feed."""

    async def feeds(self) -> list[str]:
        """The feeds that are complete in the kernel."""


@dataclass(frozen=True, slots=True)
class FeedContext:
    """Dependencies shared by all feeds."""

    store: FeedStore
    sink: Sink
    protected: Callable[[], Iterable[str]]
    """Returns the networks that must never be rejected at this moment."""
    run: Callable[[Callable[[], Any]], Awaitable[Any]]
    """Runs a function in the store's thread."""
    clock: Clock
    pace: Pace
    sleep: Sleep


@dataclass(slots=True)
class Numbers:
    """Figures of a feed that are kept only while the daemon runs."""

    entries: int = 0
    networks: int = 0
    """Elements in the firewall, after entries were joined and protected networks cut out."""
    wanted: bool = False
    """Whether there has been anything to apply yet."""
    applied: bool = False
    """Whether the firewall has the current list."""
    refused: dict[str, int] = field(default_factory=dict)
    """Reason → number of entries refused for it, at the last fetch."""


class Judged(NamedTuple):
    """Networks ready for the firewall, and the networks that were protected when they were computed."""

    sifted: Sifted
    protected: frozenset[str]


class Job(ABC):
    """One feed. Subclasses (in `fetching`) fetch it."""

    def __init__(self, feed: Feed, shared: FeedContext) -> None:
        self.feed = feed
        self.state = FeedState(feed.name)
        self.numbers = Numbers()
        self.shared = shared
        self.web = Web(ca_file=feed.ca_file, secret=feed.key, silence=shared.pace.silence)
        self._wake = asyncio.Event()
        self._turn = 0
        self._loaded = False
        self._accept = False
        self._asked: list[asyncio.Future[None]] = []

    @abstractmethod
    async def _fetch(self, *, accept: bool) -> None:
        """Fetch the current list and apply it. Raises `FeedError`, `StateError`."""

    async def load(self) -> None:
        """Restore the state of the last run. Raises `StateError`."""
        source = self.feed.url or self.feed.file
        if self.feed.dataset:  # another one is another list, with IDs of its own
            source += f"#{self.feed.dataset}"
        self.state = await self.do(self.shared.store.state, self.feed.name)
        if self.state.source != source:
            self.state = FeedState(self.feed.name, source)
        self.state.next_id = self.state.next_id or self.feed.start
        self._loaded = True

    async def run(self) -> None:
        """Fetch on schedule until cancelled."""
        while True:
            # Never longer than the longest pause there is: the clock may have been set back.
            longest = max(self.feed.interval, self.shared.pace.longest_pause)
            wait = min(self.state.next_at - self.shared.clock(), longest)
            if wait > 0 and not self._asked:
                # Not wait_for: before Python 3.12 it loses a cancellation that arrives together with the event.
                with contextlib.suppress(TimeoutError):
                    async with asyncio.timeout(wait):
                        await self._wake.wait()
            self._wake.clear()
            asked, self._asked = self._asked, []
            accept, self._accept = self._accept, False
            await self.fetch(accept=accept)
            for future in asked:
                if not future.done():
                    future.set_result(None)

    async def refresh(self, *, accept: bool) -> None:
        """Fetch now and wait until done. `accept` applies the list even if it would be held."""
        future: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self._asked.append(future)
        self._accept = self._accept or accept
        self._wake.set()
        await future

    async def fetch(self, *, accept: bool = False) -> None:
        """Fetch, check and apply once. Errors are recorded in the state."""
        try:
            if not self._loaded:  # the state directory was unreadable when the daemon started
                await self.load()
            await self._fetch(accept=accept)
        except FeedError as error:
            self._failed(str(error))
        except StateError as error:
            self._failed(f"the local copy cannot be written: {error}")
        except Exception as error:
            # An answer that makes a library fail must not end the feed. Its error text may contain the key.
            self._failed(f"unexpected {type(error).__name__}")
        else:
            if self.state.problem:
                log.info("Feed %s: works again", self.feed.name)
            self.state.problem, self.state.failures = "", 0
            self.state.next_at = self.shared.clock() + self.feed.interval
        try:
            await self.do(self.shared.store.save_state, self.state)
        except StateError as error:
            log.error("Feed %s: %s", self.feed.name, error)

    async def reapply(self) -> None:
        """Load the local copy into the firewall again, without a request. Raises `StateError`."""
        turn = self.next_turn()
        now = self.shared.clock()
        entries = await self.do(self.shared.store.entries, self.feed.name, now, accepted=True)
        if entries or self.state.fetched:
            await self.apply(turn, entries, await self.sift(entries))
        # Without a local copy (new, or lost), what the kernel still has from an earlier run is better than nothing.

    async def unfit(self, entries: Mapping[str, float], sifted: Sifted, *, accept: bool) -> bool:
        """Whether this list must be held; records and reports why. `accept` is the operator's word to apply it anyway."""
        why = self._growth(len(entries), sifted)
        registered = await self._registered(entries)
        if accept:
            await self.do(self.shared.store.forget_registrations, registered)
            why, registered = "", []
        if registered:
            why = f"it lists {registered[0]}, which has registered successfully within the last three days"
        if why and not self.state.held:
            told = "Feed %s is held: %s; the previous list stays active. To apply the new one: sipguard feeds refresh --accept %s"
            log.warning(told, self.feed.name, why, self.feed.name)
        elif self.state.held and not why:
            log.info("Feed %s: no longer held", self.feed.name)
        self.state.held = why
        return bool(why)

    def _growth(self, entries: int, sifted: Sifted) -> str:
        if not self.state.entries:
            return ""
        for now, before, least, what in (
            (entries, self.state.entries, _SMALL, "entries"),
            (sifted.addresses, self.state.addresses, _SMALL_ADDRESSES, "IPv4 addresses"),
        ):
            if now > max(before, least) * self.feed.max_growth:
                return (
                    f"it grew from {before:,} to {now:,} {what}, more than max_growth = {self.feed.max_growth:g} allows"
                )
        return ""

    async def _registered(self, entries: Mapping[str, float]) -> list[str]:
        """Addresses with a recent successful registration that these entries would reject."""
        since = self.shared.clock() - KEEP_REGISTERED
        known = await self.do(self.shared.store.registered, since)
        listed = [address for address in known if any(network in entries for network in around(address))]
        return [address for address in listed if (await self.sift([(address, 0.0)])).sifted.networks]

    async def sift(self, entries: Iterable[tuple[str, float]]) -> Judged:
        """Compute the networks to load into the firewall for these entries."""
        protected = frozenset(self.shared.protected())
        return Judged(await self.do(sift, entries, protected), protected)

    def next_turn(self) -> int:
        """Number of the next update. Take it before reading the entries to apply, or when storing them."""
        self._turn += 1
        return self._turn

    async def apply(self, turn: int, entries: Collection[tuple[str, float]], judged: Judged) -> None:
        """Load the computed networks into the firewall. On failure the manager retries.

        A later turn has read newer entries, so an earlier turn that finishes last is dropped.
        """
        while judged.protected != frozenset(self.shared.protected()):
            judged = await self.sift(entries)
        if turn != self._turn:
            return
        numbers = self.numbers
        numbers.entries, numbers.networks, numbers.wanted = len(entries), len(judged.sifted.networks), True
        try:
            await self.shared.sink.set_feed(self.feed.name, judged.sifted.networks, self.feed.verdict)
        except FirewallError as error:
            if numbers.applied:
                log.error("Feed %s: %s; retrying", self.feed.name, error)
            numbers.applied = False
        else:
            numbers.applied = True

    async def do(self, function: Callable[P, T], *args: P.args, **kwargs: P.kwargs) -> T:
        """Run a function in the store's thread."""
        result: T = await self.shared.run(lambda: function(*args, **kwargs))
        return result

    def _failed(self, problem: str) -> None:
        if problem != self.state.problem:
            log.warning("Feed %s: %s; the last good list stays active", self.feed.name, problem)
        self.state.problem = problem
        self.state.failures += 1
        self.state.next_at = self.shared.clock() + self.shared.pace.pause(self.state.failures)
