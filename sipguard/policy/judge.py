"""What a failure means for its address: nothing, one more attempt, or a ban.

A judge holds the counting of one jail and touches nothing outside: it neither bans nor logs, it says what it has decided and why.
"""

from __future__ import annotations

from collections.abc import Callable, Container
from dataclasses import dataclass
from enum import Enum

from sipguard.addresses import canonical
from sipguard.model import Ban, Clock, Failure, Jail
from sipguard.policy.escalation import weight
from sipguard.policy.ignore import IgnoreList
from sipguard.policy.window import Window


class Outcome(Enum):
    """What became of a failure."""

    COUNTED = "counted"
    BAN = "ban"
    IGNORED = "ignored"
    OLD = "old"
    """Older than findtime when it was read: it can no longer lead to a ban."""
    ALREADY_BANNED = "already banned"
    NO_ADDRESS = "no address"
    """The accused is a host name or another id, and nobody has resolved it."""


@dataclass(frozen=True, slots=True)
class Judgement:
    """One failure's outcome."""

    outcome: Outcome
    address: str
    time: float
    """When the failure happened, as it was counted: never later than now."""
    why: str = ""
    ban: Ban | None = None
    attempts: int = 1
    """As how many it was counted."""


class Judge:
    """The policy of one jail.

    `banned` are the addresses that this jail has banned or is about to: they are counted no further. `earlier` tells how
    often an address has been banned before.
    """

    def __init__(
        self,
        jail: Jail,
        ignore: IgnoreList,
        *,
        clock: Clock,
        banned: Container[str],
        earlier: Callable[[str], int] = lambda _: 0,
    ) -> None:
        self.jail = jail
        self.ignore = ignore
        self.window = Window(jail.maxretry, jail.findtime)
        self._clock = clock
        self._banned = banned
        self._earlier = earlier

    def consider(self, failure: Failure, *, address: str | None = None) -> Judgement:
        """Weigh a failure. `address` stands for its host where that is a name that has been resolved."""
        now = self._clock()
        time = now if failure.time is None else min(failure.time, now)
        try:
            subject = address or canonical(failure.host)
        except ValueError:
            return Judgement(Outcome.NO_ADDRESS, failure.host, time)
        if why := self.ignore.reason(subject):
            return Judgement(Outcome.IGNORED, subject, time, why)
        if time < now - self.jail.findtime:
            return Judgement(Outcome.OLD, subject, time)
        if subject in self._banned:
            return Judgement(Outcome.ALREADY_BANNED, subject, time)
        attempts = self._weight(subject)
        if self.window.add(subject, time, attempts):
            return Judgement(Outcome.BAN, subject, time, ban=self._ban(subject, now), attempts=attempts)
        return Judgement(Outcome.COUNTED, subject, time, attempts=attempts)

    def recall(self, address: str, time: float, attempts: int) -> Ban | None:
        """Count an attempt of an earlier run again; the ban that it completes, if that would not be over by now."""
        if address in self._banned or self.ignore.reason(address):
            return None
        now = self._clock()
        if self.window.add(address, time, attempts) and time + self.jail.bantime > now:
            return self._ban(address, now)
        return None

    def _weight(self, address: str) -> int:
        """Who has been banned before has fewer tries, if bans are to grow."""
        growth = self.jail.growth
        return weight(growth, self._earlier(address), self.jail.maxretry) if growth.increment else 1

    def _ban(self, address: str, now: float) -> Ban:
        jail = self.jail
        reason = f"{jail.maxretry} failures within {jail.findtime:g} s"
        return Ban(address, jail.name, now, now + jail.bantime, attempts=jail.maxretry, reason=reason)
