"""One jail at work: its detector and its judge joined, its counters, and what it says in the log."""

from __future__ import annotations

import logging
import math
import os
from collections.abc import Callable, Container, Iterable, Iterator, Sequence
from contextlib import contextmanager
from datetime import datetime
from functools import lru_cache
from typing import Any

from sipguard.daemon.auth_lines import AuthLines, handled_by
from sipguard.daemon.ban_ledger import BanLedger
from sipguard.daemon.examiner import EVENTS, Examiner
from sipguard.daemon.jail_totals import Totals
from sipguard.daemon.line_problems import LineProblems
from sipguard.daemon.log_detectors import LogDetectors, SharedDetectors, Told, once
from sipguard.daemon.own_log import LogBatch
from sipguard.daemon.unproven import Unproven
from sipguard.detection.detector import Detector
from sipguard.detection.results import Counts
from sipguard.errors import ConfigError, of_jail
from sipguard.model import Ban, Challenge, Clock, Failure, Jail, LogEvent
from sipguard.policy.ignore import IgnoreList, own_addresses
from sipguard.policy.judge import Judge, Judgement, Outcome
from sipguard.policy.lag import Lags
from sipguard.policy.window import MOST
from sipguard.policy.wire import told_as
from sipguard.sources.journal_query import query_of
from sipguard.state.changes import Changes, CountedAttempt
from sipguard.text import printable
from sipguard.wire_model import Attempt

log = logging.getLogger("fail2ban.filter")

RECENT = 5
"""Seconds after a ban in which lines of its address are what was already under way, not a sign that the ban does not work."""

_new = tuple.__new__
MOST_UNSAID = 1000
"""Lines of our own log that may wait."""

FAILURE_TOLD_EVERY = 60.0
"""Seconds between two words about an error that nobody foresaw."""


@lru_cache(maxsize=16)
def _shown(time: int) -> str:
    return datetime.fromtimestamp(time).strftime("%Y-%m-%d %H:%M:%S")  # noqa: DTZ006 - as Fail2ban writes it


def make_runner(jail: Jail, **told: Any) -> JailRunner:
    """The runner of a jail; `told` as for `JailRunner`. Raises `ConfigError`, naming the jail: it cannot run."""
    try:
        if jail.journal:
            query_of(jail)
        return JailRunner(jail, **told)
    except ConfigError as error:
        raise of_jail(jail.name, error) from error


