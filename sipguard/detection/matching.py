"""What one line tells: its date cut out, then prefregex, failregexes, ignoreregexes and sessions, in Fail2ban's meaning.

A `Matcher` sees lines in order, since dates, sessions and the buffer of lines depend on what came before. Which lines it
sees, and in which form, is `detector`'s affair. Log lines are partly written by attackers, so the searches for one line
have a time limit; a line that exceeds it is counted and skipped.
"""

from __future__ import annotations

import time as _time
from contextlib import suppress
from operator import itemgetter
from typing import TYPE_CHECKING

from sipguard.detection.auxiliary_events import AuxiliaryEvents
from sipguard.detection.expressions import Expression, compile_all, has_id, union, where
from sipguard.detection.multiline import Groups, Line, Session, Sessions, joined, split_match
from sipguard.detection.results import Examined
from sipguard.detection.tags import accused
from sipguard.detection.time_limit import timed
from sipguard.model import Challenge, Clock, Failure, Filter, Success

if TYPE_CHECKING:
    from collections.abc import Callable

    import regex

    from sipguard.detection.certain_dates import CertainDates
    from sipguard.detection.dates import DateFinder
    from sipguard.detection.results import Counts, Ready

_RECENT = 60.0
"""A line without a date takes the last one seen if that is no older than this, in seconds."""

_SLOW = 0.05
"""A search that takes more than this part of the time limit makes the line's time be counted."""

_INTERNAL = frozenset({"nofail", "mlfforget", "mlfgained", "content"})
"""Groups that steer the detection and say nothing of the failure."""


