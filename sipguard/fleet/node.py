"""This node among the others: tells them of its bans, hears of theirs. Nothing in the daemon waits for it.

What is to be told is found by comparing the live bans with what Redis has, so nothing is kept for a time without Redis: when it
is back, all is compared once, and from then on what moves.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Awaitable, Callable, Collection, Iterable
from typing import Protocol

from sipguard import __version__
from sipguard.fleet.link import SETS, Link, LinkError, Read
from sipguard.fleet.messages import (
    AHEAD,
    CLASSES,
    MOST_ADDRESSES,
    NAME,
    BadMessageError,
    Beat,
    Class,
    Event,
    read_beat,
    read_event,
)
from sipguard.fleet.publisher import Publisher, own_ban
from sipguard.fleet.reading import read_contents
from sipguard.fleet.replica import Replica
from sipguard.fleet.roster import FleetChange, Roster
from sipguard.model import Ban, Clock, Fleet
from sipguard.text import shown_url

log = logging.getLogger("sipguard.fleet")

BEAT = 5.0
"""Seconds between two beats."""
FIRST_PAUSE, LONGEST_PAUSE = 0.2, 5.0
"""Seconds until the next try to connect."""
BATCH = 1000
"""Networks that are looked at before the loop gets its turn."""
MOST_PARDONS = 1000
"""Fleet-wide unbans that wait for Redis."""
GONE = 7 * 86_400.0
"""Seconds without a beat after which a node is forgotten."""


class Local(Protocol):
    """The daemon, as the fleet sees it."""

    def bans(self, network: str) -> Collection[Ban]:
        """The live bans of exactly this network."""

    def networks(self) -> Iterable[str]:
        """Every network that is banned."""

    def is_complete(self) -> bool:
        """Whether the bans of earlier runs are known."""

    def changed(self, changes: Iterable[FleetChange]) -> None:
        """Others' bans have begun or ended. Times are Redis's."""

    def release(self, network: str) -> None:
        """Let a network through: an operator elsewhere has said so, whom this node trusts in that."""

    def caught_up(self) -> None:
        """Every other node was read once."""

    def own_addresses(self) -> Iterable[str]:
        """This machine's addresses."""


