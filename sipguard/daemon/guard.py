"""One jail at work: its detector and its judge joined, its counters, and what it says in the log."""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from datetime import datetime

from sipguard.detection.detector import Counts, Detector
from sipguard.model import Ban, Challenge, Clock, Failure, Jail, LogEvent
from sipguard.policy.ignore import IgnoreList
from sipguard.policy.judge import Judge, Judgement, Outcome
from sipguard.state.changes import Attempt, Changes
from sipguard.text import printable

log = logging.getLogger("fail2ban.filter")

RECENT = 10
"""Seconds after a ban in which lines of its address are what was already under way, not a sign that the ban does not work."""


@dataclass(slots=True)
class Totals:
    """What a jail has seen since the daemon started."""

    failures: int = 0
    ignored: int = 0
    old: int = 0
    after_ban: int = 0
    no_address: int = 0
    repeated: int = 0
    """Failures that told of an attempt again."""
    misconfigured: int = 0
    """Enough for a ban, but of few users at an address that has logged in (`maxusers`)."""
    successes: int = 0
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
    ) -> None:
        self.jail = jail
        self.totals = Totals()
        self.banned: dict[str, float] = {}
        """Address → since when, or when its ban was last seen not to hold."""
        self._clock = clock
        self._detectors: dict[str, Detector] = {"": self._detector()}
        """By log: what one log has told so far says nothing of another. The first one finds a broken filter at once."""
        self.judge = Judge(jail, ignore, clock=clock, banned=self.banned)
        self._decide = decide
        self._reinforce = reinforce

    def take(self, data: bytes, changes: Changes, path: str = "") -> None:
        """Read whole lines of one log."""
        if path not in self._detectors:
            self._detectors[path] = self._detector()
        self._weigh_all(self._detectors[path].events(data), changes)

    @property
    def counts(self) -> Counts:
        """What the detectors of all logs have seen."""
        return Counts.total(detector.counts for detector in self._detectors.values())

    def _detector(self) -> Detector:
        jail = self.jail
        return Detector(jail.filter, clock=self._clock, timezone=jail.timezone, encoding=jail.encoding)

    def _weigh_all(self, events: Iterable[LogEvent], changes: Changes) -> None:
        for event in events:
            if isinstance(event, Failure):
                self._weigh(event, self.judge.consider(event), changes)
            elif isinstance(event, Challenge):
                self.judge.challenge(event)
            else:
                self.totals.successes += 1
                if forgiven := self.judge.welcome(event):
                    changes.forgotten.add((self.jail.name, forgiven))
        for failure, judgement in self.judge.overdue():
            self._weigh(failure, judgement, changes)

    def recall(self, attempt: Attempt) -> None:
        """Count an attempt that an earlier run has stored."""
        if ban := self.judge.recall(attempt.address, attempt.time, attempt.attempts):
            self._ban(ban)

    def prune(self, now: float, changes: Changes) -> None:
        """Forget the attempts that can no longer lead to a ban, and read what a log has left incomplete."""
        for detector in self._detectors.values():
            self._weigh_all(detector.flush(), changes)
        if self.judge.window.prune(now):
            changes.expired[self.jail.name] = now - 2 * self.jail.findtime

    def _weigh(self, failure: Failure, judgement: Judgement, changes: Changes) -> None:
        self.totals.failures += 1
        self.totals.last_failure = judgement.time
        match judgement.outcome:
            case Outcome.COUNTED | Outcome.BAN:
                self._count(failure, judgement, changes)
            case Outcome.IGNORED:
                self.totals.ignored += 1
                log.info("[%s] Ignore %s by %s", self.jail.name, judgement.address, judgement.why)
            case Outcome.REPEATED:
                self.totals.repeated += 1
            case Outcome.MISCONFIGURED:
                self.totals.misconfigured += 1
                log.warning("[%s] Misconfigured %s: it has logged in before", self.jail.name, judgement.address)
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

    def _count(self, failure: Failure, judgement: Judgement, changes: Changes) -> None:
        when = datetime.fromtimestamp(judgement.time).strftime("%Y-%m-%d %H:%M:%S")  # noqa: DTZ006 - as Fail2ban writes it
        log.info("[%s] Found %s - %s", self.jail.name, judgement.address, when)
        line = failure.lines[-1] if failure.lines else ""
        changes.attempts.append(Attempt(self.jail.name, judgement.address, judgement.time, 1, failure.user, line))

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
