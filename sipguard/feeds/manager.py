"""Runs all feeds: starts and stops them, restores them in the firewall, and reports their status."""

from __future__ import annotations

import asyncio
import contextlib
import logging
from collections.abc import Callable, Iterable, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

from sipguard.errors import FeedError, FirewallError, StateError
from sipguard.feeds.fetching import ApibanJob, ListJob
from sipguard.feeds.job import FeedContext, Job, Sink
from sipguard.feeds.pace import Pace, Sleep
from sipguard.feeds.sieve import sift
from sipguard.feeds.store import FeedStore
from sipguard.model import Clock, Feed
from sipguard.text import shown_url

log = logging.getLogger("sipguard.feeds")

_LET_THROUGH = "it is in ignoreip, or this machine's own"
_NOT_APPLIED = "the entry is held, or has just arrived"


class Manager:
    """The feeds of one configuration. To change it, close this one and make another; the local copy stays.

    `protected` returns the networks that must never be rejected at this moment.
    """

    def __init__(
        self,
        feeds: Sequence[Feed],
        directory: Path,
        sink: Sink,
        protected: Callable[[], Iterable[str]],
        *,
        clock: Clock,
        pace: Pace | None = None,
        sleep: Sleep = asyncio.sleep,
    ) -> None:
        self._thread = ThreadPoolExecutor(max_workers=1, thread_name_prefix="feeds")
        self._store = FeedStore(directory)
        self._shared = FeedContext(self._store, sink, protected, self._run, clock, pace or Pace(), sleep)
        ordered = sorted(feeds, key=lambda feed: (feed.priority, feed.name))
        self.jobs: dict[str, Job] = {
            feed.name: (ApibanJob if feed.key else ListJob)(feed, self._shared) for feed in ordered
        }
        self._tasks: list[asyncio.Task[None]] = []
        self._seen: dict[str, float] = {}
        self._protected = frozenset(protected())

    async def start(self) -> None:
        """Load the local copies into the firewall and start fetching."""
        await self.prepare()
        self._tasks = [asyncio.create_task(job.run(), name=f"feed {name}") for name, job in self.jobs.items()]

    async def prepare(self) -> None:
        """Load the local copies into the firewall, and remove feeds that are no longer configured."""
        try:
            await self._run(lambda: self._store.forget_others(self.jobs))
            for job in self.jobs.values():
                await job.load()
        except StateError as error:
            log.error("Feeds: %s; fetching them again", error)
        await drop_others(self._shared.sink, self.jobs)
        await self.reapply()

    async def reapply(self, names: Iterable[str] | None = None) -> None:
        """Load these feeds, or all, into the firewall from the local copy, without a request."""
        for name in [*(self.jobs if names is None else names)]:
            try:
                await self.jobs[name].reapply()
            except StateError as error:
                log.error("Feed %s: %s", name, error)

    async def check(self) -> None:
        """Restore feeds missing from the firewall, and let newly protected addresses through. Call it often."""
        await self._save_registrations()
        protected = frozenset(self._shared.protected())
        if protected != self._protected:
            self._protected = protected
            await self.reapply()
            return
        try:
            there = await self._shared.sink.feeds()
        except FirewallError:
            return  # reported elsewhere; without an answer nothing can be restored either
        wanted = {name: job.numbers for name, job in self.jobs.items() if job.numbers.wanted}
        missing = [name for name, numbers in wanted.items() if name not in there or not numbers.applied]
        lost = [name for name in missing if self.jobs[name].numbers.applied]
        if lost:
            log.warning(
                "Feeds missing from the firewall (did another program flush it?), restored: %s", ", ".join(lost)
            )
        await self.reapply(missing)

    async def refresh(self, name: str, *, accept: bool = False) -> dict[str, Any]:
        """Fetch one feed now and return its new status. Raises `FeedError` if there is no feed of that name."""
        job = self._job(name)
        if self._tasks:
            await job.refresh(accept=accept)
        else:
            await job.fetch(accept=accept)
        return self._status_of(job)

    def status(self) -> list[dict[str, Any]]:
        """Status of every feed as `sipguard feeds` shows it, in order of priority."""
        return [self._status_of(job) for job in self.jobs.values()]

    async def holding(self, address: str) -> list[dict[str, Any]]:
        """The feeds that list an address or network, and whether the firewall rejects it because of them."""
        try:
            found = await self._run(lambda: self._store.holding(address, self._shared.clock()))
        except StateError:
            return []
        open_to_it = not sift([(address, 1.0)], self._shared.protected()).networks
        order = list(self.jobs)
        return [
            {
                "feed": one.feed,
                "network": one.network,
                "until": one.until,
                "rejected": one.accepted and not open_to_it,
                "because": _LET_THROUGH if open_to_it else "" if one.accepted else _NOT_APPLIED,
            }
            for one in sorted(found, key=lambda one: order.index(one.feed) if one.feed in order else len(order))
        ]

    def registered(self, addresses: Iterable[str]) -> None:
        """Record successful registrations from these addresses: a feed that lists one will be held."""
        self._seen.update(dict.fromkeys(addresses, self._shared.clock()))

    async def close(self) -> None:
        """Stop fetching. The firewall and the local copy stay as they are."""
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)
        await self._save_registrations()
        with contextlib.suppress(StateError):
            await self._run(self._store.close)
        self._thread.shutdown()

    async def _save_registrations(self) -> None:
        seen, self._seen = self._seen, {}
        if seen:
            try:
                await self._run(lambda: self._store.save_registrations(seen))
            except StateError as error:
                self._seen = seen | self._seen
                log.error("Feeds: %s", error)

    def _status_of(self, job: Job) -> dict[str, Any]:
        feed, state, numbers = job.feed, job.state, job.numbers
        return {
            "name": feed.name,
            "source": feed.file or shown_url(feed.url),
            "priority": feed.priority,
            "interval": feed.interval,
            "entries": numbers.entries,
            "networks": numbers.networks,
            "applied": numbers.applied,
            "refused": state.refused,
            "fetched": state.fetched or None,
            "next": state.next_at or None,
            "id": state.next_id if feed.key else None,
            "held": state.held or None,
            "problem": state.problem or None,
            "failures": state.failures,
        }

    def _job(self, name: str) -> Job:
        try:
            return self.jobs[name]
        except KeyError:
            raise FeedError(f"no feed named {name}; configured feeds: {', '.join(self.jobs) or 'none'}") from None

    async def _run(self, function: Callable[[], Any]) -> Any:
        return await asyncio.get_running_loop().run_in_executor(self._thread, function)


async def drop_others(sink: Sink, names: Iterable[str]) -> None:
    """Remove every other feed from the firewall: those of an earlier configuration."""
    known = set(names)
    try:
        for name in await sink.feeds():
            if name not in known:
                await sink.drop_feed(name)
                log.info("Feed %s is no longer configured; removed from the firewall", name)
    except FirewallError as error:
        log.error("Feeds: %s", error)
