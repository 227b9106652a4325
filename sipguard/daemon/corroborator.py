"""Cross-examination at work: which jails' logs are held against the wire, when what waits is due, and who is metered."""

from __future__ import annotations

import asyncio
import logging
import math
from typing import TYPE_CHECKING, Any

from sipguard.config.filters import of_sip_servers
from sipguard.daemon.examiner import Examiner, failure_of
from sipguard.daemon.held_back import HeldBack
from sipguard.daemon.log_detectors import SharedDetectors
from sipguard.policy.logins import KEPT
from sipguard.policy.metering import Metering
from sipguard.policy.sight import EncryptedSessions, OffWire, Presence
from sipguard.wire_model import LIMITED_SOURCE

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence

    from sipguard.config.settings import Settings
    from sipguard.daemon.jail_runner import JailRunner
    from sipguard.daemon.state_writer import StateWriter
    from sipguard.daemon.wire import Wire
    from sipguard.model import Clock, Jail
    from sipguard.wire_model import Attempt

log = logging.getLogger("fail2ban.server")

_RELAYED = 5.0
"""Seconds after a proxy has spoken, in which lines may be about somebody behind it."""
_SOONEST = 0.005


class WireSight:
    """What the wire knows, for the lines of one jail. Raises `ConfigError`."""

    def __init__(self, jail: Jail, owner: Corroborator, *, packets: bool, of_tree: bool = False) -> None:
        """`of_tree`: the jail is one of a Fail2ban tree, whose filter does not say what is no SIP."""
        self._owner = owner
        self._off_wire = OffWire(jail.filter, packets=packets, known=of_sip_servers() if of_tree else ())

    def unable(self, address: str, line: str) -> str:
        """See `Sight`."""
        owner = self._owner
        if not owner.wire.reads:
            return owner.wire.problem or "the wire is not watched"
        if self._off_wire.tells(line):
            return "it is not about SIP that the wire sees"
        if owner.is_relay(address):
            return "a proxy's address"
        return "it may be about somebody behind a proxy" if owner.relayed else ""

    def blindness(self, since: float, until: float, address: str) -> str:
        """See `Sight`."""
        owner = self._owner
        if owner.present.lost_until >= since:
            return "more addresses have sent than can be remembered"
        if unwatched := owner.wire.packets.unwatched if owner.by_packets else ():
            return f"nobody watches {unwatched[0]}"
        if why := owner.wire.tracker.blindness(since, until, address):
            # Who is held back gets no more guesses over UDP, seen or not: what was too much may be written in his name.
            return "" if why == LIMITED_SOURCE and owner.stops(address) else why
        return "" if owner.by_packets else owner.wire.places.silent(address)

    @property
    def read_until(self) -> float:
        """See `Sight`. Copies by HEP come whenever they come."""
        return self._owner.wire.packets.read_until if self._owner.by_packets else math.inf

    def heard_from(self, address: str) -> bool:
        """See `Sight`."""
        return address in self._owner.present

    def waiting(self, address: str) -> Iterable[Attempt]:
        """See `Sight`."""
        return self._owner.wire.tracker.open_requests(address)

    def unmetered(self, *, seen: bool) -> str:
        """See `Sight`. What is not seen by HEP, the server has not judged."""
        owner = self._owner
        return "" if owner.can_meter or not (seen or owner.by_packets) else "nobody can be held back here"

    def session(self, address: str, since: float, until: float) -> bool:
        """See `Sight`."""
        return self._owner.sessions.within(address, since, until)


