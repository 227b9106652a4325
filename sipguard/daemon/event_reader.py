"""The servers' own events at work: one connection per place, its events to the jails that want them, their logs silent."""

from __future__ import annotations

import asyncio
import logging
import time
from collections import deque
from typing import TYPE_CHECKING, Any

from sipguard.config.events import EventPlace, parse, password_of
from sipguard.config.paths import packaged
from sipguard.daemon.examiner import failure_of
from sipguard.detection.events.table import EventTable
from sipguard.model import Failure
from sipguard.policy.told_once import EVENT, SILENCED, ToldOnce
from sipguard.sources.asterisk_events import AsteriskDialogue
from sipguard.sources.event_connection import NOT_YET, EventConnection
from sipguard.sources.freeswitch_events import FreeSwitchDialogue

if TYPE_CHECKING:
    from collections.abc import Mapping

    from sipguard.daemon.jail_runner import JailRunner
    from sipguard.daemon.state_writer import StateWriter
    from sipguard.model import Clock, LogEvent
    from sipguard.sources.event_dialogue import Dialogue
    from sipguard.wire_model import ServerEvent, Unpaired

log = logging.getLogger("fail2ban.filter")

_WAITING = 10_000
"""Events that may wait while a reload is under way."""


class _Server:
    """One place of events and the jails that listen there."""

    def __init__(self, reader: EventReader, url: str, password_file: str) -> None:
        """Raises ConfigError."""
        self.url = url
        self.jails: list[str] = []
        self.table = EventTable.read(packaged("filters") / "events" / f"{parse(url).server}.toml")
        self.waiting: deque[LogEvent] = deque(maxlen=_WAITING)
        self.left: float | None = None
        """When it stopped sending events; None while it sends them, or before the first."""
        self.heard = time.monotonic()
        """When it told anything last, by the monotonic clock; at first, when this was made."""
        self._reader = reader
        self._place = parse(url)
        self._password_file = password_file
        self.connection = EventConnection(
            self._place.host, self._place.port, self._dialogue, deliver=self._deliver, changed=self._changed
        )
        self.task = asyncio.get_running_loop().create_task(self.connection.run())

    def _dialogue(self) -> Dialogue:
        return dialogue_of(self._place, self._password_file, self.table)

    def _deliver(self, events: list[ServerEvent]) -> None:
        now, self.heard = self._reader.clock(), time.monotonic()
        event_of = self.table.event_of
        self._reader.give(self, [one for event in events if (one := event_of(event, now)) is not None])

    def _changed(self) -> None:
        self._reader.changed(self)


def dialogue_of(place: EventPlace, password_file: str, table: EventTable) -> Dialogue:
    """How to talk to the server at a place; the password is read anew. Raises ConfigError."""
    password = password_of(password_file)
    if place.server == "asterisk":
        return AsteriskDialogue(place.user, password)
    return FreeSwitchDialogue(password, table.wanted)