class Node:
    """One node. `run` until cancelled."""

    def __init__(self, settings: Fleet, local: Local, *, clock: Clock) -> None:
        self.settings = settings
        self.roster = Roster(
            size=settings.max_bans,
            accept=settings.accept,
            unban_from=settings.unban_from,
            max_time=settings.max_time,
        )
        self.publisher = Publisher(settings.share)
        self.link = Link(settings, clock=clock)
        self.problem = "not connected yet"
        """Why Redis cannot be used now; empty if it can."""
        self.ending = False
        """To be set before `run` is cancelled: a task group whose task fails at the same moment swallows the cancellation."""
        self._local = local
        self._clock = clock
        self._moved: dict[str, None] = {}
        self._pardons: list[str] = []
        self._wake = asyncio.Event()
        self._load = asyncio.Event()
        self._ids: dict[str, str] = {}
        """Node → the ID of the last event read from its stream."""
        self._behind: dict[str, int] = {}
        """Node → the number that its last beat told and that has not come."""
        self._loading: set[str] = set()
        self._connected = self._caught_up = self._over = False

    def moved(self, networks: Iterable[str]) -> None:
        """Bans of these networks have begun, ended, or got another end. Costs the caller nothing."""
        if not self.problem:
            self._moved.update(dict.fromkeys(networks))
            self._wake.set()

    def pardon(self, network: str) -> bool:
        """Let a network through on all nodes that take that from this one; False if too many wait for Redis."""
        if len(self._pardons) >= MOST_PARDONS:
            return False
        self._pardons.append(network)
        self._wake.set()
        return True

    def shift(self, seconds: float) -> None:
        """The clock was set: Redis's was not."""
        self.link.offset -= seconds

    def accept(self, name: str) -> bool:
        """Take what a node publishes though it was held; False if there is no such node."""
        replica = self.roster.replicas.get(name)
        if replica is None:
            return False
        replica.let_go(replica.beat.bans if replica.beat else 0)
        self._load.set()
        return True

    async def run(self) -> None:
        """Connect, and again whenever that ends."""
        pause = FIRST_PAUSE
        while not self.ending:
            self._connected = False
            try:
                await self._session()
            except* LinkError as errors:
                self._failed(errors.exceptions[0])
            except* Exception as errors:  # what nobody foresaw ends the connection, not the daemon
                self._failed(errors.exceptions[0])
            finally:
                await self.link.close()
            pause = FIRST_PAUSE if self._connected else min(pause * 2, LONGEST_PAUSE)
            if not self.ending:
                await asyncio.sleep(pause)

    def _failed(self, error: BaseException) -> None:
        while isinstance(error, BaseExceptionGroup):
            error = error.exceptions[0]
        problem = str(error) if isinstance(error, LinkError) else f"unexpected {type(error).__name__}"
        if problem != self.problem:
            log.warning("Fleet: %s: %s; bans go on, and are shared when it is back", self.place, problem)
        self.problem = problem
        self._moved.clear()

    @property
    def place(self) -> str:
        """The URL, as far as it may be shown."""
        return shown_url(self.settings.url)

    async def _session(self) -> None:
        await self.link.open()
        while not self._local.is_complete():
            await asyncio.sleep(0.2)
        self._behind.clear()
        self._connected = True
        if self.problem:
            log.info("Fleet: connected to %s as %s", self.place, self.settings.name)
        self.problem = ""
        await self._compare()
        await self._beat()
        self._over = False
        async with asyncio.TaskGroup() as group:
            for job in (self._write_next, self._read_next, self._beat_next, self._load_next):
                group.create_task(self._until_over(job))

    async def _until_over(self, job: Callable[[], Awaitable[None]]) -> None:
        """Repeat a job until another of the session has failed.

        Not for ever: redis-py may lose a cancellation that comes while it reads an answer.
        """
        try:
            while not (self._over or self.ending):
                await job()
        finally:
            self._over = True

    # What this node tells.

    async def _compare(self) -> None:
        """Look at every ban, live or published."""
        bans: dict[tuple[Class, str], float] = {}
        for evidence in CLASSES:
            async for page in self.link.pages(self.settings.name, f"bans:{evidence}"):
                bans |= {(evidence, member.decode("utf-8", "replace")): until for member, until in page}
        taken: list[dict[str, float]] = []
        for what in ("unbans", "pardons"):
            taken.append({})
            async for page in self.link.pages(self.settings.name, what):
                taken[-1] |= {member.decode("utf-8", "replace"): until for member, until in page}
        lost = self.publisher.read(bans, *taken)
        self.roster.pardons |= self.publisher.pardons
        await self._write(lost)
        await self._look_at([*{*self._local.networks(), *self.publisher.networks()}])

    async def _look_at(self, networks: list[str]) -> None:
        for begin in range(0, len(networks), BATCH):
            events = [event for network in networks[begin : begin + BATCH] for event in self._due(network)]
            await self._write(events)
            await asyncio.sleep(0)

    def _due(self, network: str) -> list[Event]:
        bans, offset = self._local.bans(network), self.link.offset
        own = [one for ban in bans if (one := own_ban(ban, offset))]
        pardoned = self.roster.pardoned(network)
        return self.publisher.due(network, own, self.link.now(), banned=bool(bans), pardoned=pardoned)

    async def _write(self, events: list[Event]) -> None:
        if events:
            stamped = self.publisher.stamp(events, self.link.now())
            await self.link.write(stamped)
            self.publisher.wrote(stamped)

    async def _write_next(self) -> None:
        await self._wake.wait()
        self._wake.clear()
        moved = list(self._moved)
        self._moved.clear()
        await self._look_at(moved)
        while self._pardons:
            await self._pardon(self._pardons[0])
            del self._pardons[0]

    async def _pardon(self, network: str) -> None:
        """Bans that are published by now are over, whoever has made them."""
        nodes = [self.settings.name, *self.roster.replicas]
        if until := await self.link.ends(nodes, network):
            self._local.changed(self.roster.pardon(network, until, self.link.now()))
            await self._write([Event("pardon", network, until)])

    async def _beat(self) -> None:
        publisher, now = self.publisher, self.link.now()
        publisher.prune(now - 60)
        own = tuple(sorted(self._local.own_addresses())[:MOST_ADDRESSES])
        await self.link.tell(Beat(now, publisher.run, publisher.number, publisher.live(now), __version__, own))

    async def _beat_next(self) -> None:
        await self._hear_beats()
        await asyncio.sleep(BEAT)
        await self.link.compare_clocks()
        await self._beat()
        publisher = self.publisher
        number = publisher.number
        there = await self.link.sizes(self.settings.name, SETS)
        known = len(publisher.bans) + len(publisher.unbans) + len(publisher.pardons)
        if there < known and publisher.number == number:
            log.warning("Fleet: Redis has lost %d of this node's bans; publishing them again", known - there)
            await self._compare()
        self.roster.prune(self.link.now())

    # What the others tell.

    async def _hear_beats(self) -> None:
        now, beats = self.link.now(), await self.link.beats()
        for name, data in beats.items():
            if NAME.fullmatch(name) and (replica := self.roster.replica(name)):
                try:
                    self._hear_beat(replica, read_beat(data), now)
                except BadMessageError as error:
                    replica.refuse(error)
        for name, replica in list(self.roster.replicas.items()):
            if name not in beats and (replica.beat is None or replica.beat.at < now - GONE):
                self._local.changed(self.roster.forget(name, now))
                self._ids.pop(name, None)
        self._note_caught_up()

    def _note_caught_up(self) -> None:
        waiting = (replica.gap and not replica.held for replica in self.roster.replicas.values())
        if not self._caught_up and not any(waiting):
            self._caught_up = True
            self._local.caught_up()

    def _hear_beat(self, replica: Replica, beat: Beat, now: float) -> None:
        if beat.at > now + AHEAD:
            raise BadMessageError("a time in the future")
        replica.beat = beat
        if beat.run != replica.run or (replica.number < self._behind.get(replica.name, 0)):
            replica.gap = True
        self._behind[replica.name] = beat.number
        if self._is_to_be_read(replica):
            self._load.set()

    def _is_to_be_read(self, replica: Replica) -> bool:
        """Whether the sets must be read, and its node is not still writing them."""
        beat = replica.beat
        whole = beat is not None and (beat.run != replica.seen_run or beat.number >= replica.seen)
        return whole and (replica.gap or bool(replica.held))

    async def _load_next(self) -> None:
        await self._load.wait()
        self._load.clear()
        for replica in list(self.roster.replicas.values()):
            if self._is_to_be_read(replica):
                self._loading.add(replica.name)
                try:
                    await self._read_sets(replica)
                finally:
                    self._loading.discard(replica.name)
        self._note_caught_up()

    async def _read_sets(self, replica: Replica) -> None:
        beat, held = replica.beat, replica.held
        if beat is None:
            return
        last = await self.link.last(replica.name)
        contents = await read_contents(self.link, replica, self.roster)
        if contents is None:
            if not held:
                self._tell_held(replica)
            return
        number = beat.number
        try:
            event = read_event(last.fields)
            number = max(number, event.number) if event.run == beat.run else number
        except BadMessageError:
            pass  # counted when it is read from the stream
        pardons = dict(contents.pardons)
        changes = self.roster.replace(replica, contents, beat.run, number, self.link.now())
        self._ids[replica.name] = last.id
        self._local.changed(changes)
        if self.roster.is_trusted(replica.name):
            for network, until in pardons.items():
                self._obey(network, until)

    async def _read_next(self) -> None:
        streams = {name: last for name, last in self._ids.items() if name not in self._loading}
        changes: list[FleetChange] = []
        for one in await self.link.read(streams):
            if one.node not in self._loading:
                changes += self._take(one)
        if changes:
            self._local.changed(changes)

    def _take(self, one: Read) -> list[FleetChange]:
        replica = self.roster.replicas.get(one.node)
        if replica is None:
            return []
        self._ids[one.node] = one.id
        now, held = self.link.now(), replica.held
        try:
            event = read_event(one.fields)
        except BadMessageError as error:
            replica.refuse(error)
            return []
        changes = self.roster.take(replica, event, now)
        replica.lag = max(0.0, now - event.at)
        if replica.held and not held:
            self._tell_held(replica)
        if event.kind == "pardon" and self.roster.is_trusted(one.node):
            self._obey(event.network, event.until)
        return changes

    def _obey(self, network: str, until: float) -> None:
        """A trusted operator lets a network through: end own bans that he has seen."""
        if self._local.bans(network) and 0 < self.publisher.published(network) <= until:
            self._local.release(network)

    def _tell_held(self, replica: Replica) -> None:
        how = f"sipguard fleet accept {replica.name}"
        log.warning(
            "Fleet: node %s is held: %s; what was taken from it before stays. To accept it: %s",
            replica.name,
            replica.held,
            how,
        )
