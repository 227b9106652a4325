"""One jail at work: its detector and its judge joined, its counters, and what it says in the log."""

from __future__ import annotations

import logging
from collections.abc import Callable, Container, Iterable, Sequence
from dataclasses import replace
from operator import attrgetter

from sipguard.daemon.auth_lines import AuthLines
from sipguard.daemon.ban_ledger import BanLedger
from sipguard.daemon.degrading import Degrading
from sipguard.daemon.examiner import EVENTS, Examiner
from sipguard.daemon.jail_totals import Totals
from sipguard.daemon.line_problems import LineProblems
from sipguard.daemon.log_detectors import LogDetectors, SharedDetectors, Told, entries
from sipguard.daemon.own_log import LogBatch, moment
from sipguard.daemon.unproven import Unproven
from sipguard.detection.results import Counts
from sipguard.errors import ConfigError
from sipguard.model import Ban, Challenge, Chunk, Clock, Failure, Jail, LogEvent, Success
from sipguard.policy.attempts import Attempts
from sipguard.policy.ignore import IgnoreList, own_addresses
from sipguard.policy.judge import Judge, Judgement, Outcome
from sipguard.policy.lag import Lags
from sipguard.policy.window import MOST
from sipguard.policy.wire import told_as
from sipguard.state.changes import BURST, Changes, CountedAttempt
from sipguard.text import printable

log = logging.getLogger("fail2ban.filter")

RECENT = 5
"""Seconds after a ban in which lines of its address are what was already under way, not a sign that the ban does not work."""