class Corroborator:
    """Gives jails their examiners. `paused` is held by whoever replaces the jails."""

    def __init__(
        self,
        wire: Wire,
        runners: Mapping[str, JailRunner],
        store: StateWriter,
        *,
        clock: Clock,
        paused: asyncio.Lock,
    ) -> None:
        self.wire = wire
        self.present = Presence()
        self.sessions = EncryptedSessions()
        self.by_packets = False
        """This machine's own packets are watched, not HEP alone."""
        self._runners = runners
        self._store = store
        self._clock = clock
        self._paused = paused
        self._relayed = 0.0
        self._detectors = SharedDetectors(clock)
        self._examiners: dict[str, tuple[Jail, Examiner]] = {}
        self._meterings: dict[str, Metering] = {}
        self.held = HeldBack(wire.packets, released=self._released, clock=clock)
        self._timer: asyncio.TimerHandle | None = None
        self._first = True
        wire.told, wire.saw, wire.spoke = self.told, self.saw, self.sessions.saw

    @property
    def can_meter(self) -> bool:
        """Whether whoever guesses unproven can be held back."""
        return self.wire.packets.can_meter

    def stops(self, address: str) -> bool:
        """Whether the kernel lets nothing more of this address through over UDP: it is held back, and no flow of it is known."""
        known = any(one.flows(address, self._clock()) for one in self._meterings.values())
        return self.can_meter and not known and self.held.holds(address)

    @property
    def relayed(self) -> bool:
        """Whether a proxy has spoken just now."""
        return self._clock() - self._relayed < _RELAYED

    def is_relay(self, address: str) -> bool:
        """Whether this is a proxy, or this machine."""
        return address in self.wire.tracker.proxies or address in self.wire.tracker.own

    def start(self, settings: Settings) -> None:
        """Examine what the jails are told from now on; what is known stays where a jail is as before."""
        watched = bool(settings.hep_listen) or settings.wire_enabled
        self.by_packets = settings.wire_enabled
        before, self._examiners = self._examiners, {}
        for name, runner in self._runners.items():
            jail = runner.jail
            if not watched or jail.idle or not (jail.corroborate or name in settings.wire_corroborate):
                continue
            if jail.source == "wire":
                continue
            known = before.pop(name, None)
            if known is not None and (known[0].filter, known[0].liberal) == (jail.filter, jail.liberal):
                self._examine(runner, known[1])
                continue
            if known is not None:
                before[name] = known
            with runner.degrading():
                of_tree = name in settings.wire_corroborate
                sight = WireSight(jail, self, packets=self.by_packets, of_tree=of_tree)
                self._examine(runner, Examiner(jail, sight, self._detectors))
        for name, (_, examiner) in before.items():
            if ended := self._runners.get(name):
                ended.take_examined(examiner.end(self._store.changes), self._store.changes)
        self._set_up_meters(watched=watched)
        if self._first:
            self._restore()
        self._first = False
        self._arm()

    def _examine(self, runner: JailRunner, examiner: Examiner) -> None:
        self._examiners[runner.jail.name] = runner.jail, examiner
        runner.examiner = examiner
        runner.waits = self._arm
        runner.judge.knows_users()

    def _set_up_meters(self, *, watched: bool) -> None:
        """Every jail that is told of the wire counts what is unproven."""
        before, self._meterings = self._meterings, {}
        flows: dict[tuple[str, int], float] | None = None
        for name, runner in self._runners.items():
            if watched and (runner.jail.source == "wire" or name in self._examiners):
                self._meterings[name] = metering = before.get(name) or Metering(runner.jail)
                if name not in before:
                    flows = self._store.flows(self._clock() - KEPT) if flows is None else flows
                    for (address, port), time in flows.items():
                        metering.know(address, port, time)
                metering.limit(runner.jail)
                runner.unproven.metering, runner.unproven.meter = metering, self.held.order

    def _restore(self) -> None:
        """What an earlier run has left is judged, by what is known now."""
        rows: dict[str, list[Any]] = {}
        for name, row in self._store.waiting():
            rows.setdefault(name, []).append(row)
        changes, now = self._store.changes, self._clock()
        for name, left in rows.items():
            runner = self._runners.get(name)
            if runner is None:
                continue
            changes.settled |= {row.number for row in left if row.kind == "line"}
            if runner.examiner is not None:
                runner.take_examined(runner.examiner.restore(left, now, changes), changes)
            else:
                runner.take_examined([failure_of(row) for row in left if row.kind == "line"], changes)
                changes.settled |= {row.number for row in left}
        if rows:
            self._store.touched()

    def saw(self, addresses: set[str], now: float) -> None:
        """These have sent something to a SIP port."""
        self.present.saw(addresses, now)
        proxies = self.wire.tracker.proxies
        if proxies and any(address in proxies for address in addresses):
            self._relayed = self._clock()

    def told(self, attempts: Sequence[Attempt]) -> None:
        """The wire has seen these."""
        changes = self._store.changes
        for attempt in attempts:
            if attempt.verdict == "success" and self._lifts(attempt):
                self._lift(attempt)
            elif attempt.verdict == "failure" and attempt.evidence in {"proven", "lent"}:
                self._note_guess(attempt)
        for runner in list(self._runners.values()):
            if runner.examiner is not None and not runner.jail.idle:
                with runner.degrading():
                    runner.take_examined(runner.examiner.attempts(attempts, self._clock(), changes), changes)

    def _note_guess(self, attempt: Attempt) -> None:
        """The meter counts what the jails charge to whoever has lent the nonce: else his helper would guess without end."""
        for name in self._meterings:
            runner = self._runners[name]
            if runner.judge.ignore.reason(attempt.source) is not None:
                continue
            subject = runner.judge.subject(attempt.source)
            tell = runner.unproven.counted if attempt.evidence == "proven" else runner.unproven.guessed
            tell(attempt.source, subject, attempt.user, attempt.time)

    def _lifts(self, attempt: Attempt) -> bool:
        """Whether a login shows who it is: with a nonce that can be foreseen, the password does, to the meter alone."""
        return attempt.evidence == "proven" or self.wire.is_foreseeable(attempt)

    def _lift(self, attempt: Attempt) -> None:
        source, port, user, time = attempt.source, attempt.port, attempt.user, attempt.time
        new = [one.login(source, port, user, time) for one in self._meterings.values()]
        if any(new):
            self._store.changes.flows[source, port] = time
        self.held.lift(attempt.source)

    def _released(self, address: str) -> None:
        for one in self._meterings.values():
            one.release(address)

    def check(self) -> None:
        """What is to be looked at every few seconds."""
        now, changes = self._clock(), self._store.changes
        for _, examiner in self._examiners.values():
            examiner.expire(now, changes)
        for metering in self._meterings.values():
            metering.prune(now)

    def shift(self, seconds: float) -> None:
        """The clock was set."""
        for _, examiner in self._examiners.values():
            examiner.corroboration.shift(seconds)
        for metering in self._meterings.values():
            metering.shift(seconds)
        self.held.shift(seconds)

    def stop(self) -> None:
        """Look at nothing more: what waits is in the state."""
        if self._timer is not None:
            self._timer.cancel()
        self.held.stop()

    def _arm(self) -> None:
        """Look again when the first that waits is due."""
        ends = [end for _, one in self._examiners.values() if (end := one.corroboration.next_due) is not None]
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None
        if ends:
            wait = max(_SOONEST, min(ends) - self._clock())
            self._timer = asyncio.get_running_loop().call_later(wait, self._due)

    def _due(self) -> None:
        self._timer = None
        if not self._paused.locked():
            self.wire.packets.read()  # before a line is judged, what it tells of is to be known
            self.wire.settle()  # answers that wait for a challenge that may come late are judged first
            now, changes = self._clock(), self._store.changes
            for name in self._examiners:
                if (runner := self._runners.get(name)) and runner.examiner is not None:
                    with runner.degrading():
                        runner.take_examined(runner.examiner.due(now, changes), changes)
            self._store.touched()
        self._arm()

    def status(self, jail: str) -> dict[str, Any] | None:
        """Of a jail whose lines are examined."""
        known, now = self._examiners.get(jail), self._clock()
        if known is None:
            return None
        metering = self._meterings.get(jail)
        return {**known[1].status(now), "metered": metering.metered(now) if metering else 0}
