"""One feed at work: when it is fetched, whether what came is fit, and what the firewall gets.

Nothing leaves the firewall before its successor is there: what arrives is judged, given to the firewall as a whole, and then
counts as accepted. What is unfit is held, and reported once; the last good list stays.
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
"""Seconds for which a successful registration speaks for its address."""
_SMALL = 100
"""Entries that growth is measured from at least: a list of two that becomes one of twenty is no attack."""
_SMALL_ADDRESSES = 65_536
"""The same, in IPv4 addresses covered."""


class Sink(Protocol):
    """The firewall, as feeds see it. Each raises `FirewallError`; firewall/base.py says what they promise."""

    async def set_feed(self, name: str, networks: list[tuple[str, float]], verdict: Verdict) -> None:
        """Reject exactly these for a feed."""

    async def drop_feed(self, name: str) -> None:
        """Reject nothing more for a feed."""

    async def feeds(self) -> list[str]:
        """The feeds that the kernel has whole."""


@dataclass(frozen=True, slots=True)
class Surroundings:
    """What all feeds share."""

    store: FeedStore
    sink: Sink
    protected: Callable[[], Iterable[str]]
    """Networks that must never be rejected, as they are now."""
    run: Callable[[Callable[[], Any]], Awaitable[Any]]
    """Runs a function in the thread that owns the store."""
    clock: Clock
    pace: Pace
    sleep: Sleep


@dataclass(slots=True)
class Numbers:
    """What is known of a feed for as long as the daemon runs."""

    entries: int = 0
    networks: int = 0
    """What became of the entries when joined and cut: elements in the firewall."""
    wanted: bool = False
    """Whether there was anything to apply yet."""
    applied: bool = False
    """Whether the firewall has what it should have."""
    refused: dict[str, int] = field(default_factory=dict)
    """Reason → entries that may not enter, of the last fetch."""


class Judged(NamedTuple):
    """Networks fit for the firewall, and what was protected when they were."""

    sifted: Sifted
    protected: frozenset[str]


class Job(ABC):
    """One feed. How it is fetched is its subclass's affair (`fetching`)."""

    def __init__(self, feed: Feed, shared: Surroundings) -> None:
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
        """Get what there is and apply it. Raises `FeedError`, `StateError`."""

    async def load(self) -> None:
        """Go on where the last run ended; raises `StateError`."""
        source = self.feed.url or self.feed.file
        self.state = await self.do(self.shared.store.state, self.feed.name)
        if self.state.source != source:
            self.state = FeedState(self.feed.name, source)
        self.state.next_id = self.state.next_id or self.feed.start
        self._loaded = True

    async def run(self) -> None:
        """Fetch when it is time, until cancelled."""
        while True:
            # Not longer than the longest that is ever set: the clock may have been set back.
            longest = max(self.feed.interval, self.shared.pace.longest_pause)
            wait = min(self.state.next_at - self.shared.clock(), longest)
            if wait > 0 and not self._asked:
                # Not wait_for: until Python 3.12 it swallows a cancellation that comes together with the event.
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
        """Fetch now, and wait for the end of it. `accept` applies what would be held."""
        future: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self._asked.append(future)
        self._accept = self._accept or accept
        self._wake.set()
        await future

    async def fetch(self, *, accept: bool = False) -> None:
        """Fetch, judge and apply once. What goes wrong is noted in the state."""
        try:
            if not self._loaded:  # the state directory could not be read when the daemon began
                await self.load()
            await self._fetch(accept=accept)
        except FeedError as error:
            self._failed(str(error))
        except StateError as error:
            self._failed(f"the local copy cannot be written: {error}")
        except (
            Exception
        ) as error:  # what an answer breaks in a library must not end the feed, and its text may hold the key
            self._failed(f"unexpected {type(error).__name__}")
        else:
            self._worked()
        try:
            await self.do(self.shared.store.save_state, self.state)
        except StateError as error:
            log.error("Feed %s: %s", self.feed.name, error)

    async def reapply(self) -> None:
        """Give the firewall the local copy again: no request is made. Raises `StateError`."""
        turn = self.next_turn()
        now = self.shared.clock()
        entries = await self.do(self.shared.store.entries, self.feed.name, now, accepted=True)
        if entries or self.state.fetched:
            await self.apply(turn, entries, await self.sift(entries))
        # Else nothing is known yet, or our copy was lost: what the kernel has from an earlier run is better.

    async def unfit(self, entries: Mapping[str, float], sifted: Sifted, *, accept: bool) -> bool:
        """Whether these must not be applied; that is noted and reported. `accept` makes them fit: the operator says so."""
        why = self._growth(len(entries), sifted)
        registered = await self._registered(entries)
        if accept:
            await self.do(self.shared.store.forget_registrations, registered)
            why, registered = "", []
        if registered:
            why = f"it holds {registered[0]}, from where somebody has registered successfully in the last days"
        if why and not self.state.held:
            hint = f"sipguard feeds refresh --accept {self.feed.name}"
            log.warning("Feed %s is held: %s; what it had stays. To apply it: %s", self.feed.name, why, hint)
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
                return f"from {before:,} to {now:,} {what} at once is more than max_growth = {self.feed.max_growth:g} allows"
        return ""

    async def _registered(self, entries: Mapping[str, float]) -> list[str]:
        """The addresses of recent successful registrations that these entries would reject."""
        since = self.shared.clock() - KEEP_REGISTERED
        known = await self.do(self.shared.store.registered, since)
        listed = [address for address in known if any(network in entries for network in around(address))]
        return [address for address in listed if (await self.sift([(address, 0.0)])).sifted.networks]

    async def sift(self, entries: Iterable[tuple[str, float]]) -> Judged:
        """What of these goes into the firewall."""
        protected = frozenset(self.shared.protected())
        return Judged(await self.do(sift, entries, protected), protected)

    def next_turn(self) -> int:
        """To be taken before the entries to apply are read, or when they are stored."""
        self._turn += 1
        return self._turn

    async def apply(self, turn: int, entries: Collection[tuple[str, float]], judged: Judged) -> None:
        """Give the firewall what was judged; when it refuses, that is noted and tried again by the manager.

        A later turn has read newer entries, so an earlier one that comes last must not undo it.
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
                log.error("Feed %s: %s; tried again", self.feed.name, error)
            numbers.applied = False
        else:
            numbers.applied = True

    async def do(self, function: Callable[P, T], *args: P.args, **kwargs: P.kwargs) -> T:
        """Run a function in the store's thread."""
        result: T = await self.shared.run(lambda: function(*args, **kwargs))
        return result

    def _worked(self) -> None:
        if self.state.problem:
            log.info("Feed %s: works again", self.feed.name)
        self.state.problem, self.state.failures = "", 0
        self.state.next_at = self.shared.clock() + self.feed.interval

    def _failed(self, problem: str) -> None:
        if problem != self.state.problem:
            log.warning("Feed %s: %s; the last good list stays", self.feed.name, problem)
        self.state.problem = problem
        self.state.failures += 1
        self.state.next_at = self.shared.clock() + self.shared.pace.pause(self.state.failures)