_new, _USER = tuple.__new__, attrgetter("user")
MOST_UNSAID = 1000
"""Lines of our own log that may wait."""


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
        observe: Callable[[str, str, Sequence[Failure]], None] = lambda _jail, _address, _failures: None,
        observed: Container[str] = (),
        alarm: Callable[[str, str, Failure], bool] = lambda _jail, _address, _failure: True,
        earlier: Callable[[str], int] = lambda _: 0,
        ask: Callable[[JailRunner, Failure], bool] = lambda _runner, _failure: False,
        registered: Callable[[Iterable[str]], None] = lambda _addresses: None,
    ) -> None:
        """`earlier` tells how often an address was banned; `ask` takes over what must be asked about, if it can.

        `observe` is told of what is counted while the jail's name is among the `observed`. `registered` is told of addresses
        that log in, as far as the log can be trusted in that.
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
        self.attempts: tuple[Attempts, ...] = (self.judge.attempts,)
        """Who counts several lines as one attempt."""
        self._ask = ask
        self._say = LogBatch()
        """What is to be logged as soon as these lines are through, or something more urgent is to be said."""
        self.patient = False
        """Whether it may wait for `tell`, unless there is a ban: of a busy log, many lines are as cheap as one."""
        self._line_problems = LineProblems(clock)
        self.degrading = Degrading(jail.name, clock)
        self._decide = decide
        self._reinforce = reinforce
        self._observe = observe
        self._observed = observed
        self._registered = registered
        self.heard: Callable[[LogEvent], LogEvent | None] | None = None
        """What is to be weighed of an event of a log; None is each as it is: see `event_reader`."""
        self.examiner: Examiner | None = None
        """Holds lines and events against the wire, where that is wanted: see `corroborator`."""
        self.waits: Callable[[], None] = lambda: None
        """Told when a line has to wait for what the wire says of it."""

    @property
    def problem(self) -> str | None:
        """An exception that nobody foresaw, in one line; None when there is none now."""
        return self.degrading.problem

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
        self.judge.scans.limit(jail.maxretry, jail.findtime)
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

    def take(self, chunk: Chunk, changes: Changes, told: Told | None = None) -> int | None:
        """Weigh what the detector of a log makes of a chunk; `told` is what other jails that share it were told of the same.

        Gives how much of the log is held back, as `Detector.held`. A detector in which something went wrong is not believed
        again: the next chunk has a new one.
        """
        told, path = {} if told is None else told, chunk.path
        is_new = path not in self.detectors.known
        if is_new and chunk.idle:
            return None
        if is_new and chunk.before:
            self._look_back(chunk, told)
        self.lags.now_read = lag = self.lags["" if chunk.records else path]
        if not (chunk.idle or chunk.records):
            lag.live, lag.ended = chunk.live, chunk.ended
        detector = self.detectors.of(path, told) if is_new else self.detectors.known[path][0]
        counts, held = detector.counts, detector.held
        slow, tampered, ignored, held_before = counts.timed_out, counts.tampered, counts.ignored, held is not None
        with self.degrading(anew=True):
            if detector not in told:
                before = replace(counts)
                if chunk.records:
                    events = entries(chunk.records, detector)
                else:
                    events = detector.release(chunk.idle) if chunk.idle else detector.events(chunk.data)
                told[detector] = events, before
            events, _ = told[detector]
            held = detector.held
            if chunk.data or chunk.records:  # a chunk without says where a log begins, or that it stands still
                # What was left out knowingly, or waits for more, is understood too, and all that an entry says.
                handled = counts.tampered + counts.ignored + (held is not None) > tampered + ignored + held_before
                self.auth_lines.look(chunk.data, understood=handled or bool(events or chunk.records))
            if self.heard is not None:
                events = [one for event in events if (one := self.heard(event)) is not None]
            self._weigh_all(lag.correct(events, self._clock()), changes)
        if self.degrading.failed:
            self.detectors.drop(path)
            held = None
        if (counts.timed_out, counts.tampered) != (slow, tampered):
            self._line_problems.grew(path, counts, slow, tampered)
            self._line_problems.tell(self.jail.name, self.jail.filter.name)
        return held

    def _look_back(self, chunk: Chunk, told: Told) -> None:
        """Know what stands before the first chunk of a log, which an earlier run has read."""
        with self.degrading():
            detector = self.detectors.of(chunk.path, told, chunk.before)
            for attempts in self.attempts:
                attempts.recall(detector.looked_back, self._clock())

    def take_events(self, events: Sequence[LogEvent], changes: Changes) -> None:
        """Weigh what the wire, or a server's events, tell."""
        with self.degrading(anew=True):
            self._weigh_all(events, changes, EVENTS)

    def take_examined(self, events: Sequence[LogEvent], changes: Changes) -> None:
        """Weigh what has been examined."""
        with self.degrading():
            self._weigh_all(events, changes, examined=True)

    def _weigh_all(
        self, events: Sequence[LogEvent], changes: Changes, teller: str | None = None, *, examined: bool = False
    ) -> None:
        """Weigh what somebody (the log that is read now) tells, or what is left of it where that is held against the wire."""
        if self.examiner is not None and events and not examined:
            events = self.examiner.lines(events, teller or self.lags.now_read.seen_as, self._clock(), changes)
            self.waits()
        bans = self.totals.bans
        failures: list[Failure] = []
        for event in events:
            if isinstance(event, Failure):
                failures.append(event)
                continue
            # What somebody's login forgives is what was before it.
            self._weigh_hosts(failures, changes)
            failures = []
            try:
                self._take_aside(event, changes)
            except Exception:
                with self.degrading():
                    raise
        self._weigh_hosts(failures, changes)
        if self.judge.welcomed:
            self._registered(self.judge.welcomed)
            self.judge.welcomed = []
        if self.judge.is_challenged and (overdue := self.judge.overdue()):
            self._weigh_hosts(overdue, changes)
        if not self.patient or self.totals.bans > bans or len(self._say) > MOST_UNSAID:
            self.tell()

    def _weigh_hosts(self, failures: Sequence[Failure], changes: Changes) -> None:
        """Weigh what follows each other in a log, all of a host at once; one that raises takes no other with it."""
        if not failures:
            return
        if self.jail.ignorecommand:
            failures = [failure for failure in failures if not self._ask(self, failure)]
        for group in self.judge.attempts.by_host(failures) if len(failures) > 1 else (failures,):
            try:
                self._weigh(group, changes)
            except Exception:
                with self.degrading():
                    raise

    def _take_aside(self, event: LogEvent, changes: Changes) -> None:
        if isinstance(event, Challenge):
            self.judge.challenge(event)
        elif isinstance(event, Success):
            self.totals.successes += 1
            if forgiven := self.judge.welcome(event):
                changes.forget(((self.jail.name, forgiven),))

    def recall(self, attempt: CountedAttempt) -> None:
        """Count an attempt that an earlier run has stored."""
        # A time that is still to come was written before the clock was set back.
        if ban := self.judge.recall(attempt.address, min(attempt.time, self._clock()), attempt.attempts):
            self.totals.bans += 1
            self._decide(ban)

    def shift(self, seconds: float) -> None:
        self.judge.shift(seconds)
        self._line_problems.shift(seconds)

    def prune(self, now: float, changes: Changes) -> None:
        """Forget the attempts that can no longer lead to a ban, and weigh what has waited for its log's clock."""
        for path in ("", *self.detectors.known):
            self.lags.now_read = self.lags[path]
            if events := self.lags.now_read.release():
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
        self.judge.scans.prune(now)
        if window.prune(now):
            changes.expired[self.jail.name] = now - 2 * self.jail.findtime

    def weigh(self, failure: Failure, changes: Changes, *, address: str | None = None, answered: bool = False) -> None:
        """Weigh a failure; `address` is that of the host that it names. `answered`: it has been asked for, in vain."""
        self._weigh((failure,), changes, address=address, answered=answered)
        self.tell()

    def _weigh(
        self, failures: Sequence[Failure], changes: Changes, *, address: str | None = None, answered: bool = False
    ) -> None:
        for judgement in self.judge.weigh(failures, address=address):
            outcome = judgement.outcome
            if outcome is Outcome.COUNTED or outcome is Outcome.BAN:
                self._count(judgement, changes)
            elif outcome is Outcome.ALREADY_BANNED:
                self._seen_again(judgement)
            elif outcome is not Outcome.NO_ADDRESS or not self._defer(judgement.failures, answered=answered):
                self._leave_out(judgement)
            else:
                continue
            self.totals.failures += len(judgement.failures)
            self.totals.last_failure = judgement.times[-1]

    def _defer(self, failures: Sequence[Failure], *, answered: bool) -> bool:
        """Whether somebody else finds out the addresses of their host, who has not `answered` yet; all go, or none."""
        may_ask = not answered and self.jail.usedns in ("yes", "warn")
        return may_ask and [self._ask(self, failure) for failure in failures].count(False) == 0

    def _leave_out(self, judgement: Judgement) -> None:
        count, address = len(judgement.failures), judgement.address
        match judgement.outcome:
            case Outcome.IGNORED:
                for _ in judgement.failures:
                    self._ignore(address, judgement.why)
            case Outcome.UNPROVEN:
                self.unproven.take(judgement.failures[0], judgement, self.totals)
            case Outcome.MISCONFIGURED:
                self.totals.misconfigured += count
                self.tell()
                log.warning("[%s] Misconfigured %s: it has logged in before", self.jail.name, address)
            case Outcome.REPEATED:
                self.totals.repeated += count
            case Outcome.OLD:
                self.totals.old += count
            case Outcome.NO_ADDRESS:
                self.totals.no_address += count
                self.tell()
                for _ in judgement.failures:
                    log.warning("[%s] %s is not an address, nothing to ban", self.jail.name, printable(address, 100))

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

    def _count(self, judgement: Judgement, changes: Changes) -> None:
        name, (_, address, failures, times, _, ban, source, attempts) = self.jail.name, judgement
        if log.isEnabledFor(logging.INFO):
            many = "" if attempts == 1 else f", bad - counts as {attempts}"
            second, found = -1, ""
            for time in times:
                if int(time) != second:
                    second = int(time)
                    found = f"[{name}] Found {address} - {moment(second)}{many}"
                self._say.append(found)
        if name in self._observed:
            self._observe(name, address, failures)
        if ban is not None and len(changes.attempts) >= BURST and len(set(map(_USER, failures))) == 1:
            # They would be stored as one: see `Changes.rows`.
            failures, times, attempts = failures[-1:], times[-1:], attempts * len(failures)
        for failure, time in zip(failures, times, strict=True):
            line = failure.line
            if self.examiner is not None:
                line = told_as(failure.evidence, line)
                if failure.evidence in ("reported", "corroborated"):  # of what is proven the wire itself has told
                    self.unproven.counted(source, address, failure.user or "", time)
            # Past the constructor of the named tuple, which takes twice as long.
            changes.attempts.append(
                _new(CountedAttempt, (name, address, time, attempts, failure.user, line, failure.regex))
            )
        if ban is not None:
            changes.decided.add((name, address))
            self.totals.bans += 1
            self._decide(ban)

    def _seen_again(self, judgement: Judgement) -> None:
        """A banned address still reaches the server: for a moment that is what was under way, later the ban does not hold."""
        self.tell()
        self.totals.after_ban += len(judgement.failures)
        record = self.banned[judgement.address]
        for time in judgement.times:
            if time > record.seen + RECENT:
                record.seen = time
                self._reinforce(self.jail.name, judgement.address)
