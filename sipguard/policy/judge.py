"""What a failure means for its address: nothing, one more attempt, or a ban.

A judge holds the counting of one jail and touches nothing outside: it neither bans nor logs, it says what it has decided and why.
"""

from __future__ import annotations

import contextlib
import sys
from collections import Counter
from collections.abc import Callable, Container, Iterator, Sequence
from enum import Enum
from typing import NamedTuple

from sipguard.addresses import canonical, embeds_ipv4, network_of
from sipguard.model import NO_REGEX, Ban, Challenge, Clock, Failure, Jail, Success
from sipguard.policy.attempts import Attempts, seconds
from sipguard.policy.challenges import Challenges
from sipguard.policy.escalation import weight
from sipguard.policy.ignore import IgnoreList
from sipguard.policy.logins import PATIENCE, Logins
from sipguard.policy.window import LONGEST_USER, Window
from sipguard.policy.wire import LONGEST_SCAN_BAN, NO_GROUNDS, SCAN, STRONG
from sipguard.wire_model import Evidence


class Outcome(Enum):
    """What became of a failure."""

    COUNTED = "counted"
    BAN = "ban"
    IGNORED = "ignored"
    OLD = "old"
    """Older than findtime when it was read: it can no longer lead to a ban."""
    ALREADY_BANNED = "already banned"
    UNPROVEN = "unproven"
    """Nothing shows that it came from this address: no ban (docs/wire.md)."""
    REPEATED = "repeated"
    """It tells of an attempt that another line has told of."""
    MISCONFIGURED = "misconfigured"
    """Enough for a ban, but of few users at an address that has logged in: a phone with an old password (`maxusers`)."""
    NO_ADDRESS = "no address"
    """The accused is a host name or another id, and nobody has resolved it."""


