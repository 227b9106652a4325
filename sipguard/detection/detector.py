"""From a log to what it tells: which lines are read, in which form, and what `matching` makes of them.

One `Detector` reads one log, in order. A filter may declare that its server writes records, not lines (`screen`). Where it
can be known from the bytes alone that a line cannot matter, it is left out (`prefilter`): the same events, much faster.
"""

from __future__ import annotations

import time as _time
from contextlib import suppress
from math import inf
from typing import TYPE_CHECKING

from sipguard.detection.certain import AmbiguousDateError, CertainDates
from sipguard.detection.datefields import zone_of
from sipguard.detection.dates import DateFinder
from sipguard.detection.encodings import codec_of, is_wide, line_decoder
from sipguard.detection.express import Express
from sipguard.detection.matching import Matcher, where
from sipguard.detection.prefilter import Prefilter, prefilter
from sipguard.detection.record_assembler import Ready, RecordAssembler
from sipguard.detection.record_rule import declares
from sipguard.detection.results import Counts, Examined
from sipguard.detection.search import count_lines
from sipguard.detection.wrappers import Wrappers
from sipguard.errors import ConfigError
from sipguard.model import Clock, Failure, Filter, LogEvent

if TYPE_CHECKING:
    from collections.abc import Iterable

    from sipguard.detection.search import Pool

__all__ = ["Counts", "Detector", "Examined"]


