"""From lines of log to failures: date, prefregex, failregexes, ignoreregexes, sessions, in Fail2ban's meaning.

One `Detector` reads one log, in order: dates, sessions and the buffer of lines depend on what came before. Log lines
are partly written by attackers, so the searches for one line have a time limit; a line that exceeds it is counted and
skipped.
"""

from __future__ import annotations

import codecs
import time as _time
from typing import TYPE_CHECKING

from sipguard.detection.aside import Aside
from sipguard.detection.datefields import zone_of
from sipguard.detection.dates import DateFinder
from sipguard.detection.expressions import Expression, compile_all, has_id, union
from sipguard.detection.multiline import Groups, Line, Session, Sessions, joined, split_match
from sipguard.detection.results import Counts, Examined
from sipguard.detection.screen import Ready, Screen, declares
from sipguard.detection.tags import accused
from sipguard.errors import ConfigError
from sipguard.model import Challenge, Clock, Failure, Filter, LogEvent, Success

if TYPE_CHECKING:
    from collections.abc import Callable

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
    ) -> None:
        """`timezone` is that of dates without one, None the machine's; `time_limit` is in seconds of processor time.

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
            self._dates = DateFinder(filter.datepattern, clock=clock, zone=zone_of(timezone), time_limit=time_limit)
        except ValueError as error:
            raise ConfigError(f"datepattern: {error}: {filter.datepattern!r}", _where(filter, "datepattern")) from None
        self._screen = Screen(filter, where=_where(filter, "recordstart")) if declares(filter) else None
        self._aside = Aside(filter, where=_where)
        self._other: Success | Challenge | None = None
        self._tampered = 0
        self._sessions = Sessions(clock)
        self._lines: list[Line] = []
        self._last_time: float | None = None
        self._account: float | None = None
        # About the last line, for `examine`:
        self._line_time: float | None = None
        self._date_format: str | None = None
        self._was_ignored = self._was_nofail = False
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
        self._any_failregex = union(self._failregex, multiline=multiline)
        # Fail2ban's rule: few ignoreregexes are searched in the whole line, before anything else.
        self._ignore_first = bool(self._ignoreregex) and len(self._ignoreregex) < len(self._failregex) - 2

    def feed(self, data: bytes) -> list[Failure]:
        """The failures in `data`, which is whole lines ended by LF, following those fed before."""
        return [event for event in self.events(data) if isinstance(event, Failure)]

    def events(self, data: bytes) -> list[LogEvent]:
        """The failures, successes and challenges in `data`, as `feed`."""
        events: list[LogEvent] = []
        text = data.decode(self._encoding, "replace")
        for line in text.removesuffix("\n").split("\n") if text else ():
            if self._screen is None:
                events += self._event(line.rstrip("\r"), None, trusted=False)
            else:
                for ready in self._screened(line.rstrip("\r")):
                    events += self._event(ready.text, None, trusted=ready.trusted)
        return events

    def entry(self, text: str, time: float) -> list[LogEvent]:
        """What one entry of the journal tells, that brings its own time (POSIX seconds)."""
        ready = self._screened(text) if self._screen is not None else [Ready(text, 1, trusted=False)]
        return [event for one in ready for event in self._event(one.text, time, trusted=one.trusted)]

    def flush(self) -> list[LogEvent]:
        """What was held back until more would come: nothing has come for seconds, or the log ends."""
        if self._screen is None:
            return []
        ready = self._screen.flush()
        self.counts.lines -= len(ready)
        self.counts.tampered = self._screen.tampered + self._tampered
        return [event for one in ready for event in self._event(one.text, None, trusted=one.trusted)]

    def examine(self, line: str, *, time: float | None = None) -> Examined:
        """Process one line like `feed`, and tell all about it; of what was held back before it, see `examine_record`.

        With `time` (POSIX seconds) the line carries its own, as in the journal: no date is searched or cut out.
        """
        results = self.examine_record(line, time=time)
        return results[-1][1] if results else Examined(False, False, None, None, None, None)

    def examine_record(self, line: str, *, time: float | None = None) -> list[tuple[int, Examined]]:
        """Process one line, and tell all about those that it completes: (number of the line given, counted from 1, all)."""
        line = line.rstrip("\r\n")
        if self._screen is None:
            failure = self._process(line, time)
            return [(self.counts.lines, self._examined(failure))]
        return [
            (ready.number, self._examined(self._process(ready.text, time, trusted=ready.trusted)))
            for ready in self._screened(line)
        ]

    def examine_rest(self) -> list[tuple[int, Examined]]:
        """As `examine_record`, when no more lines come."""
        if self._screen is None:
            return []
        rest = self._screen.flush()
        self.counts.lines -= len(rest)
        return [(one.number, self._examined(self._process(one.text, None, trusted=one.trusted))) for one in rest]

    @property
    def settled(self) -> int:
        """Up to which line, counted from 1, `examine_record` has told all."""
        return self.counts.lines if self._screen is None else self._screen.settled

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
        assert self._screen is not None  # noqa: S101 - told apart by the callers
        self.counts.lines += 1
        try:
            ready = self._screen.push(line)
        except TimeoutError:
            self.counts.timed_out += 1
            return []
        self.counts.lines -= len(ready)
        self.counts.tampered = self._screen.tampered + self._tampered
        return ready

    def _event(self, line: str, time: float | None, *, trusted: bool) -> list[LogEvent]:
        failure = self._process(line, time, trusted=trusted)
        event = failure or self._other
        return [event] if event is not None else []

    def _process(self, line: str, time: float | None, *, trusted: bool = False) -> Failure | None:
        counts = self.counts
        counts.lines += 1
        self._was_ignored = self._was_nofail = False
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
                    self._last_time = self._line_time = when
                    self._date_format = dates.format.name if dates.format else None
                    return text
            else:
                # The pattern says that a date may be missing.
                self._line_time = self._recent_time(self._clock())
                return line
        self.counts.undated += 1
        self._line_time = self._recent_time(None)
        return text if self._line_time is None else line

    def _recent_time(self, otherwise: float | None) -> float | None:
        last = self._last_time
        return last if last is not None and last > self._clock() - _RECENT else otherwise

    def _search(self, search: Callable[..., regex.Match[str] | None], text: str) -> regex.Match[str] | None:
        """Raises TimeoutError when the time for this line is used up.

        That is processor time: a machine that stands still for a moment costs no line. Asking for it takes as long
        as a search, so the line's account is opened by the first search that seems slow; each has the limit anyway.
        """
        limit = self._limit
        if self._account is not None:
            limit -= _time.thread_time() - self._account
            if limit <= 0:
                raise TimeoutError
        begun = _time.monotonic()
        match = search(text, timeout=limit)
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
            match = self._search(self._prefregex.search, subject)
            if match is None:
                return None
            groups = self._prefregex.groups_of(match)
            content = groups.pop("content", None)
            if content:
                subject = content + "\n"
                if self._maxlines > 1:
                    self._lines = [Line(content, whole)]
        self.counts.candidates += 1
        if self._any_failregex is not None and self._search(self._any_failregex.search, subject) is None:
            return None
        return self._match_failregex(subject, lines if self._maxlines > 1 else [Line(text, whole)], groups)

    def _match_failregex(self, subject: str, lines: list[Line], common: Groups) -> Failure | None:
        """The first failregex that matches decides. `common` are the groups of prefregex."""
        for index, expression in enumerate(self._failregex):
            match = self._search(expression.search, subject)
            if match is None:
                continue
            used, left = split_match(match, lines)
            self._regex = index
            if self._maxlines > 1:
                # What has matched is used up, also when it is ignored.
                self._lines = left
                self._consumed = sum(line is not lines[-1] for line in used)
            if self._is_ignored(joined(used) if self._maxlines > 1 else subject):
                return None
            groups = {**common, **expression.groups_of(match)}
            if groups.get("mlfid") is None and not accused(groups)[0]:
                continue
            return self._judge(index, groups, used)
        return None

    def _is_ignored(self, subject: str) -> bool:
        for expression in self._ignoreregex:
            if self._search(expression.search, subject) is not None:
                self._was_ignored = True
                return True
        return False

    def _judge(self, index: int, groups: Groups, used: list[Line]) -> Failure | None:
        """Whether a match is a failure by what is known of its session, and if so, whose."""
        key = groups.get("mlfid")
        session: Session | None = None
        if key is not None:
            session = self._sessions.merge(key, groups, used)
            groups = session.groups
        if groups.get("nofail"):
            self._was_nofail = True
            return None
        host, address = accused(groups)
        if not host:
            if session is not None:
                session.pending = True
            return None
        tags = {name: value for name, value in groups.items() if value is not None and name not in _INTERNAL}
        if address and address != host:
            tags["ip"] = address
        user = groups.get("user")
        users = session.users if session is not None else ({user} if user else ())
        return Failure(
            host=host,
            time=self._line_time,
            user=user,
            users=tuple(sorted(users)),
            attempts=session.count if session is not None else len(used),
            regex=index,
            session=key,
            lines=tuple(line.whole for line in (session.lines if session is not None else used)),
            tags=tags,
        )


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
