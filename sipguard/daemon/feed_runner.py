"""Joins the feeds with the firewall's thread and with what must never be rejected. A daemon without feeds loads none of it."""

from __future__ import annotations

import asyncio
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from sipguard.addresses import canonical
from sipguard.config.settings import Settings
from sipguard.daemon.firewall_worker import FirewallWorker
from sipguard.daemon.jail_runner import JailRunner
from sipguard.daemon.surroundings import MARK
from sipguard.errors import FeedError, FirewallError
from sipguard.model import Clock, Verdict
from sipguard.policy.ignore import own_addresses

if TYPE_CHECKING:
    from sipguard.feeds.manager import Manager


class _Sink:
    """The firewall, called in its own thread."""

    def __init__(self, firewall_worker: FirewallWorker) -> None:
        self._firewall_worker = firewall_worker

    async def set_feed(self, name: str, networks: list[tuple[str, float]], verdict: Verdict) -> None:
        await self._firewall_worker.call(self._firewall_worker.firewall.feeds.set, name, networks, verdict)

    async def drop_feed(self, name: str) -> None:
        await self._firewall_worker.call(self._firewall_worker.firewall.feeds.drop, name)

    async def feeds(self) -> list[str]:
        """The feeds that the kernel has whole."""
        there = await self._firewall_worker.call(self._firewall_worker.firewall.feeds.names)
        return [name for name in there if MARK not in name]  # the others are the fleet's


class FeedRunner:
    """The feeds of the daemon. Every method may be called whether there are feeds or not."""

    def __init__(self, firewall_worker: FirewallWorker, runners: Mapping[str, JailRunner], *, clock: Clock) -> None:
        self._sink = _Sink(firewall_worker)
        self._runners = runners
        self._clock = clock
        self._ignored: tuple[str, ...] = ()
        self._manager: Manager | None = None
        self._told: Manager | None = None
        """The manager whose status is shown; during a reload, the previous one."""
        self._changing = asyncio.Lock()
        self._known = asyncio.Event()
        """Whether a configuration has said which feeds there are."""

    async def start(self, settings: Settings) -> None:
        """Run by these settings; feeds of earlier ones end."""
        async with self._changing:
            await self.stop()
            self._ignored = settings.ignoreip
            if settings.feeds:
                from sipguard.feeds.manager import Manager  # noqa: PLC0415 - only where there are feeds

                directory = Path(settings.state_dir)
                self._manager = Manager(settings.feeds, directory, self._sink, self.protected, clock=self._clock)
                self._told = self._told or self._manager
                self._known.set()
                await self._manager.start()
            else:
                await self._drop_all()
            self._told = self._manager
            self._known.set()

    async def check(self) -> None:
        """Restore what others have removed, and let new addresses of this machine through. Called every few seconds."""
        if self._manager:
            await self._manager.check()

    async def reapply(self) -> None:
        """The firewall was flushed: give it every feed again, from the local copy."""
        if self._manager:
            await self._manager.reapply()

    async def stop(self) -> None:
        """Stop fetching; the firewall keeps its lists."""
        if self._manager:
            manager, self._manager = self._manager, None
            await manager.close()

    def status(self) -> list[dict[str, Any]]:
        """Every feed as it is known now: before the first configuration none, during a reload those before it."""
        return self._told.status() if self._told else []

    async def answer(self) -> list[dict[str, Any]]:
        """What `sipguard feeds` shows; who asks while the daemon is starting waits until it is known which feeds there are."""
        await self._known.wait()
        return self.status()

    async def refresh(self, name: str, *, accept: bool) -> dict[str, Any]:
        """Fetch a feed now. Raises `FeedError` when it is not configured."""
        manager = await self._settled()
        if not manager:
            raise FeedError("no feed is configured; write e.g. [feeds.apiban] to sipguard.toml")
        return await manager.refresh(name, accept=accept)

    async def holding(self, address: str) -> list[dict[str, Any]]:
        manager = await self._settled()
        return await manager.holding(address) if manager else []

    async def _settled(self) -> Manager | None:
        """The manager that runs; the next one, if a reload is putting it in place."""
        await self._known.wait()
        async with self._changing:
            return self._manager

    def registered(self, addresses: Iterable[str]) -> None:
        """Somebody has registered successfully from these addresses."""
        if self._manager:
            self._manager.registered(addresses)

    def protected(self) -> Iterable[str]:
        """What no list of others may reject: they reject every port, so any jail's `ignoreip` counts, and the machine itself."""
        lists = [runner.judge.ignore.networks() for runner in self._runners.values()]
        return {*own_addresses(), *_addresses(self._ignored)}.union(*lists)

    async def _drop_all(self) -> None:
        try:
            for name in await self._sink.feeds():
                await self._sink.drop_feed(name)
        except FirewallError:
            pass  # told by whoever opened the firewall; asked again at the next start


def _addresses(entries: Iterable[str]) -> Iterator[str]:
    """The entries of `ignoreip` that are no host names."""
    for entry in entries:
        try:
            yield canonical(entry)
        except ValueError:
            continue
