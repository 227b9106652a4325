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

from sipguard.detection.certain import AmbiguousDateError, CertainDates
from sipguard.detection.datefields import zone_of
from sipguard.detection.dates import DateFinder
from sipguard.detection.expressions import Expression, compile_all, has_id, union
from sipguard.detection.multiline import Groups, Line, Session, Sessions, joined, split_match
from sipguard.detection.prefilter import Prefilter, prefilter
from sipguard.detection.results import Counts, Examined
from sipguard.detection.tags import accused
from sipguard.errors import ConfigError
from sipguard.model import Clock, Failure, Filter

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
        self._finder = finder
        self._dates: DateFinder | CertainDates = finder
        self._prefilter = self._make_prefilter() if skim else None
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
        if not data:
            return []
        self.counts.lines += data.count(b"\n") + (not data.endswith(b"\n"))
        if self._prefilter is None:
            return self._read(data)
        return self._skim(data, self._prefilter)

    def _read(self, data: bytes) -> list[Failure]:
        """Line by line."""
        found = (self._process(line, None) for line in self._split(data))
        return [failure for failure in found if failure is not None]

    def _split(self, data: bytes) -> Iterable[str]:
        text = data.decode(self._encoding, "replace")
        return (line.rstrip("\r") for line in text.removesuffix("\n").split("\n"))

    def _skim(self, data: bytes, prefilter: Prefilter) -> list[Failure]:
        """The lines that can match, and of the others what those need."""
        failures = []
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

    def _give_up_skimming(self, data: bytes, end: int) -> list[Failure]:
        """Which of two dates a line means is told by the lines before it: read all, beginning with those at hand."""
        self._prefilter, self._dates, self._unread = None, self._finder, (b"", 0, 0)
        for line in self._split(data[:end]) if end else ():
            with suppress(TimeoutError):
                self._cut_date(line)
        return self._read(data[end:]) if data[end:] else []

    def examine(self, line: str, *, time: float | None = None) -> Examined:
        """Process one line like `feed`, and tell all about it.

        With `time` (POSIX seconds) the line carries its own, as in the journal: no date is searched or cut out.
        """
        if self._prefilter is not None:
            # All is asked about every line: nothing is left to skim.
            self._prefilter, self._dates = None, self._finder
        self.counts.lines += 1
        failure = self._process(line.rstrip("\r\n"), time)
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

    def _process(self, line: str, time: float | None) -> Failure | None:
        counts = self.counts
        counts.read += 1
        self._was_ignored = self._was_nofail = self._is_dated = False
        self._consumed = 0
        self._regex = self._line_time = self._date_format = None
        self._account = None
        try:
            if time is None:
                text = self._cut_date(line)
            else:
                text, self._last_time, self._line_time = line, time, time
            failure = self._match(text, line)
        except TimeoutError:
            counts.timed_out += 1
            return None
        if failure is not None:
            counts.failures += 1
        elif self._was_ignored:
            counts.ignored += 1
        return failure

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
