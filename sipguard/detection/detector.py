"""From lines of log to failures: date, prefregex, failregexes, ignoreregexes, sessions, in Fail2ban's meaning.

One `Detector` reads one log, in order: dates, sessions and the buffer of lines depend on what came before. Log lines
are partly written by attackers, so the searches for one line have a time limit; a line that exceeds it is counted and
skipped.
"""

from __future__ import annotations

import codecs
import time as _time
from contextlib import suppress
from typing import TYPE_CHECKING

from sipguard.detection.aside import Aside
from sipguard.detection.certain import AmbiguousDateError, CertainDates
from sipguard.detection.datefields import zone_of
from sipguard.detection.dates import DateFinder
from sipguard.detection.expressions import Expression, compile_all, has_id, union
from sipguard.detection.multiline import Groups, Line, Session, Sessions, joined, split_match
from sipguard.detection.prefilter import Prefilter, prefilter
from sipguard.detection.results import Counts, Examined
from sipguard.detection.screen import Ready, Screen, declares
from sipguard.detection.tags import accused
from sipguard.errors import ConfigError
from sipguard.model import Challenge, Clock, Failure, Filter, LogEvent, Success

if TYPE_CHECKING:
    import re
    from collections.abc import Iterable

    import regex

__all__ = ["Counts", "Detector", "Examined"]

_RECENT = 60.0
"""A line without a date takes the last one seen if that is no older than this, in seconds."""

_SLOW = 0.05
"""A search that takes more than this part of the time limit makes the line's time be counted."""

_INTERNAL = frozenset({"nofail", "mlfforget", "mlfgained", "content"})
"""Groups that steer the detection and say nothing of the failure."""


