"""What a jail would have done with logs of the past: counting and bans by the logs' own clock, nothing enforced."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from sipguard.model import NO_REGEX, Challenge, Failure, Success
from sipguard.policy.corroboration import Corroboration
from sipguard.policy.judge import Judge, Judgement, Outcome
from sipguard.policy.pairing import TOLERANCE
from sipguard.policy.wire import NO_GROUNDS, event_of
from sipguard.wire_model import Attempt

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from sipguard.model import Jail, LogEvent
    from sipguard.policy.corroboration import Sight
    from sipguard.policy.ignore import IgnoreList

Told = tuple[str, "LogEvent | Attempt"]
"""A log's name and what it tells, or what the wire tells."""

_PATIENCE = 60.0
"""Seconds that are waited after the end of the logs for what would still have come of them."""


@dataclass(slots=True)
class Story:
    """What became of one address."""

    address: str
    attempts: int = 0
    lines: int = 0
    """Lines that accuse it, also those that tell of a known attempt again."""
    users: set[str] = field(default_factory=set)
    banned_at: float | None = None
    """When it would have been banned for the first time, POSIX seconds."""
    network: str = ""
    """What would have been banned: the address, or the network that `ipv6prefix` counts it by."""
    ignored: str = ""
    """Why it is never banned."""
    misconfigured: bool = False
    regexes: dict[int, int] = field(default_factory=dict)
    """Index of the failregex → attempts that it found."""
    evidence: dict[str, int] = field(default_factory=dict)
    """Class of evidence → attempts that rest on it, of what the wire tells."""


class Replay:
    """One jail without a firewall. Feed it failures and logins in the order of their times.

    An address goes on being counted after its ban: a log of the past goes on too.
    """

    def __init__(self, jail: Jail, ignore: IgnoreList) -> None:
        self.stories: dict[str, Story] = {}
        self._now = 0.0
        self._banned: dict[str, float] = {}
        self._judge = Judge(jail, ignore, clock=lambda: self._now, banned=())

    def run(self, events: Iterable[LogEvent]) -> None:
        for event in events:
            if event.time is not None:
                self._now = max(self._now, event.time)
            if isinstance(event, Failure):
                self._tell(event, self._judge.consider(event))
            else:
                self._take_aside(event)
            self._tell_overdue()
        self._now += _PATIENCE
        self._tell_overdue()

    def cross_examine(self, told: Sequence[Told], sight: Sight) -> Corroboration:
        """Weigh what logs tell against what the wire tells: all of it, in the order of its times.

        Which logs the wire confirms is known from the whole before anything is weighed.
        """
        wait = TOLERANCE + 0.1  # of the recorded time, in which all that belongs to a line has come
        first = Corroboration(self._judge.jail.filter, sight, wait=wait, brief=wait)
        for _ in self._examined(told, first):
            pass
        confirmations = first.confirmations
        second = Corroboration(self._judge.jail.filter, sight, wait=wait, brief=wait, repeated=self._repeat)
        second.confirmations = confirmations
        self._now = 0.0
        self._judge.knows_users()
        for event in self._examined(told, second):
            if isinstance(event, Failure):
                self._tell(event, self._judge.consider(event))
            else:
                self._take_aside(event)
            self._tell_overdue()
        return second

    def _examined(self, told: Sequence[Told], corroboration: Corroboration) -> Iterable[LogEvent]:
        for log, one in told:
            if one.time is not None:
                self._now = max(self._now, one.time)
            yield from corroboration.due(self._now)
            if isinstance(one, Attempt):
                yield from corroboration.witness(one, self._now)
                event = event_of(one) if one.verdict == "success" and one.evidence == "proven" else None
                if event is not None:
                    yield event
            elif isinstance(one, Failure):
                yield from corroboration.testify(one, self._now, log)
            else:
                yield one
        self._now += _PATIENCE
        yield from corroboration.due(self._now)

    def _take_aside(self, event: LogEvent) -> None:
        if isinstance(event, Success):
            self._judge.welcome(event)
        elif isinstance(event, Challenge):
            self._judge.challenge(event)

    def _repeat(self, address: str, failure: Failure) -> None:
        """A line about an attempt that counts already."""
        story = self.stories.setdefault(address, Story(address, network=self._judge.subject(address)))
        story.lines += len(failure.lines) or 1
        story.users.update(failure.users)

    def _tell_overdue(self) -> None:
        for failure in self._judge.overdue():
            self._tell(failure, self._judge.consider(failure))

    def _tell(self, failure: Failure, judgement: Judgement) -> None:
        address = judgement.source or judgement.address
        story = self.stories.setdefault(address, Story(address, network=judgement.address))
        line = failure.regex != NO_REGEX
        if line:
            story.lines += len(failure.lines) or 1
        if failure.evidence is not None:
            story.evidence[failure.evidence] = story.evidence.get(failure.evidence, 0) + 1
        story.users.update(failure.users or ((failure.user,) if failure.user else ()))
        # A line that no attempt was found for, and that counts for nothing, is none.
        if judgement.outcome is not Outcome.REPEATED and not (line and failure.evidence in NO_GROUNDS):
            story.attempts += 1
            story.regexes[failure.regex] = story.regexes.get(failure.regex, 0) + 1
        if judgement.outcome is Outcome.IGNORED:
            story.ignored = judgement.why
        elif judgement.outcome is Outcome.MISCONFIGURED:
            story.misconfigured = True
        elif judgement.ban:
            self._banned.setdefault(judgement.address, judgement.ban.since)
        if judgement.address in self._banned and story.banned_at is None:
            story.banned_at = self._banned[judgement.address]
