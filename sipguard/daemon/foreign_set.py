"""What others have banned, in the firewall: sets of their own that change entry by entry.

Two feeds of the firewall serve by turns: to make the list anew, the other one is filled piece by piece and the first removed, so
that nobody gets through meanwhile and no transaction is large.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
from collections.abc import Callable, Iterable

from sipguard.daemon.firewall_worker import FirewallWorker
from sipguard.daemon.surroundings import MARK
from sipguard.errors import FirewallError
from sipguard.model import Verdict

log = logging.getLogger("sipguard.fleet")

BATCH = 5000
"""Entries in one transaction."""
RETRY = 2.0
"""Seconds between tries when the firewall refuses."""


class ForeignSet:
    """One list. `entries` gives the whole of it at any moment: network and end, by this machine's clock."""

    def __init__(
        self, name: str, worker: FirewallWorker, entries: Callable[[], Iterable[tuple[str, float]]], *, verdict: Verdict
    ) -> None:
        self.problem: str | None = None
        """Why the firewall has not all of it; None if it has."""
        self._names = f"{name}{MARK}a", f"{name}{MARK}b"
        self._turn = 0
        self._worker = worker
        self._entries = entries
        self._verdict: Verdict = verdict
        self._moved: dict[str, tuple[float, bool]] = {}
        """Network → its end (0: none), and whether the firewall may have it with another."""
        self._wake = asyncio.Event()
        self._settled = asyncio.Event()
        self._anew = False

    @property
    def name(self) -> str:
        """The feed that has the list now."""
        return self._names[self._turn]

    def change(self, network: str, until: float, *, known: bool) -> None:
        """Reject a network until then, or no more (0). `known`: the firewall may have it already."""
        if not self._anew:
            earlier = self._moved.get(network)
            self._moved[network] = until, known or earlier is not None
            self._settled.clear()
            self._wake.set()

    def make_anew(self) -> None:
        """Give the firewall the whole list again, as soon as may be."""
        self._anew = True
        self._moved.clear()
        self._settled.clear()
        self._wake.set()

    async def settled(self) -> None:
        """Wait until the firewall has all of it, or has refused."""
        await self._settled.wait()

    async def run(self) -> None:
        """Carry out until cancelled."""
        await self._find()
        while True:
            await self._wake.wait()
            self._wake.clear()
            try:
                while self._anew or self._moved:
                    await (self._build() if self._anew else self._apply())
            except FirewallError as error:
                if str(error) != self.problem:
                    log.error("Firewall: %s: %s; trying again", self.name, error)
                self.problem = str(error)
                self._settled.set()  # who waits for it must not wait for ever
                self.make_anew()
                await asyncio.sleep(RETRY)
            else:
                self.problem = None
                self._settled.set()

    async def _find(self) -> None:
        """An earlier run has left its list: it stays until the new one is whole."""
        with contextlib.suppress(FirewallError):
            there = await self._worker.call(self._worker.firewall.feeds.names)
            self._turn = int(self._names[0] not in there)
            if self.name not in there:
                self.make_anew()

    async def check(self) -> None:
        """Make it anew if others have removed it."""
        if not self._anew and not self._moved and not self.problem:
            with contextlib.suppress(FirewallError):
                if self.name not in await self._worker.call(self._worker.firewall.feeds.names):
                    self.make_anew()

    async def _build(self) -> None:
        self._anew = False
        other = self._names[1 - self._turn]
        firewall, call = self._worker.firewall, self._worker.call
        entries = list(self._entries())
        await call(firewall.feeds.set, other, entries[:BATCH], self._verdict)
        for begin in range(BATCH, len(entries), BATCH):
            await call(firewall.feeds.change, other, entries[begin : begin + BATCH], (), self._verdict)
        await call(firewall.feeds.drop, self.name)
        self._turn = 1 - self._turn

    async def _apply(self) -> None:
        batch = {network: self._moved[network] for network in list(self._moved)[:BATCH]}
        for network in batch:
            del self._moved[network]
        new = [(network, until) for network, (until, _) in batch.items() if until]
        gone = [network for network, (until, known) in batch.items() if known or not until]
        await self._worker.call(self._worker.firewall.feeds.change, self.name, new, gone, self._verdict)
