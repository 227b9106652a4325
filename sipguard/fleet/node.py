"""Publishes this node's bans to the other nodes and applies theirs. Nothing in the daemon waits for it.

What another node has written may be anything: whatever Redis refuses because of it holds that node, and no other.
"""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import Awaitable, Callable, Iterable

from sipguard.fleet import teller
from sipguard.fleet.link import Link, LinkError, Read, WrongTypeError
from sipguard.fleet.local import Local
from sipguard.fleet.messages import AHEAD, BadMessageError, Beat, read_beat, read_event
from sipguard.fleet.publisher import Publisher
from sipguard.fleet.reading import read_contents
from sipguard.fleet.replica import Replica
from sipguard.fleet.roster import FleetChange, Roster
from sipguard.model import Clock, Fleet
from sipguard.text import shown_url

log = logging.getLogger("sipguard.fleet")

FIRST_PAUSE, LONGEST_PAUSE = 0.2, 5.0
"""Seconds until the next try to connect."""
GONE = 7 * 86_400.0
"""Seconds without a beat after which a node is forgotten."""


class Node:
    """One node. `run` until cancelled."""

    def __init__(self, settings: Fleet, local: Local, *, clock: Clock) -> None:
        self.settings = settings
        self.roster = Roster(
            size=settings.max_bans, accept=settings.accept, unban_from=settings.unban_from, max_time=settings.max_time
        )
        self.link = Link(settings, clock=clock)
        self.problem = "not connected yet"
        """Why Redis cannot be used now; empty if it can."""
        self.ending = False
        """To be set before `run` is cancelled: a task group whose task fails at the same moment swallows the cancellation."""
        self._local = local
        self._teller = teller.Teller(settings, self.link, self.roster, local)
        self._load = asyncio.Event()
        self._ids: dict[str, str] = {}
        """Node → the ID of the last event read from its stream."""
        self._behind: dict[str, int] = {}
        """Node → the event number in its last beat, if that event has not arrived."""
        self._loading: set[str] = set()
        self._caught_up = self._over = False

    def moved(self, networks: Iterable[str]) -> None:
        """Note that bans of these networks began, ended, or got another end. Returns at once."""
        if not self.problem:
            self._teller.moved(networks)

    def pardon(self, network: str) -> bool:
        """Unban a network on all nodes that accept it from this one; False if too many such unbans wait for Redis."""
        return self._teller.pardon(network)

    @property
    def publisher(self) -> Publisher:
        """What this node has published."""
        return self._teller.publisher

    @property
    def untold(self) -> str:
        """Why Redis accepts no writes although it answers; empty if it does."""
        return self._teller.untold

    def shift(self, seconds: float) -> None:
        """Correct the offset to Redis's clock after this machine's clock was set."""
        self.link.offset -= seconds

    def accept(self, name: str) -> bool:
        """Accept a held node's bans; False if there is no such node."""
        replica = self.roster.replicas.get(name)
        if replica is None:
            return False
        replica.let_go(replica.beat.bans if replica.beat else 0)
        self._load.set()
        return True

    async def run(self) -> None:
        """Connect, and reconnect whenever the connection ends."""
        pause = FIRST_PAUSE
        while not self.ending:
            begin = time.monotonic()
            try:
                await self._session()
            except* LinkError as errors:
                self._failed(errors.exceptions[0])
            except* Exception as errors:  # what nobody foresaw ends the connection, not the daemon
                self._failed(errors.exceptions[0])
            finally:
                await self.link.close()
            # A session that ends as soon as it has begun may do so for ever: that costs reading and comparing all each time.
            lasted = time.monotonic() - begin > LONGEST_PAUSE
            pause = FIRST_PAUSE if lasted else min(pause * 2, LONGEST_PAUSE)
            if not self.ending:
                await asyncio.sleep(pause)

    def _failed(self, error: BaseException) -> None:
        while isinstance(error, BaseExceptionGroup):
            error = error.exceptions[0]
        problem = str(error) if isinstance(error, LinkError) else f"unexpected {type(error).__name__}"
        if problem != self.problem:
            log.warning("Fleet: %s: %s; bans go on, and are shared when it is back", self.place, problem)
        self.problem = problem
        self._teller.forget_moved()

    @property
    def place(self) -> str:
        """The URL, as far as it may be shown."""
        return shown_url(self.settings.url)

    async def _session(self) -> None:
        await self.link.open()
        while not self._local.is_complete():
            await asyncio.sleep(0.2)
        self._behind.clear()
        await self._teller.claim_name()
        if self.problem:
            log.info("Fleet: connected to %s as %s", self.place, self.settings.name)
        self.problem = ""
        await self._teller.begin()
        self._over = False
        async with asyncio.TaskGroup() as group:
            for job in (self._teller.write_next, self._read_next, self._beat_next, self._load_next):
                group.create_task(self._until_over(job))

    async def _until_over(self, job: Callable[[], Awaitable[None]]) -> None:
        """Repeat a job until another job of the session fails.

        Not for ever: redis-py may lose a cancellation that comes while it reads an answer.
        """
        try:
            while not (self._over or self.ending):
                await job()
        finally:
            self._over = True

    async def _beat_next(self) -> None:
        await self._hear_beats()
        await asyncio.sleep(teller.BEAT)
        await self.link.compare_clocks()
        await self._teller.beat()
        self.roster.prune(self.link.now())

    # What the others tell.

    async def _hear_beats(self) -> None:
        now = self.link.now()
        names = {*await self.link.names(), *self.roster.replicas} - {self.settings.name}
        beats = await self.link.beats(names)
        for name, data in beats.items():
            if replica := self.roster.replica(name):
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
                except WrongTypeError:
                    self._hold_unreadable(replica)
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
            self._local.changed(self.roster.settle(replica, replica.withdrawn, self.link.now()))
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
        try:
            found = await self.link.read(streams)
        except WrongTypeError:
            await self._hold_unreadable_streams(streams)
            return
        for one in found:
            if one.node not in self._loading:
                changes += self._take(one)
        if changes:
            self._local.changed(changes)

    async def _hold_unreadable_streams(self, names: Iterable[str]) -> None:
        """Find the key of the wrong type because of which Redis refuses to read all streams."""
        for name in names:
            try:
                await self.link.last(name)
            except WrongTypeError:
                if replica := self.roster.replicas.get(name):
                    self._hold_unreadable(replica)

    def _hold_unreadable(self, replica: Replica) -> None:
        """Set aside a node whose stream or sets have the wrong type; it is tried again at each of its beats."""
        held = replica.held
        self._ids.pop(replica.name, None)
        self._local.changed(self.roster.settle(replica, replica.hold("its keys are of another type"), self.link.now()))
        if not held:
            self._tell_held(replica)

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
        """Carry out a trusted operator's unban: end this node's bans that were published before it."""
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