class Detector:
    """Recognises failures in the lines of one log."""

    def __init__(
        self,
        filter: Filter,  # noqa: A002 - the noun of the field
        *,
        clock: Clock = _time.time,
        timezone: str | None = None,
        encoding: str = "utf-8",
        time_limit: float = 0.2,
        skim: bool = True,
    ) -> None:
        """`timezone` is that of dates without one, None the machine's; `time_limit` is in seconds of processor time.

        Without `skim`, `feed` reads every line, also those that cannot match: the same failures, slowly.

        Raises ConfigError naming file, line, key and regex when one does not compile, or names nobody to accuse; or
        when the date pattern, time zone or encoding is wrong.
        """
        self.counts = Counts()
        self._clock = clock
        self._limit = time_limit
        self._encoding = _codec(encoding)
        self._maxlines = max(1, filter.maxlines)
        self._compile(filter)
        try:
            finder = DateFinder(filter.datepattern, clock=clock, zone=zone_of(timezone), time_limit=time_limit)
        except ValueError as error:
            raise ConfigError(f"datepattern: {error}: {filter.datepattern!r}", _where(filter, "datepattern")) from None
        self._screen = Screen(filter, where=_where(filter, "recordstart")) if declares(filter) else None
        self._aside = Aside(filter, where=_where)
        self._other: Success | Challenge | None = None
        self._tampered = 0
        self._finder = finder
        self._dates: DateFinder | CertainDates = finder
        self._prefilter = self._make_prefilter() if skim and self._screen is None and not self._aside else None
        if self._prefilter is not None:
            self._dates = CertainDates(finder, clock)
        self._unread = (b"", 0, 0)
        self._sessions = Sessions(clock)
        self._lines: list[Line] = []
        self._last_time: float | None = None
        self._account: float | None = None
        # About the last line, for `examine`:
        self._line_time: float | None = None
        self._date_format: str | None = None
        self._was_ignored = self._was_nofail = self._is_dated = False
        self._consumed = 0
        self._regex: int | None = None

    def _compile(self, filter: Filter) -> None:  # noqa: A002
        multiline = self._maxlines > 1
        prefregex = (filter.prefregex,) if filter.prefregex else ()
        compiled = compile_all(prefregex, key="prefregex", where=_where(filter, "prefregex"))
        self._prefregex: Expression | None = compiled[0] if compiled else None
        self._failregex = compile_all(
            filter.failregex,
            key="failregex",
            where=_where(filter, "failregex"),
            multiline=multiline,
            needs_id=self._prefregex is None or not has_id(self._prefregex),
        )
        self._ignoreregex = compile_all(filter.ignoreregex, key="ignoreregex", where=_where(filter, "ignoreregex"))
        every_holds = all(expression.holds for expression in self._failregex)
        self._any_failregex = None if every_holds else union(self._failregex, multiline=multiline)
        # Fail2ban's rule: few ignoreregexes are searched in the whole line, before anything else.
        self._ignore_first = bool(self._ignoreregex) and len(self._ignoreregex) < len(self._failregex) - 2

    def _make_prefilter(self) -> Prefilter | None:
        if self._maxlines > 1:
            return None  # a match may begin in any line
        gate = self._prefregex.needs if self._prefregex is not None else ()
        formats = [form for form, _ in self._finder.formats]
        return prefilter([each.needs for each in self._failregex], gate, formats, self._encoding)

    def feed(self, data: bytes) -> list[Failure]:
        """The failures in `data`, which is whole lines ended by LF, following those fed before."""
        return [event for event in self.events(data) if isinstance(event, Failure)]

    def events(self, data: bytes) -> list[LogEvent]:
        """The failures, successes and challenges in `data`, as `feed`."""
        if not data:
            return []
        self.counts.lines += data.count(b"\n") + (not data.endswith(b"\n"))
        if self._prefilter is None:
            return self._read(data)
        return self._skim(data, self._prefilter)

    def entry(self, text: str, time: float) -> list[LogEvent]:
        """What one entry of the journal tells, that brings its own time (POSIX seconds)."""
        self._stop_skimming()
        self.counts.lines += 1
        return [event for one in self._screened(text) for event in self._event(one.text, time, trusted=one.trusted)]

    def flush(self) -> list[LogEvent]:
        """What was held back until more would come: nothing has come for seconds, or the log ends."""
        if self._screen is None:
            return []
        ready = self._screen.flush()
        self.counts.tampered = self._screen.tampered + self._tampered
        return [event for one in ready for event in self._event(one.text, None, trusted=one.trusted)]

    def _read(self, data: bytes) -> list[LogEvent]:
        """Line by line."""
        ready = (one for line in self._split(data) for one in self._screened(line))
        return [event for one in ready for event in self._event(one.text, None, trusted=one.trusted)]

    def _split(self, data: bytes) -> Iterable[str]:
        text = data.decode(self._encoding, "replace")
        return (line.rstrip("\r") for line in text.removesuffix("\n").split("\n"))

    def _skim(self, data: bytes, prefilter: Prefilter) -> list[LogEvent]:
        """The lines that can match, and of the others what those need."""
        failures: list[LogEvent] = []
        done = begin = 0
        try:
            for begin, end in prefilter.lines(data):
                self._unread = data, done, begin
                failure = self._process(data[begin:end].decode(self._encoding, "replace").rstrip("\r"), None)
                if failure is not None:
                    failures.append(failure)
                if self._is_dated:
                    done = end + 1
            begin = len(data)
            self._unread = data, done, begin
            self._catch_up()
        except AmbiguousDateError:
            return failures + self._give_up_skimming(data, begin)
        return failures

    def _catch_up(self) -> None:
        """Find the last date in the lines that were left out: it counts for a line that has none."""
        data, floor, end = self._unread
        self._unread = b"", 0, 0
        while end > floor:
            begin = max(data.rfind(b"\n", floor, end - 1) + 1, floor)
            self._is_dated = False
            with suppress(TimeoutError):
                self._cut_date(data[begin:end].decode(self._encoding, "replace").rstrip("\r\n"))
            if self._is_dated:
                return
            end = begin

    def _give_up_skimming(self, data: bytes, end: int) -> list[LogEvent]:
        """Which of two dates a line means is told by the lines before it: read all, beginning with those at hand."""
        self._prefilter, self._dates, self._unread = None, self._finder, (b"", 0, 0)
        for line in self._split(data[:end]) if end else ():
            with suppress(TimeoutError):
                self._cut_date(line)
        return self._read(data[end:]) if data[end:] else []

    def examine(self, line: str, *, time: float | None = None) -> Examined:
        """Process one line like `feed`, and tell all about it; of what was held back before it, see `examine_record`.

        With `time` (POSIX seconds) the line carries its own, as in the journal: no date is searched or cut out.
        """
        results = self.examine_record(line, time=time)
        return results[-1][1] if results else Examined(False, False, None, None, None, None)

    def examine_record(self, line: str, *, time: float | None = None) -> list[tuple[int, Examined]]:
        """Process one line, and tell all about those that it completes: (number of the line given, counted from 1, all)."""
        self._stop_skimming()
        self.counts.lines += 1
        return [
            (ready.number, self._examined(self._process(ready.text, time, trusted=ready.trusted)))
            for ready in self._screened(line.rstrip("\r\n"))
        ]

    def examine_rest(self) -> list[tuple[int, Examined]]:
        """As `examine_record`, when no more lines come."""
        rest = self._screen.flush() if self._screen is not None else []
        return [(one.number, self._examined(self._process(one.text, None, trusted=one.trusted))) for one in rest]

    @property
    def settled(self) -> int:
        """Up to which line, counted from 1, `examine_record` has told all."""
        return self.counts.lines if self._screen is None else self._screen.settled

    def _stop_skimming(self) -> None:
        """All is asked about every line: nothing is left to skim."""
        if self._prefilter is not None:
            self._prefilter, self._dates = None, self._finder

    def _examined(self, failure: Failure | None) -> Examined:
        return Examined(
            matched=failure is not None,
            ignored=self._was_ignored,
            failure=failure,
            time=self._line_time,
            date_format=self._date_format,
            regex=self._regex,
            nofail=self._was_nofail,
            consumed=self._consumed,
        )

    def _screened(self, line: str) -> list[Ready]:
        if self._screen is None:
            return [Ready(line, self.counts.lines, trusted=False)]
        try:
            ready = self._screen.push(line)
        except TimeoutError:
            self.counts.timed_out += 1
            return []
        self.counts.tampered = self._screen.tampered + self._tampered
        return ready

    def _event(self, line: str, time: float | None, *, trusted: bool) -> list[LogEvent]:
        failure = self._process(line, time, trusted=trusted)
        event = failure or self._other
        return [event] if event is not None else []

    def _process(self, line: str, time: float | None, *, trusted: bool = False) -> Failure | None:
        counts = self.counts
        counts.read += 1
        self._was_ignored = self._was_nofail = self._is_dated = False
        self._consumed = 0
        self._regex = self._line_time = self._date_format = None
        self._account = None
        self._other = None
        try:
            if time is None:
                text = self._cut_date(line)
            else:
                text, self._last_time, self._line_time = line, time, time
            failure = self._match(text, line)
            if failure is None and self._aside and not self._was_ignored:
                self._look_aside(text, trusted)
        except TimeoutError:
            counts.timed_out += 1
            return None
        if self._line_time is not None:
            counts.last = self._line_time
            if counts.first is None:
                counts.first = counts.last
        if failure is not None:
            counts.failures += 1
        elif self._was_ignored:
            counts.ignored += 1
        return failure

    def _look_aside(self, text: str, trusted: bool) -> None:
        """A line that is no failure: whether it is a login or a challenge, or not what it seems."""
        self._other = self._aside.event(text, self._line_time, self._search, trusted=trusted)
        if self._other is None and self._aside.is_tampered(text, self._search):
            self._tampered += 1
            self.counts.tampered += 1

    def _cut_date(self, line: str) -> str:
        """Set the time of the line, and give the line without its date."""
        dates = self._dates
        match = dates.find(line)
        text = line
        if match is not None:
            begin, end = match.span(1)
            if begin < end:
                text = line[:begin] + line[end:]
                when = dates.time_of(match)
                if when is not None:
                    self._is_dated = True
                    self._last_time = self._line_time = when
                    self._date_format = dates.format.name if dates.format else None
                    return text
            else:
                # The pattern says that a date may be missing.
                self._catch_up()
                self._line_time = self._recent_time(self._clock())
                return line
        self.counts.undated += 1
        self._catch_up()
        self._line_time = self._recent_time(None)
        return text if self._line_time is None else line

    def _recent_time(self, otherwise: float | None) -> float | None:
        last = self._last_time
        return last if last is not None and last > self._clock() - _RECENT else otherwise

    def _search(self, expression: Expression, text: str) -> re.Match[str] | regex.Match[str] | None:
        """Raises TimeoutError when the time for this line is used up.

        That is processor time: a machine that stands still for a moment costs no line. Asking for it takes as long
        as a search, so the line's account is opened by the first search that seems slow; each has the limit anyway.
        """
        self.counts.searches += 1
        if len(text) <= expression.safe_length:
            return expression.plain(text)
        limit = self._limit
        if self._account is not None:
            limit -= _time.thread_time() - self._account
            if limit <= 0:
                raise TimeoutError
        begun = _time.monotonic()
        match: regex.Match[str] | None = expression.search(text, timeout=limit)
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
        if self._prefregex is not None:
            match = self._search(self._prefregex, subject)
            if match is None:
                return None
            groups = self._prefregex.groups_of(match)
            content = groups.pop("content", None)
            if content:
                subject = content + "\n"
                if self._maxlines > 1:
                    self._lines = [Line(content, whole)]
        self.counts.candidates += 1
        if self._any_failregex is not None and self._any_failregex.search(subject, timeout=self._limit) is None:
            return None
        return self._match_failregex(subject, lines if self._maxlines > 1 else [Line(text, whole)], groups)

    def _match_failregex(self, subject: str, lines: list[Line], common: Groups) -> Failure | None:
        """The first failregex that matches decides. `common` are the groups of prefregex."""
        for index, expression in enumerate(self._failregex):
            if expression.holds not in subject:
                continue
            match = self._search(expression, subject)
            if match is None:
                continue
            self._regex = index
            used = lines
            if self._maxlines > 1:
                # What has matched is used up, also when it is ignored.
                used, self._lines = split_match(match, lines)
                self._consumed = sum(line is not lines[-1] for line in used)
            if self._ignoreregex and self._is_ignored(joined(used) if self._maxlines > 1 else subject):
                return None
            groups = expression.groups_of(match)
            if common:
                groups = {**common, **groups}
            if groups.get("mlfid") is not None:
                return self._judge_session(index, groups, used)
            host, address = accused(groups)
            if host:
                self._was_nofail = bool(groups.get("nofail"))
                return None if self._was_nofail else self._failure(index, groups, used, host, address)
        return None

    def _is_ignored(self, subject: str) -> bool:
        for expression in self._ignoreregex:
            if expression.holds in subject and self._search(expression, subject) is not None:
                self._was_ignored = True
                return True
        return False

    def _judge_session(self, index: int, groups: Groups, used: list[Line]) -> Failure | None:
        """Whether a match is a failure by what is known of its session."""
        session = self._sessions.merge(groups["mlfid"] or "", groups, used)
        if session.groups.get("nofail"):
            self._was_nofail = True
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
        return Failure(host, self._line_time, user, users, attempts, index, groups.get("mlfid"), lines, tags)


def _codec(encoding: str) -> str:
    """Raises ConfigError if there is no such encoding; `auto` is UTF-8."""
    if encoding.lower() == "auto":
        return "utf-8"
    try:
        return codecs.lookup(encoding).name
    except LookupError:
        raise ConfigError(f"encoding {encoding!r} is not known: give one like utf-8 or latin-1") from None


def _where(filter: Filter, key: str) -> str:  # noqa: A002
    line = filter.lines.get(key)
    origin = filter.origin or f"filter {filter.name}"
    return f"{origin}:{line}" if line is not None else origin
