"""What a jail would have done with logs of the past: counting and bans by the logs' own clock, nothing enforced."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from sipguard.model import Challenge, Success
from sipguard.policy.judge import Judge, Judgement, Outcome

if TYPE_CHECKING:
    from collections.abc import Iterable

    from sipguard.model import Failure, Jail, LogEvent
    from sipguard.policy.ignore import IgnoreList


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
        """Weigh all of `events`."""
        for event in events:
            if event.time is not None:
                self._now = max(self._now, event.time)
            if isinstance(event, Success):
                self._judge.welcome(event)
            elif isinstance(event, Challenge):
                self._judge.challenge(event)
            else:
                self._tell(event, self._judge.consider(event))
            self._tell_overdue()
        self._now += _PATIENCE
        self._tell_overdue()

    def _tell_overdue(self) -> None:
        for failure in self._judge.overdue():
            self._tell(failure, self._judge.consider(failure))

    def _tell(self, failure: Failure, judgement: Judgement) -> None:
        address = judgement.source or judgement.address
        story = self.stories.setdefault(address, Story(address, network=judgement.address))
        if failure.evidence is None:
            story.lines += len(failure.lines) or 1
        else:
            story.evidence[failure.evidence] = story.evidence.get(failure.evidence, 0) + 1
        story.users.update(failure.users or ((failure.user,) if failure.user else ()))
        if judgement.outcome is not Outcome.REPEATED:
            story.attempts += 1
            story.regexes[failure.regex] = story.regexes.get(failure.regex, 0) + 1
        if judgement.outcome is Outcome.IGNORED:
            story.ignored = judgement.why
        elif judgement.outcome is Outcome.MISCONFIGURED:
            story.misconfigured = True
        elif judgement.ban:
            self._banned.setdefault(judgement.address, judgement.ban.since)
            self._judge.window.forget(judgement.address)
        if judgement.address in self._banned and story.banned_at is None:
            story.banned_at = self._banned[judgement.address]