class JailRunner:
    """Chunks of log in, bans out. Attempts go into `changes`, to be stored with the position of the chunk."""

    def __init__(  # noqa: PLR0913 - what it tells others of, one by one
        self,
        jail: Jail,
        *,
        ignore: IgnoreList,
        clock: Clock,
        decide: Callable[[Ban], None],
        reinforce: Callable[[str, str], None],
        ledger: BanLedger | None = None,
        detectors: SharedDetectors | None = None,
        observe: Callable[[str, str, Failure], None] = lambda _jail, _address, _failure: None,
        alarm: Callable[[str, str, Failure], bool] = lambda _jail, _address, _failure: True,
        earlier: Callable[[str], int] = lambda _: 0,
        ask: Callable[[JailRunner, Failure], bool] = lambda _runner, _failure: False,
        registered: Callable[[Iterable[str]], None] = lambda _addresses: None,
    ) -> None:
        """`earlier` tells how often an address was banned; `ask` takes over what must be asked about, if it can.

        `registered` is told of addresses that log in, as far as the log can be trusted in that.
        """
        self.jail = jail
        self.totals = Totals()
        self.banned = (BanLedger() if ledger is None else ledger).of_runner(jail.name)
        """Address → its ban in this jail, live or on its way to the kernel."""
        self._clock = clock
        self.detectors = LogDetectors(jail, detectors or SharedDetectors(clock))
        self.unproven = Unproven(jail, alarm=alarm, clock=clock, tell=self.tell)
        self.auth_lines = AuthLines()
        self.lags = Lags(jail.lag, jail.findtime)
        self.judge = Judge(jail, ignore, clock=clock, banned=self.banned, earlier=earlier)
        self._ask = ask
        self._say = LogBatch()
        """What is to be logged as soon as these lines are through, or something more urgent is to be said."""
        self.patient = False
        """Whether it may wait for `tell`, unless there is a ban: of a busy log, many lines are as cheap as one."""
        self._line_problems = LineProblems(clock)
        self.problem: str | None = None
        """An exception that nobody foresaw, in one line; None again when as much has been read without one."""
        self._failed = False
        self._failure_told = -math.inf
        self._decide = decide
        self._reinforce = reinforce
        self._observe = observe
        self._registered = registered
        self.heard: Callable[[LogEvent], bool] | None = None
        """Whether what a log tells is to be weighed; None is all of it: see `event_reader`."""
        self.examiner: Examiner | None = None
        """Holds lines and events against the wire, where that is wanted: see `corroborator`."""
        self.waits: Callable[[], None] = lambda: None
        """Told when a line has to wait for what the wire says of it."""

    @property
    def counts(self) -> Counts:
        """What the detectors of all logs have seen."""
        return self.detectors.counts

    def reconfigure(self, jail: Jail) -> None:
        """Run by another definition of the jail from now on; counts and bans stay. Raises `ConfigError`, changing nothing."""
        old, self.jail = self.jail, jail
        try:
            self.detectors.read_as(jail)
        except ConfigError:
            self.jail = old
            raise
        if (jail.ignoreip, jail.ignoreself) != (old.ignoreip, old.ignoreself):
            self.judge.ignore = IgnoreList(jail.ignoreip, own=own_addresses() if jail.ignoreself else ())
        self.judge.jail = jail
        self.judge.window.limit(jail.maxretry, jail.findtime)
        self.judge.grounds.limit(jail.maxretry, jail.findtime)
        self.unproven.reconfigure(jail)

    def count_on_from(self, before: JailRunner) -> None:
        """The jail was read anew: what it has counted goes on from that."""
        self.totals, self.auth_lines = before.totals, before.auth_lines
        self.detectors.count_on(before.counts)

    def leave(self, followed: Container[str]) -> None:
        """Logs that are not among the `followed` ones are gone, and their detectors go; what those have counted stays."""
        self.lags.keep(followed)
        self.detectors.keep(followed)
        self._line_problems.keep(followed)

    def take(
        self,
        data: bytes,
        changes: Changes,
        path: str = "",
        *,
        live: bool = False,
        ended: bool = False,
        told: Told | None = None,
    ) -> None:
        """Read whole lines of one log; `live` and `ended` as in `Chunk`. `told` is what other jails were told of these lines."""
        self.lags.reading(path, self._clock(), live, ended)
        with self._reading(path, told) as detector:
            handled = handled_by(detector)
            events = once(told, detector, lambda: detector.events(data))
            if data:  # a chunk without says where a log begins
                self.auth_lines.look(data, understood=bool(events) or handled_by(detector) > handled)
            self._take_all(events, changes)

    def held(self, path: str) -> int | None:
        """How long the last record of this log is, in bytes, if it is held back as it may go on: ask `release`; else None."""
        detector = self.detectors.get(path)
        return detector.held_bytes if detector is not None and detector.holds else None

    def release(self, path: str, idle: float, changes: Changes, told: Told | None = None) -> None:
        """Read what was held back of a log that has had nothing new for `idle` seconds."""
        if self.detectors.get(path) is not None:
            self.lags.reading_on(path, self._clock())
            with self._reading(path, told) as detector:
                self._take_all(once(told, detector, lambda: detector.release(idle)), changes)

    def take_records(
        self, records: Sequence[tuple[float, str]], changes: Changes, path: str = "", told: Told | None = None
    ) -> None:
        """Read entries of the journal: time and text."""
        self.lags.reading("", self._clock())
        self.auth_lines.look(b"", understood=True)
        with self._reading(path, told) as detector:
            events = once(told, detector, lambda: [one for time, text in records for one in detector.entry(text, time)])
            self._take_all(events, changes)

    def take_events(self, events: Sequence[LogEvent], changes: Changes) -> None:
        """Weigh what the wire, or a server's events, tell."""
        self._failed = False
        with self.degrading():
            self._weigh_all(self._examined(events, changes, EVENTS), changes)
        if not self._failed:
            self.problem = None

    def take_attempts(self, attempts: Sequence[Attempt], changes: Changes) -> None:
        """Weigh what the wire has seen, in a jail whose lines are examined."""
        with self.degrading():
            assert self.examiner is not None  # noqa: S101 - others are not told
            self._weigh_all(self.examiner.attempts(attempts, self._clock(), changes), changes)

    def take_due(self, now: float, changes: Changes) -> None:
        """Weigh the lines that the wire has said nothing of in time."""
        with self.degrading():
            if self.examiner is not None:
                self._weigh_all(self.examiner.due(now, changes), changes)

    def take_examined(self, events: Sequence[LogEvent], changes: Changes) -> None:
        """Weigh what has been examined."""
        with self.degrading():
            self._weigh_all(events, changes)

    def _examined(self, events: Sequence[LogEvent], changes: Changes, teller: str | None = None) -> Sequence[LogEvent]:
        """What is left to weigh of what somebody (the log that is read now) tells, where that is held against the wire."""
        if self.examiner is None or not events:
            return events
        events = self.examiner.lines(events, teller or self.lags.seen_as, self._clock(), changes)
        self.waits()
        return events

    @contextmanager
    def _reading(self, path: str, told: Told | None) -> Iterator[Detector]:
        """The detector of a log. One in which something went wrong is not believed again: the next chunk has a new one."""
        self._failed = False
        detector = self.detectors.of(path, told)
        slow, tampered = detector.counts.timed_out, detector.counts.tampered
        with self.degrading():
            yield detector
        if self._failed:
            self.detectors.drop(path)
        else:
            self.problem = None
        if (detector.counts.timed_out, detector.counts.tampered) != (slow, tampered):
            self._line_problems.grew(path, detector.counts, slow, tampered)
            self._line_problems.tell(self.jail.name, self.jail.filter.name)

    @contextmanager
    def degrading(self) -> Iterator[None]:
        """What goes wrong in here in a way that nobody foresaw is this jail's problem, and no other's."""
        try:
            yield
        except Exception as error:
            self._failed = True
            self.problem = f"internal error: {printable(repr(error), 300)}"
            if self._clock() >= self._failure_told + FAILURE_TOLD_EVERY:
                self._failure_told = self._clock()
                log.error(
                    "[%s] %s; what caused it is skipped, the jail goes on", self.jail.name, self.problem,
                    exc_info=bool(os.environ.get("SIPGUARD_TRACEBACK")),
                )  # fmt: skip

    def _take_all(self, events: Sequence[LogEvent], changes: Changes) -> None:
        """What a log tells, at the times at which it happened."""
        heard = events if self.heard is None else list(filter(self.heard, events))
        self._weigh_all(self._examined(self.lags.in_time(heard), changes), changes)

    def _weigh_all(self, events: Sequence[LogEvent], changes: Changes) -> None:
        bans = self.totals.bans
        for event in events:
            try:
                self._take_event(event, changes)
            except Exception:
                with self.degrading():
                    raise
        if self.judge.welcomed:
            self._registered(self.judge.welcomed)
            self.judge.welcomed = []
        for failure in self.judge.overdue() if self.judge.is_challenged else ():
            self._weigh(failure, changes)
        if not self.patient or self.totals.bans > bans or len(self._say) > MOST_UNSAID:
            self.tell()

    def _take_event(self, event: LogEvent, changes: Changes) -> None:
        if isinstance(event, Failure):
            if not (self.jail.ignorecommand and self._ask(self, event)):
                self._weigh(event, changes)
        elif isinstance(event, Challenge):
            self.judge.challenge(event)
        else:
            self.totals.successes += 1
            if forgiven := self.judge.welcome(event):
                changes.forgotten.add((self.jail.name, forgiven))

    def recall(self, attempt: CountedAttempt) -> None:
        """Count an attempt that an earlier run has stored."""
        # A time that is still to come was written before the clock was set back.
        if ban := self.judge.recall(attempt.address, min(attempt.time, self._clock()), attempt.attempts):
            self._ban(ban)

    def shift(self, seconds: float) -> None:
        """The clock was set by so much."""
        self.judge.shift(seconds)
        self._line_problems.shift(seconds)

    def prune(self, now: float, changes: Changes) -> None:
        """Forget the attempts that can no longer lead to a ban, and weigh what has waited for its log's clock."""
        for path in ("", *self.detectors):
            if events := self._examined(self.lags.released(path, now), changes):
                self._weigh_all(events, changes)
        self._line_problems.tell(self.jail.name, self.jail.filter.name)
        window = self.judge.window
        if window.dropped:
            log.warning(
                "[%s] more than %d addresses have failed: the oldest %d that failed once are forgotten",
                self.jail.name, MOST, window.dropped,
            )  # fmt: skip
            window.dropped = 0
        self.judge.grounds.prune(now)
        if window.prune(now):
            changes.expired[self.jail.name] = now - 2 * self.jail.findtime

    def weigh(self, failure: Failure, changes: Changes, *, address: str | None = None, answered: bool = False) -> None:
        """Weigh a failure; `address` is that of the host that it names. `answered`: it has been asked for, in vain."""
        self._weigh(failure, changes, address=address, answered=answered)
        self.tell()

    def _weigh(self, failure: Failure, changes: Changes, *, address: str | None = None, answered: bool = False) -> None:
        judgement = self.judge.consider(failure, address=address)
        unknown = judgement.outcome is Outcome.NO_ADDRESS and not answered
        if unknown and self.jail.usedns in ("yes", "warn") and self._ask(self, failure):
            return
        self.totals.failures += 1
        self.totals.last_failure = judgement.time
        match judgement.outcome:
            case Outcome.COUNTED | Outcome.BAN:
                self._count(failure, judgement, changes)
            case Outcome.IGNORED:
                self._ignore(judgement.address, judgement.why)
            case Outcome.UNPROVEN:
                self.unproven.take(failure, judgement, self.totals)
            case Outcome.MISCONFIGURED:
                self.totals.misconfigured += 1
                self.tell()
                log.warning("[%s] Misconfigured %s: it has logged in before", self.jail.name, judgement.address)
            case Outcome.REPEATED | Outcome.OLD as uncounted:
                setattr(self.totals, uncounted.value, getattr(self.totals, uncounted.value) + 1)
            case Outcome.ALREADY_BANNED:
                self._seen_again(judgement)
            case Outcome.NO_ADDRESS:
                self.totals.no_address += 1
                self.tell()
                log.warning(
                    "[%s] %s is not an address, nothing to ban", self.jail.name, printable(judgement.address, 100)
                )
        if judgement.ban:
            changes.decided.add((self.jail.name, judgement.address))
            self._ban(judgement.ban)

    def ignored(self, address: str, why: str) -> None:
        """A failure of an address that must not be banned, as somebody else has found out."""
        self.totals.failures += 1
        self._ignore(address, why)
        self.tell()

    def is_settled(self, address: str) -> bool:
        """Whether nothing more need be asked about an address: it is banned, or on the ignore list."""
        return address in self.banned or self.judge.ignore.reason(address) is not None

    def _ignore(self, address: str, why: str) -> None:
        self.totals.ignored += 1
        self._say.append(f"[{self.jail.name}] Ignore {address} by {why}")

    def tell(self) -> None:
        """Log what has waited, in one go."""
        if self._say:
            log.info(self._say)
            self._say = LogBatch()

    def _count(self, failure: Failure, judgement: Judgement, changes: Changes) -> None:
        name, (_, address, time, _, _, _, attempts) = self.jail.name, judgement
        if log.isEnabledFor(logging.INFO):
            found = f"[{name}] Found {address} - {_shown(int(time))}"
            self._say.append(found if attempts == 1 else f"{found}, bad - counts as {attempts}")
        self._observe(name, address, failure)
        line = failure.lines[-1] if failure.lines else ""
        if self.examiner is not None:
            line = told_as(failure.evidence, line)
        # Past the constructor of the named tuple, which takes twice as long.
        changes.attempts.append(
            _new(CountedAttempt, (name, address, time, attempts, failure.user, line, failure.regex))
        )

    def _seen_again(self, judgement: Judgement) -> None:
        """A banned address still reaches the server: for a moment that is what was under way, later the ban does not hold."""
        self.tell()
        self.totals.after_ban += 1
        record = self.banned[judgement.address]
        if judgement.time > record.seen + RECENT:
            record.seen = judgement.time
            self._reinforce(self.jail.name, judgement.address)

    def _ban(self, ban: Ban) -> None:
        self.judge.window.forget(ban.address)
        self.totals.bans += 1
        self._decide(ban)
