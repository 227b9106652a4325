"""Counts attempts instead of lines: an attempt counts once, however many lines a server writes about it.

A filter describes a line with tags of its own, which Fail2ban treats as ordinary named groups:

    <F-SESSION>  which lines belong together: the Call-ID; without it, all lines of one address do
    <F-SOURCE>   which of several reports of the same events it is from; `attempt_sources` lists them, the best first
    <F-PROBE>    the line tells of a request that an answer to a challenge may accompany or follow
    <F-ANSWER>   the line tells of that answer: a probe shortly before it was the same attempt
    <F-ONCE>     what the copies of one request have in common: a repetition is no further attempt
    <F-STRANGER> the answer's account does not exist, so that a probe was told of as well: one whose session was lost, if no other

and with keys of `[Definition]`, which Fail2ban ignores: `attempt_window`, the seconds within which lines can be about one
attempt, and `attempt_sources`. A filter without `attempt_window` counts lines, as Fail2ban does.

Session, user and answer are the attacker's text. So nothing here can lower a count beyond what one attempt explains:
every answer that differs from those before it is an attempt, in however few sessions they come.
"""

from __future__ import annotations

from collections import OrderedDict
from contextlib import suppress
from dataclasses import dataclass, field
from math import inf
from typing import TYPE_CHECKING

from sipguard.addresses import canonical
from sipguard.errors import ConfigError

if TYPE_CHECKING:
    from collections.abc import Collection, Iterable, Iterator, Sequence

    from sipguard.model import Failure, Filter

COPIES = 11
"""Most transmissions of one unanswered request (RFC 3261, 17.1.2.2: timer E, until 32 s). Further ones are not copies."""
_MORE = frozenset({"session", "source", "probe", "once"})
"""Tags that say more than that a line is an answer."""
_READ = ("source", "session", "once", "probe", "answer", "stranger")
_SESSIONS = 4096
"""Most sessions remembered."""
_REMEMBERED = 1000
"""Most copies and unanswered probes remembered per session."""


@dataclass(slots=True)
class _Report:
    """Reports of one source about one session. Times are in lists: an empty deque takes 760 bytes, and most are empty."""

    copies: dict[tuple[str, str], int] = field(default_factory=dict)
    probes: list[float] = field(default_factory=list)
    """Times of counted attempts whose answer has not been reported yet."""
    answered: bool = False
    counted: list[float] = field(default_factory=list)
    """Times when this source was counted."""

    def add(self, time: float, window: float, *, probe: bool, answer: bool, once: str | None) -> int:
        """1 when a line with these tags tells of an attempt that this source has not told of yet, else 0."""
        if once is not None and self._is_copy(once, probe):
            return 0
        if probe:
            _remember(self.probes, time)
        elif answer:
            self.answered = True
            if _taken(self.probes, time - window):
                return 0
        _remember(self.counted, time)
        return 1

    def _is_copy(self, once: str, probe: bool) -> bool:
        key = ("probe" if probe else "", once)
        copies = self.copies.get(key, 0) + 1
        if copies == 1 and len(self.copies) >= _REMEMBERED:
            return False
        self.copies[key] = copies
        # An answer's own line counts it; a probe repeated before each answer is not a separate attempt.
        return copies > 1 and (copies <= COPIES or (probe and self.answered))


@dataclass(slots=True)
class _Session:
    """Related lines of one address, until no line arrives for the length of the window."""

    last: float
    best: int
    reports: dict[int, _Report] = field(default_factory=dict)
    ahead: list[float] = field(default_factory=list)
    """Times when a worse source was counted for attempts that the best one has not reported yet."""


