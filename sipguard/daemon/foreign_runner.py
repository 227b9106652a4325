"""What a fleet and CrowdSec have in common: others' bans in a set of the firewall, and friends who are never rejected by them."""

from __future__ import annotations

import asyncio
import logging
from abc import ABC, abstractmethod
from collections import Counter
from collections.abc import Collection, Iterable, Iterator
from typing import TYPE_CHECKING

from sipguard.daemon.foreign_set import ForeignSet
from sipguard.daemon.friends import KEEP, Friends
from sipguard.daemon.surroundings import Surroundings
from sipguard.model import Ban, Verdict

if TYPE_CHECKING:
    from collections.abc import Coroutine

NOTED_EVERY = 600.0
"""Seconds between two notes of an address's login in the state."""
TOLD_SINGLY = 20
"""So many changes at once are logged one by one; more are summed up."""


class ForeignRunner(ABC):
    """One source of others' bans. Every method may be called whether it is configured or not."""

    name: str
    """Of the firewall's sets, and in the log."""

    def __init__(self, around: Surroundings) -> None:
        self._bans = around.bans
        self._runners = around.runners
        self._store = around.store
        self._clock = around.clock
        self._complete = around.complete
        self._never = around.never
        self._set: ForeignSet | None = None
        self._friends = Friends()
        self._refused: Counter[str] = Counter()
        self._tasks: list[asyncio.Task[None]] = []
        self._log = logging.getLogger(f"sipguard.{self.name}")

    @property
    @abstractmethod
    def offset(self) -> float:
        """The clock of the times in `ends`, less this machine's, in seconds."""

    @abstractmethod
    def ends(self) -> dict[str, float]:
        """Network → until when the others ban it."""

    @abstractmethod
    def around(self, address: str) -> list[str]:
        """The networks in `ends` that may hold an address."""

    def _begin(self, verdict: Verdict, job: Coroutine[object, object, None]) -> None:
        self._friends = Friends(self._store.logins(self._clock() - KEEP))
        self._friends.set_never(self._protected())
        self._set = ForeignSet(self.name, self._bans.firewall_worker, self._entries, verdict=verdict)
        self._tasks = [asyncio.create_task(one, name=self.name) for one in (job, self._set.run())]

    async def _finish(self) -> None:
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)
        self._tasks, self._set = [], None

    async def check(self) -> None:
        """Heed new addresses of friends, put back what was removed. For every look around."""
        if self._set:
            if self._friends.set_never(self._protected()):
                self._set.make_anew()
            await self._set.check()

    async def reapply(self) -> None:
        """The firewall was flushed: give it the others' bans again."""
        if self._set:
            self._set.make_anew()
            await self._set.settled()

    @abstractmethod
    def connection_problem(self) -> str:
        """Why the others can be neither heard nor told; empty if they can."""

    def problem(self) -> str:
        """Why not all is heard, told and rejected; empty if it is."""
        if self._set is None:
            return ""
        return self.connection_problem() or (self._set.problem or "")

    def shift(self, seconds: float) -> None:
        """The clock was set."""
        self._friends.shift(seconds)

    def registered(self, address: str) -> None:
        """Somebody has logged in from this address: no ban of others rejects it."""
        if not self._set:
            return
        now = self._clock()
        before = self._friends.login(address, now)
        if now - before > NOTED_EVERY:
            self._store.changes.logins[address] = now
            self._store.touched()
        if now - before > KEEP:
            for network in self.around(address):
                if self.ends().get(network):
                    self._set.change(network, 0.0, known=True)

    # What the others' side asks of the daemon.

    def bans(self, network: str) -> Collection[Ban]:
        """The live bans of exactly this network."""
        return self._bans.live.of_network(network)

    def networks(self) -> Iterable[str]:
        """Every network that is banned."""
        return {ban.address for ban in self._bans.live}

    def is_complete(self) -> bool:
        """Whether the bans of earlier runs are known."""
        return self._complete()

    def caught_up(self) -> None:
        """All others are read: what an earlier run has left in the firewall is over."""
        if self._set:
            self._set.make_anew()

    def changed(self, changes: Iterable[tuple[str, float, float]]) -> None:
        """Others' bans have begun or ended: (network, end before, end after); 0 is none."""
        if self._set is None:
            return
        now, told = self._clock(), []
        for network, before, after in changes:
            if not after:
                self._set.change(network, 0.0, known=True)
                told.append(f"Unban {network}")
            elif why := self._friends.reason(network, now):
                self._refused[why] += 1
                told.append(f"Ignore {network}: {why}")
            else:
                self._set.change(network, after - self.offset, known=before > 0)
                if not before:
                    told.append(f"Ban {network}")
        if len(told) > TOLD_SINGLY:
            counts = Counter(line.partition(" ")[0] for line in told)
            told = [", ".join(f"{what} {count} of others" for what, count in counts.items())]
        for line in told:
            self._log.info("[%s] %s", self.name, line)

    def _entries(self) -> Iterator[tuple[str, float]]:
        """All that is to be rejected, by this machine's clock."""
        offset, now = self.offset, self._clock()
        for network, until in self.ends().items():
            if until - offset > now and not self._friends.reason(network, now):
                yield network, until - offset

    def _protected(self) -> Iterable[str]:
        return {*self._never()}