class Judgement(NamedTuple):
    """What became of failures of one host, which are alike in that."""

    outcome: Outcome
    """Where it is BAN, the last of them completes the ban, and those before it are counted."""
    address: str
    failures: Sequence[Failure]
    times: Sequence[float]
    """When each happened, as it was counted: never later than now."""
    why: str = ""
    ban: Ban | None = None
    source: str = ""
    """The single address that was accused, where `address` is its network (`ipv6prefix`)."""
    attempts: int = 1
    """As how many each was counted."""

    @property
    def time(self) -> float:
        """When the last of them happened."""
        return self.times[-1]


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
        self.scans = Window(jail.maxretry, jail.findtime)
        """Calls to nowhere, of a jail with `mode = "scan"`."""
        self.grounds = Window(jail.maxretry, jail.findtime)
        """The counted failures whose address is beyond doubt, each with its class in the place of the user."""
        self._has_grounds = False
        """Whether anything has ever been counted in them."""
        self._clock = clock
        self._banned = banned
        self.attempts = Attempts(jail.filter)
        self._logins = Logins()
        self.welcomed: list[str] = []
        """Addresses that have logged in, until somebody takes them."""
        self._challenges = Challenges(seconds(jail.filter, "attempt_window"), jail.findtime)
        self.is_challenged = False
        """Whether `challenge` was ever called, so that some may be `overdue`."""
        self._scanner_weight = int(seconds(jail.filter, "scanner_weight")) or 1
        self._is_proven = jail.source == "wire"
        """Every address here has been seen to be itself, so what one of a network does is not the other's doing."""
        told = jail.maxusers or jail.events or self._is_proven or jail.filter.options.get("successregex")
        self._knows_users = bool(told)
        self._earlier = earlier
        self._told: Counter[tuple[str, float]] = Counter()
        """Attempts that another log has told of, which may be told of again."""

    def reads_another_log(self) -> None:
        """The next log may repeat what the one before has told: what was counted for an address at the same time."""
        self._told = self.window.recent(self._clock() - self.jail.findtime)

    def consider(self, failure: Failure, *, address: str | None = None) -> Judgement:
        """As `weigh`, of one failure."""
        return next(self.weigh((failure,), address=address))

    def weigh(self, failures: Sequence[Failure], *, address: str | None = None) -> Iterator[Judgement]:
        """Weigh failures of one host, in their order. `address` stands for the host where that is a name that has been resolved.

        A ban is to be taken note of (`banned`) before the next judgement is asked for. Raises nothing; a failure that tells
        of a known attempt again is REPEATED, whatever else may be true of it.
        """
        now = self._clock()
        times = [now if one.time is None or one.time > now else one.time for one in failures]
        try:
            source = address or canonical(failures[0].host)
        except ValueError:
            yield Judgement(Outcome.NO_ADDRESS, failures[0].host, failures, times)
            return
        subject = self.subject(source) if ":" in source else source
        # A network is the subject only where nobody in it is on the list.
        if subject == source and (why := self.ignore.reason(source)):
            yield Judgement(Outcome.IGNORED, source, failures, times, why, None, source)
            return
        weight = self._weight(subject) if self.jail.growth.increment else 1
        plain = self._plain(failures, times, source, now)
        while plain:
            if subject in self._banned:
                outcome, last = Outcome.ALREADY_BANNED, 0
            else:
                last = self.window.add_all(subject, plain, weight)
                outcome = Outcome.BAN if last else Outcome.COUNTED
            end = last or len(plain)
            if last and self.jail.maxusers and self._is_misconfigured(subject, source, times[last - 1]):
                if last > 1:
                    first = failures[: last - 1], times[: last - 1]
                    yield Judgement(Outcome.COUNTED, subject, *first, "", None, source, weight)
                outcome = Outcome.MISCONFIGURED
                failures, times, plain, end = failures[last - 1 :], times[last - 1 :], plain[last - 1 :], 1
            ban = self._ban(subject, now, failures[end - 1]) if outcome is Outcome.BAN else None
            yield Judgement(outcome, subject, failures[:end], times[:end], "", ban, source, weight)
            failures, times, plain = failures[end:], times[end:], plain[end:]
        for failure, time in zip(failures, times, strict=True):
            yield self._weigh_one(failure, source, subject, weight, time, now)

    def _plain(
        self, failures: Sequence[Failure], times: Sequence[float], source: str, now: float
    ) -> list[tuple[float, str]]:
        """Time and user of each, where every one is an attempt that counts, with nothing else to be asked; else nothing."""
        if self._told or self._scanner_weight > 1:
            return []
        oldest, told, alike = now - self.jail.findtime, self._knows_users, None
        found = []
        for failure, time in zip(failures, times, strict=True):
            if time < oldest or failure.evidence is not None:
                return []
            if failure.reader is None or failure.reader is not alike:  # those of one reader may have the same tags
                if not self.attempts.is_alone(source, failure.may_have):
                    return []
                alike = failure.reader
            found.append((time, (failure.user or "")[:LONGEST_USER] if told else ""))
        return found

    def _weigh_one(
        self, failure: Failure, source: str, subject: str, weight: int, time: float, now: float
    ) -> Judgement:
        if self._scanner_weight > 1 and failure.tag("scanner") is not None:
            weight *= self._scanner_weight
        outcome = self._count(failure, subject, source, time, now, weight)
        ban = self._ban(subject, now, failure) if outcome is Outcome.BAN else None
        return Judgement(outcome, subject, (failure,), (time,), "", ban, source, weight)

    def _count(self, failure: Failure, subject: str, source: str, time: float, now: float, weight: int) -> Outcome:
        evidence = failure.evidence
        doubtful = evidence is not None and (evidence in NO_GROUNDS or SCAN in failure.tags)
        if doubtful and not self._is_of_a_guesser(failure, subject, now):
            return self._count_scan(failure, subject, time)
        again = bool(self._told) and self._told[subject, time] > 0
        if again:
            self._told[subject, time] -= weight
        new = 0 if again else self.attempts.new(source, failure, time)
        if not new:
            return Outcome.REPEATED
        if time < now - self.jail.findtime:
            return Outcome.OLD
        if subject in self._banned:
            return Outcome.ALREADY_BANNED
        if evidence in STRONG:
            self._has_grounds = True
            self.grounds.add(subject, time, new * weight, evidence)
        user = (failure.user or "") if self._knows_users else ""
        if not self.window.add(subject, time, new * weight, user):
            return Outcome.COUNTED
        misconfigured = self.jail.maxusers and self._is_misconfigured(subject, source, time)
        return Outcome.MISCONFIGURED if misconfigured else Outcome.BAN

    def _is_of_a_guesser(self, failure: Failure, subject: str, now: float) -> bool:
        """Whether a proven call to nowhere, which a log tells of too, counts: beside failed logins, and nobody who has logged in.

        A carrier, or phones that are known by their address, call wrong numbers too, and fail to log in never.
        """
        if self._is_proven or failure.evidence != "proven" or failure.regex == NO_REGEX:
            return False
        return self.window.count(subject, now) > 0 and not self._logins.knows(subject, now)

    def _count_scan(self, failure: Failure, subject: str, time: float) -> Outcome:
        """What rests on no proof: only a jail that is told to bans for calls to nowhere, and nobody who has logged in."""
        if self.jail.mode != "scan" or SCAN not in failure.tags or self._logins.knows(subject, time):
            return Outcome.UNPROVEN
        if time < self._clock() - self.jail.findtime:
            return Outcome.OLD
        if subject in self._banned:
            return Outcome.ALREADY_BANNED
        return Outcome.BAN if self.scans.add(subject, time) else Outcome.COUNTED

    def welcome(self, success: Success) -> str:
        """Somebody has logged in: that user's failures at that address count no more, nobody else's do.

        Gives the address of which nothing is counted any more, if that is so now.
        """
        now = self._clock()
        try:
            source = canonical(success.host)
        except ValueError:
            return ""  # a log that names hosts
        self.welcomed.append(source)
        time = now if success.time is None else min(success.time, now)
        if self._is_proven:
            self._remember_login(source, time)
        subject = self.subject(source) if ":" in source else source
        self._logins.add(source if self._is_proven else subject, time)
        if subject not in self.window or not self.window.count(subject, now):
            return ""
        self.grounds.forget(subject)
        if success.user:
            self.window.forgive(subject, success.user, time)
        return "" if self.window.count(subject, now) else subject

    def _remember_login(self, source: str, time: float) -> None:
        """Somebody in this network is welcome: its other addresses are counted each for itself."""
        prefix = self.jail.ipv6prefix
        if prefix < 128 and ":" in source and not embeds_ipv4(source):
            self._logins.add(network_of(source, prefix), time)

    def challenge(self, challenge: Challenge) -> None:
        """Somebody was asked for credentials, or has given some. What comes of it, `overdue` tells later."""
        self.is_challenged = True
        now = self._clock()
        time = now if challenge.time is None else min(challenge.time, now)
        with contextlib.suppress(ValueError):
            address, user = canonical(challenge.host), challenge.user or ""
            session = challenge.tags.get("session", "")
            if challenge.answered:
                self._challenges.answered(address, user, session)
            else:
                self._challenges.sent(address, user, session, time)

    def overdue(self) -> list[Failure]:
        """The challenges that nobody has answered in time: each is to be weighed as a failure, once per user."""
        return [
            Failure(host, time, user=user, regex=NO_REGEX)
            for host, user, time in self._challenges.overdue(self._clock())
        ]

    def knows_users(self) -> None:
        """Logins are told from now on, by the wire: failures are to be kept by their users."""
        self._knows_users = True

    def shift(self, seconds: float) -> None:
        """The clock was set: every time that is kept moves with it."""
        for keeper in (self.window, self.scans, self.grounds, self.attempts, self._logins, self._challenges):
            keeper.shift(seconds)
        self._told.clear()

    def subject(self, address: str) -> str:
        """What is counted and banned for this address: itself, or its network (`ipv6prefix`).

        Itself where it stands for an IPv4 host, whose neighbours are strangers, and where the network holds one that must not
        be banned: the attacker next door would be safe otherwise.
        """
        if self.jail.ipv6prefix >= 128 or ":" not in address or "/" in address or embeds_ipv4(address):
            return address
        network = network_of(address, self.jail.ipv6prefix)
        if self._is_proven and self._logins.knows(network, self._clock()):
            return address  # a phone's neighbour is no reason to reject the phone
        return address if self.ignore.reason(network) else network

    def _is_misconfigured(self, subject: str, source: str, time: float) -> bool:
        jail = self.jail
        few = len(self.window.users(subject)) < jail.maxusers
        who = source if self._is_proven else subject
        return few and self._logins.excuse(who, time, jail.findtime, (PATIENCE - 1) * self.window.maxretry)

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
        return weight(self.jail.growth, self._earlier(address), self.window.maxretry)

    def _ban(self, address: str, now: float, last: Failure | None = None) -> Ban:
        self.window.forget(address)
        jail = self.jail
        failures = self.window.maxretry
        if self.jail.mode == "scan" and last is not None and last.tag(SCAN) is not None:
            self.scans.forget(address)
            unproven = last.evidence in NO_GROUNDS
            until = now + (min(jail.bantime, LONGEST_SCAN_BAN) if unproven else jail.bantime)
            reason = sys.intern(f"{failures} calls to nowhere within {jail.findtime:g} s")
            return Ban(address, jail.name, now, until, failures, reason=reason, evidence=last.evidence)
        # One text for all bans of the jail.
        reason = sys.intern(f"{failures} failure{'' if failures == 1 else 's'} within {jail.findtime:g} s")
        until = now + jail.bantime
        # Nothing has a class in lines of a log, without the wire.
        classed = last is not None and last.evidence is not None
        evidence = self._class_of(address, now, classed=classed) if classed or self._has_grounds else None
        return Ban(address, jail.name, now, until, failures, reason=reason, evidence=evidence)

    def _class_of(self, address: str, now: float, *, classed: bool) -> Evidence | None:
        """The weakest class of those failures that were enough for a ban by themselves.

        Where there are fewer, `reported` if the last one was `classed`, else None.
        """
        enough = self.grounds.count(address, now) >= self.window.maxretry
        found = self.grounds.users(address) if enough else set()
        self.grounds.forget(address)
        weakest = next((one for one in reversed(STRONG) if one in found), None)
        return weakest or ("reported" if classed else None)