class EventReader:
    """Owns the connections. `paused` is held by whoever replaces the jails."""

    def __init__(
        self, runners: Mapping[str, JailRunner], store: StateWriter, *, clock: Clock, paused: asyncio.Lock
    ) -> None:
        self.clock = clock
        self._runners = runners
        self._store = store
        self._paused = paused
        self._servers: dict[tuple[str, str], _Server] = {}
        self._told: dict[str, ToldOnce] = {}
        self._jails: dict[str, _Server] = {}
        self._first = True

    def start(self) -> None:
        """Listen where the jails say; a connection that is wanted as before stays."""
        before, self._servers, self._jails = self._servers, {}, {}
        for name, runner in self._runners.items():
            jail = runner.jail
            if not jail.events or jail.idle:
                continue
            with runner.degrading():
                key = (jail.events, jail.events_password_file)
                server = self._servers.get(key) or before.pop(key, None) or _Server(self, *key)
                if key not in self._servers:
                    self._servers[key] = server
                    server.jails.clear()
                server.jails.append(name)
                self._jails[name] = server
                self._listen(name, runner, server)
        for server in before.values():
            server.task.cancel()
        for name in set(self._told) - set(self._jails):
            self._end_listening(name)
        if self._first:
            self._restore()
        self._first = False

    def _listen(self, name: str, runner: JailRunner, server: _Server) -> None:
        if name in self._told and self._told[name].filter != runner.jail.filter:
            self._end_listening(name)
        if name not in self._told:

            def keep(row: Unpaired) -> bool:
                if has_log := self._has_log(name):
                    self._store.changes.keep(name, row)
                return has_log

            def settle(number: int) -> None:
                self._store.changes.settle(number)

            self._told[name] = ToldOnce(runner.jail.filter, keep=keep, settle=settle)
        told = self._told[name]
        if server.connection.speaks:
            told.begin(self.clock())

        def heard(event: LogEvent) -> LogEvent | None:
            lines = event.lines if isinstance(event, Failure) else ()
            alone = bool(lines) and server.table.is_told_by_log_alone(lines[-1])
            return told.from_log(event, self.clock(), live=runner.lags.now_read.live, alone=alone)

        runner.heard, runner.attempts = heard, (told.attempts, *runner.attempts)

    def _end_listening(self, name: str) -> None:
        """The log speaks for itself, with what it has told just before."""
        self._tell_missed(name)
        self._told.pop(name).forget()

    def _restore(self) -> None:
        """After a crash: what events told is not counted again from the log, and lines whose events were not read count."""
        now = self.clock()
        left: dict[str, list[Unpaired]] = {}
        for name, row in self._store.waiting((EVENT, SILENCED)):
            left.setdefault(name, []).append(row)
        for name, rows in left.items():
            told, runner = self._told.get(name), self._runners.get(name)
            if told is not None:
                told.restore([row for row in rows if row.kind == EVENT], now)
            if runner is not None:
                silenced = [row for row in rows if row.kind == SILENCED]
                runner.take_events([failure_of(row) for row in silenced], self._store.changes)
                for row in silenced if told is not None else rows:
                    self._store.changes.settle(row.number)
                self._store.touched()

    async def stop(self) -> None:
        """Close all connections."""
        tasks = [server.task for server in self._servers.values()]
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
        self._servers, self._jails = {}, {}

    def check(self) -> None:
        """What is to be looked at every few seconds: a connection never ends by itself, unless nobody foresaw it."""
        for server in self._servers.values():
            if server.task.done() and not server.task.cancelled():
                error = server.task.exception()
                server.connection.problem = f"internal error: {error!r}"
                log.error("events of %s: %s; connecting again", server.url, server.connection.problem)
                self._ended(server)
                server.task = asyncio.get_running_loop().create_task(server.connection.run())
            if server.waiting:
                self.give(server, [])
        for told in self._told.values():
            told.prune(self.clock())

    def shift(self, seconds: float) -> None:
        """The clock was set."""
        for told in self._told.values():
            told.shift(seconds)

    def speaks(self, jail: str) -> bool:
        """Whether a jail's server tells its events now."""
        server = self._jails.get(jail)
        return server is not None and server.connection.speaks

    @property
    def is_connecting(self) -> bool:
        """Whether a server has not been asked yet."""
        return any(server.connection.problem == NOT_YET for server in self._servers.values())

    def heard(self, jail: str) -> float | None:
        """When the server of a jail has told anything last, by the monotonic clock; None of a jail without events."""
        server = self._jails.get(jail)
        return server.heard if server else None

    def status(self, jail: str) -> dict[str, Any] | None:
        """Of a jail that has events: where, whether they speak, what is wrong, what they have told."""
        server = self._jails.get(jail)
        if server is None:
            return None
        connection, told = server.connection, self._told[jail]
        counts = connection.counts
        return {
            "url": server.url,
            "speaks": connection.speaks,
            "problem": connection.problem,
            "connections": connection.connections,
            "events": counts.events,
            "tampered": counts.tampered + server.table.tampered,
            "damaged": counts.damaged + counts.oversize + counts.rubbish,
            "silenced": told.silenced,
            "repeated": told.repeated,
        }

    def give(self, server: _Server, events: list[LogEvent]) -> None:
        """Let the jails that listen there weigh these events."""
        if server.waiting:
            events = [*server.waiting, *events]
            server.waiting.clear()
        if not events:
            return
        if self._paused.locked():
            server.waiting.extend(events)
            return
        now = self.clock()
        for name in server.jails:
            if runner := self._runners.get(name):
                told = self._told[name]
                runner.take_events([one for one in events if told.event_counts(one, now)], self._store.changes)
        self._store.touched()

    def changed(self, server: _Server) -> None:
        """A server begins to tell its events, or tells them no more, or why it does not is another reason."""
        now = self.clock()
        if server.connection.speaks:
            gap = "" if server.left is None else f"; they were gone for {now - server.left:.1f} s"
            server.left = None
            for name in server.jails:
                self._told[name].begin(now)
                log.info("[%s] Events of %s are told%s; %s", name, server.url, gap, self._meanwhile(name, back=True))
            return
        self._ended(server)
        for name in server.jails:
            log.warning(
                "[%s] No events of %s: %s; %s", name, server.url, server.connection.problem, self._meanwhile(name)
            )

    def _ended(self, server: _Server) -> None:
        """The logs speak again, with what they have told just before."""
        now = self.clock()
        if server.left is None and server.connection.connections:
            server.left = now
        for name in server.jails:
            self._tell_missed(name)

    def _tell_missed(self, name: str) -> None:
        missed = self._told[name].end(self.clock())
        if missed and (runner := self._runners.get(name)) and not runner.jail.idle:
            runner.take_events(missed, self._store.changes)
            self._store.touched()

    def _has_log(self, name: str) -> bool:
        runner = self._runners.get(name)
        return runner is not None and (runner.jail.journal or bool(runner.jail.logpath))

    def _meanwhile(self, name: str, *, back: bool = False) -> str:
        has_log = self._has_log(name)
        if back:
            return "the log is silent meanwhile" if has_log else "what happened before is not known"
        return "the log speaks until they are back" if has_log else "what happens until they are back is not known"