class Detector:
    """Recognises failures, and what else matters, in one log."""

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

        Without `skim`, every line is read, also those that cannot matter: the same events, slowly.

        Raises ConfigError naming file, line, key and regex when one does not compile, or names nobody to accuse; or
        when the date pattern, time zone or encoding is wrong.
        """
        self.counts = Counts()
        self._encoding = _codec(encoding)
        self._decode = line_decoder(self._encoding)
        try:
            finder = DateFinder(filter.datepattern, clock=clock, zone=zone_of(timezone), time_limit=time_limit)
        except ValueError as error:
            raise ConfigError(f"datepattern: {error}: {filter.datepattern!r}", where(filter, "datepattern")) from None
        self._finder = finder
        self._matcher = Matcher(filter, finder, self.counts, clock=clock, time_limit=time_limit)
        self._screen: RecordAssembler | None = None
        if declares(filter):
            self._screen = RecordAssembler(filter, where=where(filter, "recordstart"), decode=self._decode)
        self._trusts = True
        """Whether logins can still count: not in a log that others could have written into."""
        # With maxlines a match may begin in any line.
        self._prefilter = self._make_prefilter() if skim and filter.maxlines <= 1 else None
        self._wrappers = Wrappers()
        self._pool: Pool | None = None
        self._express: Express | None = None
        self._unread = (b"", 0, 0)
        self._before = (b"", 0)
        """The data at hand and where in it the present line begins: what is before it tells which of two dates it means."""
        if self._prefilter is not None:
            dates = self._matcher.dates = CertainDates(finder, clock)
            if Express.serves(self._matcher):
                self._express = Express(self._matcher, dates, self._screen, self._encoding)
            if self._screen is None:
                self._matcher.catch_up = self._catch_up

    def share(self, pool: Pool) -> None:
        """Search together with the other detectors that read the same log."""
        self._pool = pool
        if self._prefilter is not None:
            self._prefilter.share(pool)

    def _make_prefilter(self) -> Prefilter | None:
        """For the lines that may match, and those that the stage before the regexes must see."""
        matcher = self._matcher
        gate = matcher.prefregex.needs if matcher.prefregex is not None else ()
        wanted = [*matcher.failregex, *matcher.aside.expressions(trusted=self._trusts)]
        if self._screen is not None:
            wanted += self._screen.expressions
        if len(wanted) > len(matcher.failregex):
            gate = ()
        formats = [form for form, _ in self._finder.formats]
        return prefilter([each.needs for each in wanted], gate, formats, self._encoding)

    def feed(self, data: bytes) -> list[Failure]:
        """The failures in `data`, which is whole lines ended by LF, following those fed before."""
        return [event for event in self.events(data) if isinstance(event, Failure)]

    def events(self, data: bytes) -> list[LogEvent]:
        """The failures, successes and challenges in `data`, as `feed`."""
        data = self._wrappers.lines(data)
        if not data:
            return []
        if self._screen is None:
            return self._events(data)
        self._screen.begin_chunk(data)
        events = self._events(data)
        self._screen.end_chunk(data)
        return events

    def _events(self, data: bytes) -> list[LogEvent]:
        if self._prefilter is None:
            self.counts.lines += count_lines(data)
            return self._read(data)
        self.counts.lines += self._prefilter.line_count(data)
        if self._screen is None:
            return self._skim(data, self._prefilter.lines(data))
        if self._trusts and self._screen.is_mixed:
            self._trusts = False
            self._prefilter = self._make_prefilter() or self._prefilter
            if self._pool is not None:
                self._prefilter.share(self._pool)
        return self._skim(data, self._prefilter.lines(data) if self._screen.can_skip(data) else None)

    def entry(self, text: str, time: float) -> list[LogEvent]:
        """What one entry of the journal tells, that brings its own time (POSIX seconds)."""
        self.counts.lines += 1
        events: list[LogEvent] = []
        if self._screen is None:
            self._event(text, time, events, trusted=False)
        else:
            self._take(text.encode(self._encoding, "replace"), time, events)
        return events

    @property
    def holds(self) -> bool:
        """Whether something is held back until more comes, or the log turns out to end here: ask `release`."""
        return self._screen is not None and self._screen.busy

    @property
    def held_bytes(self) -> int:
        """How many bytes before the end of what was fed the record begins that is held back."""
        return self._screen.held_bytes if self._screen is not None and self._wrappers.is_plain else 0

    def release(self, idle: float) -> list[LogEvent]:
        """What was held back until more would come: nothing has come for `idle` seconds, and the log ends here."""
        events: list[LogEvent] = []
        for one in self._released(idle):
            self._event(one.text, one.time, events, trusted=one.trusted)
        return events

    def flush(self) -> list[LogEvent]:
        """As `release`, when nothing more comes."""
        return self.release(inf)

    def _read(self, data: bytes) -> list[LogEvent]:
        """Line by line."""
        events: list[LogEvent] = []
        if self._screen is None:
            for line in self._split(data):
                self._event(line, None, events, trusted=False)
            return events
        begin = 0
        while begin < len(data):
            end = _line_end(data, begin)
            self._at(data, begin, end, events)
            begin = end + 1
        return events

    def _split(self, data: bytes) -> Iterable[str]:
        if is_wide(self._encoding):
            return (self._decode(line).rstrip("\r") for line in data.removesuffix(b"\n").split(b"\n"))
        return (line.rstrip("\r") for line in self._decode(data).removesuffix("\n").split("\n"))

    def _skim(self, data: bytes, wanted: list[tuple[int, int]] | None) -> list[LogEvent]:
        """The lines that can matter (None: all), and of the others what those need: all that follow while a record is open."""
        events: list[LogEvent] = []
        screen, matcher = self._screen, self._matcher
        lines = self._with_mixed(wanted or [])
        position = done = number = 0
        while True:
            self._end_record(data, position, events)
            if self._express is not None and wanted is not None and not (screen and screen.busy):
                taken = self._express.take(data, lines, number, events)
                if taken > number:
                    number, position = taken, lines[taken - 1][1] + 1
                    done = position
            begin, end = lines[number] if number < len(lines) else (len(data), -1)
            while position < begin and (wanted is None or self._prefilter is None or (screen and screen.busy)):
                stop = _line_end(data, position)
                self._at(data, position, stop, events, wanted=wanted is None)
                position = stop + 1
            if end < 0:
                break
            number += 1
            if begin < position:
                continue
            self._unread = data, done, begin
            self._at(data, begin, end, events)
            position = end + 1
            if matcher.is_dated:
                done = position
        if screen is None and self._prefilter is not None:
            self._unread = data, done, len(data)
            try:
                self._catch_up()
            except AmbiguousDateError:
                self._stop_skimming(data)
        return events

    def _end_record(self, data: bytes, position: int, events: list[LogEvent]) -> None:
        """Add what the record under way tells, if the line at `position` begins another."""
        screen = self._screen
        if screen is not None and screen.busy and position < len(data):
            for one in screen.ended_by(data[position : _line_end(data, position)]):
                self._event(one.text, one.time, events, trusted=one.trusted)
            self._count(screen)

    def _with_mixed(self, lines: list[tuple[int, int]]) -> list[tuple[int, int]]:
        """With the line from which on nothing is trusted."""
        mixed = self._screen.first_mixed if self._screen is not None else None
        return sorted({*lines, mixed}) if mixed is not None else lines

    def _at(self, data: bytes, begin: int, end: int, events: list[LogEvent], *, wanted: bool = True) -> None:
        """Add what the line from `begin` to `end`, its LF, tells; unless it is `wanted`, of the records before it alone."""
        self._before = data, begin
        screen = self._screen
        if screen is None:
            self._event(self._decode(data[begin:end]).rstrip("\r"), None, events, trusted=False)
        elif screen.is_behind_session(data, begin):
            screen.skip()
        else:
            self._take(data[begin:end], None, events, wanted=wanted)

    def _stop_skimming(self, before: bytes) -> None:
        """Read every line from now on, for their dates: those of `before` are at hand."""
        self._read_all()
        for line in self._split(before) if before else ():
            with suppress(TimeoutError):
                self._matcher.cut_date(line)

    def _read_all(self) -> None:
        self._prefilter, self._matcher.dates, self._unread = None, self._finder, (b"", 0, 0)
        self._express = None
        self._matcher.catch_up = lambda: None

    def _take(self, raw: bytes, time: float | None, events: list[LogEvent], *, wanted: bool = True) -> None:
        """Add what the records tell that a line completes; the one that it is itself only if it is `wanted`."""
        for one in self._screened(raw, time):
            if wanted or self._screen is None or one.number != self._screen.pushed:
                self._event(one.text, one.time, events, trusted=one.trusted)

    def _catch_up(self) -> None:
        """Find the last date in the lines that were left out: it counts for a line that has none."""
        data, floor, end = self._unread
        self._unread = b"", 0, 0
        while end > floor:
            begin = max(data.rfind(b"\n", floor, end - 1) + 1, floor)
            self._matcher.is_dated = False
            with suppress(TimeoutError):
                self._matcher.cut_date(self._decode(data[begin:end]).rstrip("\r\n"))
            if self._matcher.is_dated:
                return
            end = begin

    def _event(self, line: str, time: float | None, events: list[LogEvent], *, trusted: bool) -> None:
        try:
            failure = self._matcher.process(line, time, trusted=trusted)
        except AmbiguousDateError:
            data, begin = self._before
            self._stop_skimming(data[:begin])
            failure = self._matcher.process(line, time, trusted=trusted)
        event = failure or self._matcher.other
        if event is not None:
            events.append(event)

    def _screened(self, raw: bytes, time: float | None) -> list[Ready]:
        assert self._screen is not None  # noqa: S101 - told apart by the callers
        try:
            ready = self._screen.push(raw, time)
        except TimeoutError:
            self.counts.timed_out += 1
            return []
        self._count(self._screen)
        return ready

    def _released(self, idle: float) -> list[Ready]:
        if self._screen is None:
            return []
        try:
            ready = self._screen.release(idle)
        except TimeoutError:
            self.counts.timed_out += 1
            return []
        self._count(self._screen)
        return ready

    def _count(self, screen: RecordAssembler) -> None:
        counts = self.counts
        counts.tampered = screen.tampered + self._matcher.tampered
        counts.by_header, counts.at_end = screen.by_header, screen.at_end

    def examine(self, line: str, *, time: float | None = None) -> Examined:
        """Process one line like `feed`, and tell all about it; of what was held back before it, see `examine_record`.

        With `time` (POSIX seconds) the line carries its own, as in the journal: no date is searched or cut out.
        """
        results = self.examine_record(line, time=time)
        return results[-1][1] if results else Examined(False, False, None, None, None, None)

    def examine_record(self, line: str, *, time: float | None = None) -> list[tuple[int, Examined]]:
        """Process one line, and tell all about those that it completes: (number of the line given, counted from 1, all)."""
        if self._prefilter is not None:
            self._read_all()  # all is asked about every line: nothing is left to skim
        self.counts.lines += 1
        raw = self._wrappers.lines(line.rstrip("\r\n").encode(self._encoding, "replace") + b"\n")
        results: list[tuple[int, Examined]] = []
        for inner in raw.removesuffix(b"\n").split(b"\n") if raw else ():
            results += self._examine(inner, time)
        return results

    def _examine(self, raw: bytes, time: float | None) -> list[tuple[int, Examined]]:
        if self._screen is None:
            line = self._decode(raw).rstrip("\r")
            return [(self.counts.lines, self._examined(Ready(line, self.counts.lines, trusted=False, time=time)))]
        if self._screen.is_behind_session(raw + b"\n", 0):
            self._screen.skip()
            ready = []
        else:
            ready = self._screened(raw, time)
        self._screen.end_chunk(raw + b"\n")
        return [(one.number, self._examined(one)) for one in ready]

    def examine_rest(self) -> list[tuple[int, Examined]]:
        """As `examine_record`, when no more lines come."""
        return [(one.number, self._examined(one)) for one in self._released(inf)]

    @property
    def settled(self) -> int:
        """Up to which line, counted from 1, `examine_record` has told all."""
        return self.counts.lines if self._screen is None else self._screen.settled

    def _examined(self, one: Ready) -> Examined:
        matcher = self._matcher
        failure = matcher.process(one.text, one.time, trusted=one.trusted)
        return Examined(
            matched=failure is not None,
            ignored=matcher.was_ignored,
            failure=failure,
            time=matcher.line_time,
            date_format=matcher.date_format,
            regex=matcher.regex,
            nofail=matcher.was_nofail,
            consumed=matcher.consumed,
        )


def _line_end(data: bytes, begin: int) -> int:
    """Where the LF of the line is that begins there, or the end of the data."""
    end = data.find(b"\n", begin)
    return len(data) if end < 0 else end


def _codec(encoding: str) -> str:
    """Raises ConfigError if there is no such encoding of text; `auto` is UTF-8."""
    try:
        return codec_of(encoding)
    except LookupError:
        raise ConfigError(f"encoding {encoding!r} is not known: give one like utf-8 or latin-1") from None
