"""CrowdSec beside sipguard: its decisions are rejected here, and this machine's bans become its decisions.

As a bouncer, it polls the stream of decisions: all of them at first and whenever something has failed, then what has changed.
As a machine, it compares its decisions with the live bans after every failure, and tells what moves from then on.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Collection, Iterable
from typing import Any, Protocol

from sipguard.fleet.lapi import Decision, Lapi, LapiError, OwnAlert
from sipguard.fleet.messages import LONGEST
from sipguard.model import Ban, Clock, Crowdsec
from sipguard.networks import BITS, parse, write
from sipguard.text import shown_url

log = logging.getLogger("sipguard.crowdsec")

MOST = 1_000_000
"""Decisions that are taken at most."""
ANEW = 3600.0
"""Seconds after which all decisions are read again."""
PAUSE, LONGEST_PAUSE = 1.0, 10.0
"""Seconds until the next try after a failure."""
NEAR = 5.0
"""A ban is sent again if its end differs by more than this, in seconds."""
BATCH = 100
"""Alerts in one request."""
FEW = 20
"""Most bans sent at once with their attempts, since looking these up takes time."""


class CrowdsecLocal(Protocol):
    """What this side needs of the daemon."""

    def bans(self, network: str) -> Collection[Ban]:
        """The live bans of exactly this network."""

    def networks(self) -> Iterable[str]:
        """Every network that is banned."""

    def is_complete(self) -> bool:
        """Whether the bans of earlier runs are known."""

    def attempts(self, ban: Ban) -> Iterable[tuple[float, str]]:
        """Time and user of the attempts that led to a ban."""

    def changed(self, changes: Iterable[tuple[str, float, float]]) -> None:
        """Called when decisions begin or end: (network, end before, end after)."""

    def caught_up(self) -> None:
        """Called when all decisions have been read."""


class Decisions:
    """CrowdSec's decisions: which networks are banned until when. Several may be about one network."""

    def __init__(self) -> None:
        self.ends: dict[str, float] = {}
        """Network → until when, by this machine's clock."""
        self._of: dict[str, dict[int, tuple[float, str]]] = {}
        self.refused = 0
        """Number of decisions refused: private or reserved addresses, too wide networks, too many."""

    def __len__(self) -> int:
        return sum(map(len, self._of.values()))

    def take(
        self, new: Iterable[Decision], deleted: Iterable[Decision], now: float, *, everything: bool
    ) -> list[tuple[str, float, float]]:
        """Apply an answer and return the changes: network, end before, end after."""
        touched = set(self._of) if everything else set()
        if everything:
            self._of = {}
        for one in deleted:
            self._of.get(one.network, {}).pop(one.id, None)
            touched.add(one.network)
        for one in new:
            if one.seconds <= 0:
                continue
            if one.network not in self._of and len(self._of) >= MOST:
                self.refused += 1
                continue
            until = now + min(one.seconds, LONGEST)
            self._of.setdefault(one.network, {})[one.id] = until, f"{one.scenario} ({one.origin})"
            touched.add(one.network)
        return [change for network in touched if (change := self._settle(network, now))]

    def _settle(self, network: str, now: float) -> tuple[str, float, float] | None:
        live = {number: told for number, told in self._of.get(network, {}).items() if told[0] > now}
        before = self.ends.get(network, 0.0)
        before = before if before > now else 0.0
        after = max((until for until, _ in live.values()), default=0.0)
        if live:
            self._of[network], self.ends[network] = live, after
        else:
            self._of.pop(network, None)
            self.ends.pop(network, None)
        moved = abs(after - before) > NEAR or bool(after) is not bool(before)
        return (network, before, after) if moved else None

    def prune(self, now: float) -> None:
        """Forget what has ended."""
        for network in [network for network, until in self.ends.items() if until <= now]:
            self._settle(network, now)

    def around(self, address: str) -> list[str]:
        """This address or network, and the networks of decisions that contain it."""
        version, first, length = parse(address)
        found = []
        for shorter in range(length, 7, -1):
            bits = BITS[version] - shorter
            network = write(version, first >> bits << bits, shorter)
            if network in self.ends:
                found.append(network)
        return found

    def why(self, network: str) -> str:
        """The scenarios and origins of the decisions about a network."""
        return ", ".join(sorted({why for _, why in self._of.get(network, {}).values()}))


