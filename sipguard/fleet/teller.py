"""Publishes this node's bans to the fleet through Redis, and a beat every few seconds that says it is alive.

Nothing is queued while Redis is away or refuses writes: as soon as it accepts them, every ban is compared with what Redis has.
From then on, only bans that change are compared.
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
"""Age in seconds at which a beat is stale: the run that wrote it has ended."""
BATCH = 1000
"""Networks compared before the event loop gets its turn."""
MOST_PARDONS = 1000
"""Most fleet-wide unbans that may wait for Redis."""


class NameTakenError(LinkError):
    """Another running node has the same name."""

    def __init__(self, name: str, beat: Beat) -> None:
        where = f" ({', '.join(beat.addresses)})" if beat.addresses else ""
        super().__init__(
            f"another node{where} is named {name} too; give each a name = … of its own in [fleet]: nothing is shared here"
        )


class Teller:
    """Publishes this node's bans, unbans and beats. Its coroutines raise `LinkError` if Redis is out of reach."""

    def __init__(self, settings: Fleet, link: Link, roster: Roster, local: Local) -> None:
        self.publisher = Publisher(settings.share)
        self.untold = ""
        """Why Redis refuses writes although it answers; empty if it accepts them."""
        self._name = settings.name
        self._link = link
        self._roster = roster
        self._local = local
        self._moved: dict[str, None] = {}
        self._pardons: list[str] = []
        self._wake = asyncio.Event()
        self._beaten = 0.0
        """Time of this run's last beat that Redis accepted; 0 if none."""

    def moved(self, networks: Iterable[str]) -> None:
        """Note that bans of these networks have begun, ended, or changed their end; `write_next` publishes that."""
        self._moved.update(dict.fromkeys(networks))
        self._wake.set()

    def forget_moved(self) -> None:
        """Redis is away: forget single changes, as every ban will be compared once it is back."""
        self._moved.clear()

    def pardon(self, network: str) -> bool:
        """Queue a fleet-wide unban, for all nodes that accept them from this one; False if the queue is full."""
        if len(self._pardons) >= MOST_PARDONS:
            return False
        self._pardons.append(network)
        self._wake.set()
        return True

    async def claim_name(self) -> None:
        """Make sure that no other running node has this name. Raises `NameTakenError`."""
        beat = await self._other_beat()
        if beat and abs(self._link.now() - beat.at) < SILENT:
            # This node's earlier run, killed a moment ago, or another node. Only a living node writes another beat.
            await asyncio.sleep(1.2 * BEAT)
            later = await self._other_beat()
            if later and (later.at, later.run) != (beat.at, beat.run):
                raise NameTakenError(self._name, later)

    async def begin(self) -> None:
        """Publish every ban, then the first beat."""
        if await self._or_untold(self.compare):
            await self._or_untold(self._tell_beat)

    async def beat(self) -> None:
        """Publish a beat; publish every ban again if Redis has lost some, or has just begun to accept writes again."""
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
        """Run `tell`; returns False if Redis refuses the write."""
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
        """The last beat under this node's name, if another run wrote it."""
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
        """Compare all live bans with all that Redis has, and publish the differences."""
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
        """Wait for changes, then publish them."""
        await self._wake.wait()
        self._wake.clear()
        moved = list(self._moved)
        self._moved.clear()
        if not self.untold:  # else `beat` compares everything once Redis accepts writes
            await self._or_untold(lambda: self._look_at(moved))
        while self._pardons and not self.untold:
            if await self._or_untold(lambda: self._pardon(self._pardons[0])):
                del self._pardons[0]

    async def _pardon(self, network: str) -> None:
        """End all bans of a network that are published by now, whichever node made them."""
        nodes = [self._name, *self._roster.replicas]
        if until := await self._link.ends(nodes, network):
            self._local.changed(self._roster.pardon(network, until, self._link.now()))
            await self._write([Event("pardon", network, until)])
