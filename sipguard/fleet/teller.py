"""What this node tells the others: its bans, compared with what Redis has, and a beat every few seconds.

What is to be told is found by comparing, so nothing is kept for a time without Redis, or with one that takes no writes: once it
takes them, all is compared, and from then on what moves.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Awaitable, Callable, Iterable
from typing import TYPE_CHECKING

from sipguard import __version__
from sipguard.fleet.link import SETS, Link, LinkError, UnwritableError
from sipguard.fleet.messages import CLASSES, MOST_ADDRESSES, BadMessageError, Beat, Class, Event, read_beat
from sipguard.fleet.publisher import Publisher, own_ban
from sipguard.fleet.roster import Roster
from sipguard.model import Fleet

if TYPE_CHECKING:
    from sipguard.fleet.local import Local

log = logging.getLogger("sipguard.fleet")

BEAT = 5.0
"""Seconds between two beats."""
SILENT = 2.5 * BEAT
"""Seconds after which a beat is an earlier run's, which is over."""
BATCH = 1000
"""Networks that are looked at before the loop gets its turn."""
MOST_PARDONS = 1000
"""Fleet-wide unbans that wait for Redis."""


class NameTakenError(LinkError):
    """Another node writes under this one's name."""

    def __init__(self, name: str, beat: Beat) -> None:
        where = f" ({', '.join(beat.addresses)})" if beat.addresses else ""
        super().__init__(
            f"another node{where} is named {name} too; give each a name = … of its own in [fleet]: nothing is shared here"
        )


class Teller:
    """Tells as long as Redis takes it. Raises `LinkError` when it is out of reach."""

    def __init__(self, settings: Fleet, link: Link, roster: Roster, local: Local) -> None:
        self.publisher = Publisher(settings.share)
        self.untold = ""
        """Why Redis takes nothing now, though it answers; empty if it does."""
        self._name = settings.name
        self._link = link
        self._roster = roster
        self._local = local
        self._moved: dict[str, None] = {}
        self._pardons: list[str] = []
        self._wake = asyncio.Event()
        self._beaten = 0.0
        """When Redis took the last beat of this run; 0: never."""

    def moved(self, networks: Iterable[str]) -> None:
        """Bans of these networks have begun, ended, or got another end. Costs the caller nothing."""
        self._moved.update(dict.fromkeys(networks))
        self._wake.set()

    def forget_moved(self) -> None:
        """There is no Redis: all will be compared once it is back."""
        self._moved.clear()

    def pardon(self, network: str) -> bool:
        """Let a network through on all nodes that take that from this one; False if too many wait for Redis."""
        if len(self._pardons) >= MOST_PARDONS:
            return False
        self._pardons.append(network)
        self._wake.set()
        return True

    async def claim_name(self) -> None:
        """Be the only one of this name. Raises `NameTakenError`."""
        beat = await self._other_beat()
        if beat and abs(self._link.now() - beat.at) < SILENT:
            # An earlier run of this node, killed a moment ago, or another node: only that one goes on.
            await asyncio.sleep(1.2 * BEAT)
            later = await self._other_beat()
            if later and (later.at, later.run) != (beat.at, beat.run):
                raise NameTakenError(self._name, later)

    async def begin(self) -> None:
        """Tell all."""
        if await self._or_untold(self.compare):
            await self._or_untold(self._tell_beat)

    async def beat(self) -> None:
        """Tell that this node lives, and notice what Redis has lost, or begins to take again."""
        if self._beaten and (other := await self._other_beat()) and other.at > self._beaten:
            raise NameTakenError(self._name, other)
        if not await self._or_untold(self._tell_beat):
            return
        publisher = self.publisher
        number = publisher.number
        there = await self._link.sizes(self._name, SETS)
        known = len(publisher.bans) + len(publisher.unbans) + len(publisher.pardons)
        lost = there < known and publisher.number == number
        if lost:
            log.warning("Fleet: Redis has lost %d of this node's bans; publishing them again", known - there)
        if lost or self.untold:
            await self._or_untold(self.compare)

    async def _or_untold(self, tell: Callable[[], Awaitable[None]]) -> bool:
        """Tell something; whether Redis has taken it."""
        try:
            await tell()
        except UnwritableError as error:
            if not self.untold:
                log.warning(
                    "Fleet: Redis takes nothing: %s; bans go on, others' are heard, and all is told later", error
                )
            self.untold = str(error)
            return False
        if self.untold and tell == self.compare:
            log.info("Fleet: Redis takes what it is told again")
            self.untold = ""
        return True

    async def _other_beat(self) -> Beat | None:
        """The beat that Redis has of a node of this name, if it is another run's."""
        data = (await self._link.beats([self._name])).get(self._name)
        try:
            beat = read_beat(data) if data else None
        except BadMessageError:
            return None
        return beat if beat and beat.run != self.publisher.run else None

    async def _tell_beat(self) -> None:
        publisher, now = self.publisher, self._link.now()
        publisher.prune(now - 60)
        own = tuple(sorted(self._local.own_addresses())[:MOST_ADDRESSES])
        await self._link.tell(Beat(now, publisher.run, publisher.number, publisher.live(now), __version__, own))
        self._beaten = now

    async def compare(self) -> None:
        """Look at every ban, live or published."""
        bans: dict[tuple[Class, str], float] = {}
        for evidence in CLASSES:
            async for page in self._link.pages(self._name, f"bans:{evidence}"):
                bans |= {(evidence, member.decode("utf-8", "replace")): until for member, until in page}
        taken: list[dict[str, float]] = []
        for what in ("unbans", "pardons"):
            taken.append({})
            async for page in self._link.pages(self._name, what):
                taken[-1] |= {member.decode("utf-8", "replace"): until for member, until in page}
        lost = self.publisher.read(bans, *taken)
        self._roster.pardons |= self.publisher.pardons
        await self._write(lost)
        await self._look_at([*{*self._local.networks(), *self.publisher.networks()}])

    async def _look_at(self, networks: list[str]) -> None:
        for begin in range(0, len(networks), BATCH):
            events = [event for network in networks[begin : begin + BATCH] for event in self._due(network)]
            await self._write(events)
            await asyncio.sleep(0)

    def _due(self, network: str) -> list[Event]:
        bans, offset = self._local.bans(network), self._link.offset
        own = [one for ban in bans if (one := own_ban(ban, offset))]
        pardoned = self._roster.pardoned(network)
        return self.publisher.due(network, own, self._link.now(), banned=bool(bans), pardoned=pardoned)

    async def _write(self, events: list[Event]) -> None:
        if events:
            stamped = self.publisher.stamp(events, self._link.now())
            await self._link.write(stamped)
            self.publisher.wrote(stamped)

    async def write_next(self) -> None:
        """Wait until something has moved, and tell it."""
        await self._wake.wait()
        self._wake.clear()
        moved = list(self._moved)
        self._moved.clear()
        if not self.untold:  # else all is compared once Redis takes it
            await self._or_untold(lambda: self._look_at(moved))
        while self._pardons and not self.untold:
            if await self._or_untold(lambda: self._pardon(self._pardons[0])):
                del self._pardons[0]

    async def _pardon(self, network: str) -> None:
        """Bans that are published by now are over, whoever has made them."""
        nodes = [self._name, *self._roster.replicas]
        if until := await self._link.ends(nodes, network):
            self._local.changed(self._roster.pardon(network, until, self._link.now()))
            await self._write([Event("pardon", network, until)])