class CrowdsecNode:
    """Exchanges decisions with a local API. Await `run` until cancelled."""

    def __init__(self, settings: Crowdsec, local: CrowdsecLocal, *, clock: Clock) -> None:
        self.settings = settings
        self.decisions = Decisions()
        self.problem = "not connected yet"
        self.told: dict[str, float] = {}
        """Network → end of this machine's own decisions, as last seen."""
        self._lapi = Lapi(settings)
        self._local = local
        self._clock = clock
        self._moved: dict[str, None] = {}
        self._wake = asyncio.Event()
        self._anew = True
        """Whether to read all decisions next time instead of only the changes."""

    @property
    def place(self) -> str:
        """The URL, as far as it may be shown."""
        return shown_url(self.settings.url)

    def moved(self, networks: Iterable[str]) -> None:
        """Note that bans of these networks began, ended, or got another end. Returns at once."""
        if self.settings.login and not self.problem:
            self._moved.update(dict.fromkeys(networks))
            self._wake.set()

    async def run(self) -> None:
        """Poll and send, and start over after every failure."""
        pause = PAUSE
        try:
            while True:
                try:
                    async with asyncio.TaskGroup() as group:
                        for job in (self._poll, self._tell):
                            group.create_task(job())
                except* Exception as errors:
                    pause = PAUSE if not self.problem else min(2 * pause, LONGEST_PAUSE)
                    self._failed(errors.exceptions[0])
                await asyncio.sleep(pause)
        finally:
            await self._lapi.close()

    def _failed(self, error: BaseException) -> None:
        problem = str(error) if isinstance(error, LapiError) else f"unexpected {type(error).__name__}"
        if problem != self.problem:
            log.warning(
                "CrowdSec: %s: %s; its decisions stay, bans go on and are told of when it is back", self.place, problem
            )
        self.problem = problem
        self._moved.clear()

    def _works(self) -> None:
        if self.problem:
            log.info("CrowdSec: connected to %s", self.place)
        self.problem = ""

    async def _poll(self) -> None:
        if not self.settings.key:
            return
        last, self._anew = -ANEW, True
        while True:
            now = self._clock()
            everything = self._anew or now > last + ANEW or now < last
            self._anew = False
            new, deleted, refused = await self._lapi.decisions(everything=everything)
            self._works()
            others = (one for one in new if not self._lapi.is_own(one))
            changes = self.decisions.take(others, deleted, self._clock(), everything=everything)
            self.decisions.refused += refused
            if changes:
                self._local.changed(changes)
            if everything:
                last = now
                self._local.caught_up()
            self.decisions.prune(now)
            await asyncio.sleep(self.settings.interval)

    async def _tell(self) -> None:
        if not self.settings.login:
            return
        while not self._local.is_complete():
            await asyncio.sleep(0.2)
        own, now = await self._lapi.own(), self._clock()
        self.told = {network: now + seconds for network, seconds in own.items()}
        self._works()
        await self._look_at({*self._local.networks(), *self.told})
        while True:
            await self._wake.wait()
            self._wake.clear()
            moved, self._moved = self._moved, {}
            await self._look_at(moved)

    async def _look_at(self, networks: Collection[str]) -> None:
        alerts: list[tuple[OwnAlert, float]] = []
        for network in networks:
            bans = self._local.bans(network)
            shared = [ban for ban in bans if (ban.evidence or "reported") in self.settings.share]
            last, now = max(shared, key=lambda ban: ban.until, default=None), self._clock()
            until = min(last.until, now + LONGEST) if last else 0.0
            told = self.told.get(network, 0.0)
            if not bans and told > now:
                await self._lapi.take_back(network)
                self._anew = (
                    True  # of several about one network the API tells of the longest alone: ours may have hidden it
                )
                del self.told[network]
            elif last and until > max(now, told + NEAR) and not (told > now + LONGEST / 2 and last.until > until):
                events = tuple(self._local.attempts(last)) if len(networks) <= FEW else ()
                told_of = OwnAlert(network, until - now, last.jail, f"{network}: {last.reason}", last.attempts, events)
                alerts.append((told_of, until))
            if len(alerts) >= BATCH:
                await self._send(alerts)
                alerts = []
        await self._send(alerts)

    async def _send(self, alerts: list[tuple[OwnAlert, float]]) -> None:
        if alerts:
            await self._lapi.tell(alert for alert, _ in alerts)
            self.told |= {alert.network: until for alert, until in alerts}

    def status(self) -> dict[str, Any]:
        """For `sipguard fleet`."""
        return {
            "url": self.place,
            "problem": self.problem,
            "decisions": len(self.decisions.ends),
            "refused": self.decisions.refused,
            "told": len(self.told),
        }
