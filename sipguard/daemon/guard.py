"""One jail at work: its detector and its judge joined, its counters, and what it says in the log."""

from __future__ import annotations

import logging
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from functools import lru_cache

from sipguard.detection.detector import Detector
from sipguard.detection.tags import without_names
from sipguard.model import Ban, Clock, Failure, Jail
from sipguard.policy.ignore import IgnoreList
from sipguard.policy.judge import Judge, Judgement, Outcome
from sipguard.state.changes import Attempt, Changes
from sipguard.text import printable

log = logging.getLogger("fail2ban.filter")

RECENT = 10
"""Seconds after a ban in which lines of its address are what was already under way, not a sign that the ban does not work."""

SLOW_TOLD_EVERY = 60.0
"""Seconds between two words about a regex that takes too long."""


@lru_cache(maxsize=16)
def _shown(time: int) -> str:
    return datetime.fromtimestamp(time).strftime("%Y-%m-%d %H:%M:%S")  # noqa: DTZ006 - as Fail2ban writes it


@dataclass(slots=True)
class Totals:
    """What a jail has seen since the daemon started."""

    failures: int = 0
    ignored: int = 0
    old: int = 0
    after_ban: int = 0
    no_address: int = 0
    bans: int = 0
    oversize: int = 0
    last_failure: float | None = field(default=None)


class Guard:
    """Chunks of log in, bans out. Attempts go into `changes`, to be stored with the position of the chunk."""

    def __init__(
        self,
        jail: Jail,
        *,
        ignore: IgnoreList,
        clock: Clock,
        decide: Callable[[Ban], None],
        reinforce: Callable[[str, str], None],
        observe: Callable[[str, str, Failure], None] = lambda _jail, _address, _failure: None,
        earlier: Callable[[str], int] = lambda _: 0,
        ask: Callable[[Guard, Failure], bool] = lambda _guard, _failure: False,
    ) -> None:
        """`earlier` tells how often an address was banned; `ask` takes over what must be asked about, if it can."""
        self.jail = jail
        self.totals = Totals()
        self.banned: dict[str, float] = {}
        """Address → since when, or when its ban was last seen not to hold."""
        filter_ = without_names(jail.filter) if jail.usedns == "no" else jail.filter
        self.detector = Detector(filter_, clock=clock, timezone=jail.timezone, encoding=jail.encoding)
        self.judge = Judge(jail, ignore, clock=clock, banned=self.banned, earlier=earlier)
        self._ask = ask
        self._clock = clock
        self._slow_told = 0
        self._slow_next = 0.0
        self._decide = decide
        self._reinforce = reinforce
        self._observe = observe

    def take(self, data: bytes, changes: Changes) -> None:
        """Read whole lines."""
        for failure in self.detector.feed(data):
            self._found(failure, changes)
        self._tell_slow()

    def take_records(self, records: Sequence[tuple[float, str]], changes: Changes) -> None:
        """Read entries of the journal: time and text."""
        for time, text in records:
            if failure := self.detector.examine(text, time=time).failure:
                self._found(failure, changes)
        self._tell_slow()

    def _found(self, failure: Failure, changes: Changes) -> None:
        if not (self.jail.ignorecommand and self._ask(self, failure)):
            self.weigh(failure, changes)

    def _tell_slow(self) -> None:
        """A regex that exceeds its time limit costs its line alone; it is told of once a minute."""
        slow = self.detector.counts.timed_out - self._slow_told
        if slow and self._clock() >= self._slow_next:
            self._slow_told += slow
            self._slow_next = self._clock() + SLOW_TOLD_EVERY
            log.warning(
                "[%s] a regex of filter %s took too long on %d line%s, skipped; `sipguard test-filter` shows which",
                self.jail.name,
                self.jail.filter.name,
                slow,
                "" if slow == 1 else "s",
            )

    def recall(self, attempt: Attempt) -> None:
        """Count an attempt that an earlier run has stored."""
        # A time that is still to come was written before the clock was set back.
        if ban := self.judge.recall(attempt.address, min(attempt.time, self._clock()), attempt.attempts):
            self._ban(ban)

    def shift(self, seconds: float) -> None:
        """The clock was set by so much."""
        self.judge.window.shift(seconds)
        for address in self.banned:
            self.banned[address] += seconds
        self._slow_next += seconds

    def prune(self, now: float, changes: Changes) -> None:
        """Forget the attempts that can no longer lead to a ban."""
        if self.judge.window.prune(now):
            changes.expired[self.jail.name] = now - 2 * self.jail.findtime

    def weigh(self, failure: Failure, changes: Changes, *, address: str | None = None, answered: bool = False) -> None:
        """Weigh a failure; `address` is that of the host that it names. `answered`: it has been asked for, in vain."""
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
            case Outcome.OLD:
                self.totals.old += 1
            case Outcome.ALREADY_BANNED:
                self._seen_again(judgement)
            case Outcome.NO_ADDRESS:
                self.totals.no_address += 1
                log.warning(
                    "[%s] %s is not an address, nothing to ban", self.jail.name, printable(judgement.address, 100)
                )
        if judgement.ban:
            self._ban(judgement.ban)

    def ignored(self, address: str, why: str) -> None:
        """A failure of an address that must not be banned, as somebody else has found out."""
        self.totals.failures += 1
        self._ignore(address, why)

    def is_settled(self, address: str) -> bool:
        """Whether nothing more need be asked about an address: it is banned, or on the ignore list."""
        return address in self.banned or self.judge.ignore.reason(address) is not None

    def _ignore(self, address: str, why: str) -> None:
        self.totals.ignored += 1
        log.info("[%s] Ignore %s by %s", self.jail.name, address, why)

    def _count(self, failure: Failure, judgement: Judgement, changes: Changes) -> None:
        if log.isEnabledFor(logging.INFO):
            known = f", bad - counts as {judgement.attempts}" if judgement.attempts > 1 else ""
            when = _shown(int(judgement.time))
            log.info("[%s] Found %s - %s%s", self.jail.name, judgement.address, when, known)
        self._observe(self.jail.name, judgement.address, failure)
        line = failure.lines[-1] if failure.lines else ""
        changes.attempts.append(
            Attempt(
                self.jail.name, judgement.address, judgement.time, judgement.attempts, failure.user, line, failure.regex
            )
        )

    def _seen_again(self, judgement: Judgement) -> None:
        """A banned address still reaches the server: for a moment that is what was under way, later the ban does not hold."""
        self.totals.after_ban += 1
        if judgement.time > self.banned[judgement.address] + RECENT:
            self.banned[judgement.address] = judgement.time
            self._reinforce(self.jail.name, judgement.address)

    def _ban(self, ban: Ban) -> None:
        self.judge.window.forget(ban.address)
        self.banned[ban.address] = ban.since
        self.totals.bans += 1
        self._decide(ban)