class Matcher:
    """The regexes of one filter, and what of one log they must remember."""

    def __init__(
        self,
        filter: Filter,  # noqa: A002 - the noun of the field
        dates: DateFinder | CertainDates,
        counts: Counts,
        *,
        clock: Clock,
        time_limit: float,
    ) -> None:
        """`time_limit` is in seconds of processor time. Raises ConfigError when a regex is wrong."""
        self.dates = dates
        self.counts = counts
        self.catch_up: Callable[[], None] = lambda: None
        """Called when a line has no date: whoever has left lines out shows those that may have one."""
        self._clock = clock
        self._limit = time_limit
        self._maxlines = max(1, filter.maxlines)
        self._compile(filter)
        self.aside = AuxiliaryEvents(filter)
        self._sessions = Sessions(clock)
        self._lines: list[Line] = []
        self._last_time: float | None = None
        self._account: float | None = None
        # About the last line:
        self.other: Success | Challenge | None = None
        """What it tells of that is no failure."""
        self.line_time: float | None = None
        self.was_ignored = self.was_nofail = self.is_dated = False
        self.consumed = 0
        self.regex: int | None = None

    def _compile(self, filter: Filter) -> None:  # noqa: A002
        multiline = self._maxlines > 1
        prefregex = (filter.prefregex,) if filter.prefregex else ()
        compiled = compile_all(prefregex, key="prefregex", where=where(filter, "prefregex"))
        self.prefregex: Expression | None = compiled[0] if compiled else None
        self.failregex = compile_all(
            filter.failregex,
            key="failregex",
            where=where(filter, "failregex"),
            multiline=multiline,
            needs_id=self.prefregex is None or not has_id(self.prefregex),
        )
        self._ignoreregex = compile_all(filter.ignoreregex, key="ignoreregex", where=where(filter, "ignoreregex"))
        every_holds = all(expression.holds for expression in self.failregex)
        self._any_failregex = None if every_holds else union(self.failregex, multiline=multiline)
        # Fail2ban's rule: few ignoreregexes are searched in the whole line, before anything else.
        self._ignore_first = bool(self._ignoreregex) and len(self._ignoreregex) < len(self.failregex) - 2

    @property
    def date_format(self) -> str | None:
        """The pattern that found the date of the last line."""
        return self.dates.format.name if self.is_dated and self.dates.format else None

    def process(self, line: str, time: float | None, *, trusted: bool = False) -> Failure | None:
        """The failure that `line` is or completes. `time` (POSIX seconds) is its own where it brings one, as in the journal.

        A success counts in a `trusted` line alone.
        """
        counts = self.counts
        counts.read += 1
        self.was_ignored = self.was_nofail = self.is_dated = False
        self.consumed = 0
        self.regex = self.line_time = self._account = self.other = None
        try:
            if time is None:
                text = self.cut_date(line)
            else:
                text, self._last_time, self.line_time = line, time, time
            failure = self._match(text, line)
            if failure is None and self.aside and not self.was_ignored:
                self._look_aside(text, trusted)
        except TimeoutError:
            counts.timed_out += 1
            return None
        if failure is not None:
            counts.failures += 1
        elif self.was_ignored:
            counts.ignored += 1
        return failure

    @property
    def is_plain(self) -> bool:
        """Whether a line is nothing but searched for the failregexes, one after another."""
        return self._maxlines == 1 and self.prefregex is None and not self._ignoreregex

    def took(self, number: int, time: float) -> None:
        """Count dated lines that somebody else has found to be failures, each with one search; `time` is the last one's."""
        counts = self.counts
        counts.searches += number
        counts.read += number
        counts.candidates += number
        counts.failures += number
        self._last_time = time

    def _look_aside(self, text: str, trusted: bool) -> None:
        """A line that is no failure: whether it is a login or a challenge, or not what it seems."""
        self.other = self.aside.event(text, self.line_time, self._search, trusted=trusted)
        if self.other is None and self.aside.is_tampered(text, self._search):
            self.counts.tampered += 1

    def left_out(self, line: str) -> Examined:
        """What there is to tell of a line in which nothing counts: its date."""
        self.is_dated = False
        with suppress(TimeoutError):
            self.cut_date(line)
        return Examined(False, False, None, None, self.date_format, None)

    def examined(self, one: Ready) -> Examined:
        readings = (self.process(text, one.time, trusted=one.trusted) for text in (one.text, *one.hung))
        failure = next((found for found in readings if found is not None), None)
        return Examined(
            matched=failure is not None,
            ignored=self.was_ignored,
            failure=failure,
            time=self.line_time,
            date_format=self.date_format,
            regex=self.regex,
            nofail=self.was_nofail,
            consumed=self.consumed,
        )

    def cut_date(self, line: str) -> str:
        """Set the time of the line, and give the line without its date."""
        dates = self.dates
        found: tuple[int, int, float | None] | None = dates.again(line)
        if found is None and (match := dates.find(line)) is not None:
            begin, end = match.span(1)
            if begin == end:
                # The pattern says that a date may be missing.
                self.catch_up()
                self.line_time = self._recent_time(self._clock())
                return line
            found = begin, end, dates.time_of(match)
        text = line
        if found is not None:
            begin, end, when = found
            text = line[:begin] + line[end:] if begin else line[end:]
            if when is not None:
                self.is_dated = True
                self._last_time = self.line_time = when
                return text
        self.counts.undated += 1
        self.catch_up()
        self.line_time = self._recent_time(None)
        return text if self.line_time is None else line

    def _recent_time(self, otherwise: float | None) -> float | None:
        last = self._last_time
        return last if last is not None and last > self._clock() - _RECENT else otherwise

    def _search(self, expression: Expression, text: str) -> regex.Match[str] | None:
        """Raises TimeoutError when the time for this line is used up.

        That is the thread's processor time. Asking for it takes as long as a search, so the line's account is opened by the
        first search that seems slow; each has the limit anyway.
        """
        self.counts.searches += 1
        limit = self._limit
        if self._account is not None:
            limit -= _time.thread_time() - self._account
            if limit <= 0:
                raise TimeoutError
        begun = _time.monotonic()
        match: regex.Match[str] | None = timed(expression.pattern.search, text, limit=limit)
        if self._account is None and _time.monotonic() - begun > self._limit * _SLOW:
            self._account = _time.thread_time()
        return match

    def _match(self, text: str, whole: str) -> Failure | None:
        """Look for a failure in a line without its date, and in the lines before it if the filter asks for it."""
        if self._maxlines > 1:
            self._lines = [*self._lines, Line(text, whole)][-self._maxlines :]
            subject = joined(self._lines)
        else:
            subject = text + "\n"
        if self._ignore_first and self._is_ignored(subject):
            return None
        lines = self._lines
        groups: Groups = {}
        if self.prefregex is not None:
            match = self._search(self.prefregex, subject)
            if match is None:
                return None
            groups = self.prefregex.groups_of(match)
            content = groups.pop("content", None)
            if content:
                subject = content + "\n"
                if self._maxlines > 1:
                    self._lines = [Line(content, whole)]
        self.counts.candidates += 1
        if self._any_failregex is not None and timed(self._any_failregex.search, subject, limit=self._limit) is None:
            return None
        return self._match_failregex(subject, lines if self._maxlines > 1 else [Line(text, whole)], groups)

    def _match_failregex(self, subject: str, lines: list[Line], common: Groups) -> Failure | None:
        """The first failregex that matches decides. `common` are the groups of prefregex."""
        for index, expression in enumerate(self.failregex):
            if expression.holds not in subject:
                continue
            match = self._search(expression, subject)
            if match is None:
                continue
            self.regex = index
            used = self._use_up(match, lines) if self._maxlines > 1 else lines
            if self._ignoreregex and self._is_ignored(joined(used) if self._maxlines > 1 else subject):
                return None
            if expression.is_simple and not common:
                failure = simple_failure(match, index, self.line_time, tuple(map(itemgetter(1), used)))
                if failure is None:
                    continue
                return failure
            groups = expression.groups_of(match)
            if common:
                # Of two groups of one name the one that took part wins, the failregex's if both did.
                groups = {**common, **{name: value for name, value in groups.items() if value is not None}}
            if groups.get("mlfid") is not None:
                return self._judge_session(index, groups, used)
            host, address = accused(groups)
            if host:
                self.was_nofail = bool(groups.get("nofail"))
                return None if self.was_nofail else self._failure(index, groups, used, host, address)
        return None

    def _use_up(self, match: regex.Match[str], lines: list[Line]) -> list[Line]:
        """The buffered lines that have matched: they are gone, also when they are ignored."""
        used, self._lines = split_match(match, lines)
        self.consumed = sum(line is not lines[-1] for line in used)
        return used

    def _is_ignored(self, subject: str) -> bool:
        for expression in self._ignoreregex:
            if expression.holds in subject and self._search(expression, subject) is not None:
                self.was_ignored = True
                return True
        return False

    def _judge_session(self, index: int, groups: Groups, used: list[Line]) -> Failure | None:
        """Whether a match is a failure by what is known of its session."""
        session = self._sessions.merge(groups["mlfid"] or "", groups, used)
        if session.groups.get("nofail"):
            self.was_nofail = True
            return None
        host, address = accused(session.groups)
        if not host:
            session.pending = True
            return None
        return self._failure(index, session.groups, used, host, address, session)

    def _failure(
        self,
        index: int,
        groups: Groups,
        used: list[Line],
        host: str,
        address: str | None,
        session: Session | None = None,
    ) -> Failure:
        tags = {name: value for name, value in groups.items() if value is not None and name not in _INTERNAL}
        if address and address != host:
            tags["ip"] = address
        user = groups.get("user")
        if session is None:
            users: tuple[str, ...] = (user,) if user else ()
            attempts, told = len(used), used
        else:
            users, attempts, told = tuple(sorted(session.users)), session.count, session.lines
        lines = tuple([line.whole for line in told])
        # By position: this is the most frequent call of an attack.
        return Failure(host, self.line_time, user, users, attempts, index, groups.get("mlfid"), lines, tags)


def simple_failure(match: regex.Match[str], index: int, time: float | None, lines: tuple[str, ...]) -> Failure | None:
    """The failure that the match of a regex tells of that `is_simple`, number `index`; None where it names nobody."""
    tags = {name: text for name, text in match.groupdict().items() if text is not None}
    host = tags.get("ip4") or tags.get("ip6") or tags.get("dns")
    if not host:
        return None
    user = tags.get("user")
    return Failure(host, time, user, (user,) if user else (), len(lines), index, None, lines, tags)