class Attempts:
    """Counts the attempts in one jail's failures. Times come from the log, in POSIX seconds."""

    def __init__(self, filter: Filter) -> None:  # noqa: A002 - the noun of the field
        """Raises ConfigError if `attempt_window` is not a number of seconds."""
        self._window = seconds(filter, "attempt_window")
        self._rank = {name: rank for rank, name in enumerate(filter.options.get("attempt_sources", "").split())}
        self._best = len(self._rank)
        """Rank of the best source seen so far."""
        self._sessions: OrderedDict[tuple[str, str], _Session] = OrderedDict()
        self._earliest = inf
        """No session that is not over by then is forgotten."""
        self._has_begun = False
        """Whether lines were counted that belong together."""

    def by_host(self, failures: Sequence[Failure]) -> Iterator[Sequence[Failure]]:
        """The failures of a log in parts, each to be counted before the next: one for each host, where none bears on another."""
        if self._best:
            yield from ((failure,) for failure in failures)
            return
        hosts: dict[str, list[Failure]] = {}
        for failure in failures:
            hosts.setdefault(failure.host, []).append(failure)
        if self._sessions:
            # What is too old for the last of one host is not for the first of the next.
            self._earliest = min((one.time for one in failures if one.time is not None), default=inf)
        yield from hosts.values()
        self._earliest = inf

    def new(self, address: str, failure: Failure, time: float) -> int:
        """Number of attempts that this failure adds; 0 if its attempt is already counted."""
        # What a line may have is asked first: mostly that is enough, and its tags need not be made.
        if self.is_alone(address, failure.may_have):
            return 1
        source, session_name, once, is_probe, is_answer, stranger = failure.some(_READ)
        probe, answer = is_probe is not None, is_answer is not None
        says_more = probe or source is not None or session_name is not None or once is not None
        if not says_more and self.is_alone(address, ("answer",) if answer else ()):
            return 1
        rank = self._rank.get(source or "", len(self._rank))
        self._best = min(self._best, rank)
        # A worse source can be forged (an ESC in Asterisk's NOTICE). If there is a better one, only that counts.
        if rank > self._best:
            return 0
        session = self._session((address, session_name or ""), time, rank)
        report = session.reports.get(rank)
        if report is None:
            report = session.reports[rank] = _Report()
        told = report.add(time, self._window, probe=probe, answer=answer, once=once)
        session.best = rank
        if not told or _taken(session.ahead, time - self._window):
            return 0
        return 0 if stranger is not None and self._had_lost_probe(address, rank, time) else 1

    def recall(self, failures: Iterable[Failure], now: float) -> None:
        """Know the attempts of lines that an earlier run has counted, oldest first: it may be in the midst of one.

        Whoever has counted further lines since knows them.
        """
        if self._has_begun or not self._window:
            return
        for failure in failures:
            with suppress(ValueError):
                self.new(canonical(failure.host), failure, now if failure.time is None else min(failure.time, now))
        self._has_begun = False

    def _had_lost_probe(self, address: str, rank: int, time: float) -> bool:
        """Whether a probe without session of this address, which no other answer was about, was counted shortly before."""
        lost = self._sessions.get((address, ""))
        report = lost.reports.get(rank) if lost is not None else None
        return report is not None and _taken(report.probes, time - self._window)

    def is_alone(self, address: str, names: Collection[str]) -> bool:
        """Whether a line with these tags is an attempt by itself: an answer that no probe came before is."""
        return not self._window or (
            _MORE.isdisjoint(names) and ("answer" not in names or not (self._rank or (address, "") in self._sessions))
        )

    def shift(self, seconds: float) -> None:
        """The clock was set, and the log's times with it: what is behind lies as far behind as before."""
        for session in self._sessions.values():
            session.last += seconds
            reports = session.reports.values()
            for times in (session.ahead, *(one.probes for one in reports), *(one.counted for one in reports)):
                times[:] = [time + seconds for time in times]

    def _session(self, key: tuple[str, str], time: float, rank: int) -> _Session:
        self._has_begun = True
        session = self._sessions.get(key)
        if session is None or time > session.last + self._window:
            session = self._sessions[key] = _Session(time, rank)
        elif rank < session.best:
            # The better source starts: it will also report the attempts counted by the worse one.
            _remember(session.ahead, *session.reports[session.best].counted)
        session.last = max(session.last, time)
        self._sessions.move_to_end(key)
        self._forget(min(time, self._earliest))
        return session

    def _forget(self, time: float) -> None:
        """Drop finished sessions, and the oldest if there are too many, a few at a time."""
        for _ in range(2):
            oldest = next(iter(self._sessions.values()))
            if len(self._sessions) <= _SESSIONS and time <= oldest.last + self._window:
                return
            self._sessions.popitem(last=False)


def _remember(times: list[float], *new: float) -> None:
    times += new
    del times[:-_REMEMBERED]


def _taken(times: list[float], since: float) -> bool:
    """Remove the oldest of `times` that is not before `since`; returns whether there was one."""
    while times:
        if times.pop(0) >= since:
            return True
    return False


def seconds(filter: Filter, key: str) -> float:  # noqa: A002
    """The number set for `key` in a filter's `[Definition]`, 0 if unset. Raises ConfigError if it is not a number."""
    text = filter.options.get(key) or "0"
    if text.replace(".", "", 1).isdecimal():
        return float(text)
    line = filter.lines.get(key)
    where = f"{filter.origin}:{line}" if line else filter.origin
    raise ConfigError(f"{key} = {text!r}: must be 0 or more", where)
