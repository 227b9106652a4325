"""Turns the bytes of one log into events, by two ways that tell the same.

The exact way (`matching`) reads line by line what a filter's regexes say, behind the stage that knows a server's records
(`record_assembler`). The fast way leaves out the lines that cannot matter (`candidates`) and takes the plain ones in one search
each (`scan`). `Detector` is the switch between them.
"""

from __future__ import annotations

import re
import time as _time
from contextlib import suppress
from dataclasses import replace
from functools import partial
from math import inf
from typing import cast

from sipguard.detection.candidates import Candidates, also, candidates, undated
from sipguard.detection.certain_dates import AmbiguousDateError, CertainDates
from sipguard.detection.datefields import zone_of
from sipguard.detection.dates import DateFinder
from sipguard.detection.encodings import codec_of, count_lines, decoded_lines, line_decoder
from sipguard.detection.expressions import where
from sipguard.detection.literals import meets
from sipguard.detection.matching import Matcher
from sipguard.detection.plain_rule import PlainRule
from sipguard.detection.record_assembler import RecordAssembler
from sipguard.detection.record_rule import declares
from sipguard.detection.results import Counts, Examined, Ready
from sipguard.detection.scan import PlainLines
from sipguard.detection.time_limit import SEARCH_LIMIT
from sipguard.detection.wrappers import Wrappers
from sipguard.errors import ConfigError
from sipguard.model import Clock, Failure, Filter, LogEvent

_LINE_END = re.compile(rb"(?<!\r)\r++\n")


class Detector:
    """Recognises failures, and what else matters, in one log."""

    def __init__(
        self,
        filter: Filter,  # noqa: A002 - the noun of the field
        *,
        clock: Clock = _time.time,
        timezone: str | None = None,
        encoding: str = "utf-8",
        time_limit: float = SEARCH_LIMIT,
        fast: bool = True,
    ) -> None:
        """`timezone` is that of dates without one, None the machine's; `time_limit` is in seconds of processor time.
        Without `fast`, every line is read by the exact way, also those that cannot matter: the same events, slowly.
        Raises ConfigError naming file, line and key when a regex, date pattern, time zone or encoding is wrong.
        """
        self.counts = Counts()
        try:
            self._encoding = codec_of(encoding)
        except LookupError:
            raise ConfigError(f"encoding {encoding!r} is not known: give one like utf-8 or latin-1") from None
        self._decode = line_decoder(self._encoding)
        try:
            finder = DateFinder(filter.datepattern, clock=clock, zone=zone_of(timezone), time_limit=time_limit)
        except ValueError as error:
            raise ConfigError(f"datepattern: {error}: {filter.datepattern!r}", where(filter, "datepattern")) from None
        self._finder, self._formats = finder, tuple(form for form, _ in finder.formats)
        self._matcher = Matcher(filter, finder, self.counts, clock=clock, time_limit=time_limit)
        assembler = partial(RecordAssembler, filter, self.counts, decode=self._decode, accuses=self._may_accuse)
        self._screen = assembler() if declares(filter) else None
        self.looked_back: list[Failure] = []  # what was told before, until somebody clears it
        self._wrappers = Wrappers()
        self._known = 0  # lines that somebody else has told of
        self._trusts = True
        """Whether logins can still count: not in a log that others could have written into."""
        # With maxlines a match may begin in any line.
        self._candidates = self._make_candidates() if fast and filter.maxlines <= 1 else None
        self._plain: PlainLines | None = None
        self._unread = (b"", 0, 0)
        self._before = (b"", 0)
        """The data at hand and where in it the present line begins: what is before it tells which of two dates it means."""
        if self._candidates is not None:
            dates = self._matcher.dates = CertainDates(finder, clock)
            if PlainLines.serves(self._matcher):
                self._plain = PlainLines(self._matcher, dates, clock)
            if self._screen is None:
                self._matcher.catch_up = self._catch_up

    def _make_candidates(self) -> Candidates | None:
        """For the lines that may match, and those that the stage before the regexes must see."""
        matcher = self._matcher
        gate = matcher.prefregex.needs if matcher.prefregex is not None else ()
        wanted = [*matcher.failregex, *matcher.aside.expressions(trusted=self._trusts)]
        rule = self._screen.rule if self._screen is not None else None
        wanted += rule.watched if rule is not None else ()
        if len(wanted) > len(matcher.failregex):
            gate = ()
        json = rule is not None and bool(rule.json)
        return candidates([each.needs for each in wanted], gate, self._formats, self._encoding, json=json)

    def _may_accuse(self, line: str) -> bool:
        """Whether a line has what one of the regexes needs."""
        return any(meets(line, undated(tuple(each.needs), self._formats)) for each in self._matcher.failregex)

    def feed(self, data: bytes) -> list[Failure]:
        """The failures in `data`: whole lines ended by LF, following those fed before; or the end of a file that lacks its LF."""
        return [event for event in self.events(data) if isinstance(event, Failure)]

    def look_back(self, data: bytes) -> None:
        """Read whole lines, told of before, that stand before the first that is fed: it may be a part of what they begin."""
        events, screen = self.events(data), self._screen
        for one in screen.close_record() if screen is not None else ():
            self._tell(one, events)
        self._known = screen.pushed if screen is not None else 0
        self.looked_back = [event for event in events if isinstance(event, Failure)]

    def events(self, data: bytes) -> list[LogEvent]:
        """The failures, successes and challenges in `data`, as `feed`."""
        if data and not data.endswith(b"\n"):
            if self._screen is not None and self._screen.rule.has_records:
                return self._events_before_end(data, self._screen)
            data += b"\n"
        data = data if self._wrappers.is_plain else self._wrappers.lines(data)
        if not data:
            return []
        self.counts.lines += count_lines(data)
        screen, search = self._screen, self._candidates
        if screen is None:
            return self._unscreened(data)
        screen.begin_chunk(data)
        if search is None or (screen.rule.mixed is not None and not screen.can_skip(data)):
            events = self._read(data)
        elif data.index(b"\n") == len(data) - 1:
            events = []  # one line, as quiet logs give them: there is nothing to search through
            if screen.busy:
                self._end_record(data, 0, events)
            if screen.busy or screen.first_mixed is not None or search.may_match(data):
                self._at(data, 0, len(data) - 1, events)
        else:
            rule = screen.rule.plain(is_mixed=screen.is_mixed)
            # The bytes of a packet are counted with its line ends: they stay, and lines that have them are not plain.
            rule = replace(rule, never=(*rule.never, r"\r")) if b"\r" in data else rule
            events = self._skim(data, search, rule)
        if screen.may_have_strangers:
            screen.end_chunk(data)
        return events

    def _unscreened(self, data: bytes) -> list[LogEvent]:
        """What lines tell that need no stage before the regexes."""
        if self._candidates is None:
            return self._read(data)
        if b"\r" in data:
            data = _LINE_END.sub(b"\n", data)  # as every line is stripped of it, wherever it goes
        return self._skim(data, self._candidates, PlainRule())

    def _events_before_end(self, data: bytes, screen: RecordAssembler) -> list[LogEvent]:
        """As `events`, of a file that ends within a line, which tells nothing: its server may have meant to write more."""
        whole, newline, rest = data.rpartition(b"\n")
        events = self.events(whole + newline) if newline else []
        self.counts.lines += 1
        screen.break_off(self._decode(rest))
        return events

    def entry(self, text: str, time: float) -> list[LogEvent]:
        """What one entry of the journal tells, that brings its own time (POSIX seconds)."""
        self.counts.lines += 1
        events: list[LogEvent] = []
        raw = text.encode(self._encoding, "replace")
        self._at(raw, 0, len(raw), events, time)
        return events

    @property
    def held(self) -> int | None:
        """How many bytes before the end of what was fed the record begins that is held back until more comes: see `release`.

        None where nothing is held back.
        """
        size = None if self._screen is None else self._screen.held
        return size if size is None or self._wrappers.is_plain else 0

    def release(self, idle: float) -> list[LogEvent]:
        """What was held back until more would come: nothing has come for `idle` seconds, and the log ends here."""
        events: list[LogEvent] = []
        for one in self._screen.release(idle) if self._screen is not None else ():
            self._tell(one, events)
        return events

    def flush(self) -> list[LogEvent]:
        """As `release`, when nothing more comes."""
        return self.release(inf)

    def _read(self, data: bytes, begin: int = 0) -> list[LogEvent]:
        """Line by line, from the line at `begin` on: where in its chunk a line stands can tell whose it is."""
        events: list[LogEvent] = []
        if self._screen is None:
            for line in decoded_lines(data[begin:], self._encoding) if begin < len(data) else ():
                self._tell(Ready(line, self.counts.read + 1, trusted=False), events)
            return events
        while begin < len(data):
            end = data.index(b"\n", begin)
            self._at(data, begin, end, events)
            begin = end + 1
        return events

    def _skim(  # noqa: C901, PLR0912 - one loop over a chunk
        self, data: bytes, search: Candidates, rule: PlainRule
    ) -> list[LogEvent]:
        """The lines that can matter, and of the others what those need: all that follow while a record is open."""
        events: list[LogEvent] = []
        screen, matcher, plain, size = self._screen, self._matcher, self._plain, len(data)
        next_line = search.lines(data)
        if screen is not None and screen.first_mixed is not None:
            next_line = also(next_line, screen.first_mixed[0])
        if plain is not None:
            plain.begin(data, rule)
        position, done, read = 0, 0, matcher.counts.read
        while position < size:
            begin = position
            if screen is not None and screen.busy:
                self._end_record(data, position, events)
            if screen is None or not screen.busy:
                before = len(events)
                begin = next_line(position) if plain is None else plain.take(position, events, next_line)
                if screen is not None and plain is not None and len(events) > before:
                    self._leave_tails(data, before, events, screen)
                if begin >= size:
                    break
            if plain is not None:
                done = max(done, plain.behind)
            end = data.find(b"\n", begin)
            self._unread = data, done, begin
            self._at(data, begin, end, events)
            position = end + 1
            if matcher.is_dated:
                done = position
            if self._candidates is None:
                events += self._read(data, position)  # a date that can be read in two ways: from here on line by line
                break
            if self._trusts and screen is not None and screen.is_mixed:
                self._trusts = False
                search = self._candidates = self._make_candidates() or search
                next_line = search.lines(data)
        search.found += matcher.counts.read - read
        if plain is not None:
            done = max(done, plain.behind)
            plain.end()
        if screen is None and self._candidates is not None:
            self._unread = data, done, size
            try:
                self._catch_up()  # the last date of a chunk may count for the first line of the next
            except AmbiguousDateError:
                self._stop_skimming(data)
        return events

    def _end_record(self, data: bytes, position: int, events: list[LogEvent]) -> None:
        """Add what the record under way tells, if the line at `position` begins another."""
        assert self._screen is not None  # noqa: S101 - told apart by the caller
        for one in self._screen.ended_by(data[position : data.index(b"\n", position)]):
            self._tell(one, events)

    def _leave_tails(self, data: bytes, first: int, events: list[LogEvent], screen: RecordAssembler) -> None:
        """Take the plain lines out of `events`, from the `first` on, that may be a caller's."""
        is_strangers = screen.strangers(data)
        if is_strangers is None:
            return
        kept: list[LogEvent] = []
        behind = -1
        for event in cast("list[Failure]", events[first:]):  # plain lines are nothing else
            if (event.begin != behind or screen.tail is None) and is_strangers(event.begin):
                screen.skip(event.line)
                self.counts.failures -= 1
            else:
                kept.append(event)
                behind = event.offsets[0]
        if len(kept) < len(events) - first:
            events[first:] = kept

    def _at(self, data: bytes, begin: int, end: int, events: list[LogEvent], time: float | None = None) -> None:
        """Add what the line from `begin` to `end`, its LF, tells, or the records that it completes.

        `time` is its own, if it brings one, as an entry of the journal does: such a line stands in no other.
        """
        self._before = data, begin
        screen = self._screen
        if screen is None:
            line = self._decode(data[begin:end]).rstrip("\r")
            self._tell(Ready(line, self.counts.read + 1, trusted=False, time=time), events)
            return
        if time is None and screen.may_have_strangers and screen.is_strangers(data, begin):
            begin = screen.behind_tail(data, begin, end)
        for one in screen.push(data[begin:end], time) if begin >= 0 else ():
            self._tell(one, events)

    def _stop_skimming(self, before: bytes) -> None:
        """Read every line from now on, for their dates: those of `before` are at hand."""
        self._read_all()
        for line in decoded_lines(before, self._encoding) if before else ():
            with suppress(TimeoutError):
                self._matcher.cut_date(line)

    def _read_all(self) -> None:
        self._candidates, self._matcher.dates, self._unread = None, self._finder, (b"", 0, 0)
        self._plain = None
        self._matcher.catch_up = lambda: None

    def _tell(self, one: Ready, events: list[LogEvent]) -> None:
        """Add the first event that one of a record's readings is."""
        matcher = self._matcher
        for text in (one.text, *one.hung) if one.number > self._known else ():
            try:
                failure = matcher.process(text, one.time, trusted=one.trusted)
            except AmbiguousDateError:
                data, begin = self._before
                self._stop_skimming(data[:begin])
                failure = matcher.process(text, one.time, trusted=one.trusted)
            if (event := failure or matcher.other) is not None:
                events.append(event)
                break

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

    def examine(self, line: str, *, time: float | None = None) -> Examined:
        """Process one line like `feed`, and tell all about it; of what was held back before it, see `examine_record`.
        With `time` (POSIX seconds) the line carries its own, as in the journal: no date is searched or cut out.
        """
        results = self.examine_record(line, time=time)
        return results[-1][1] if results else Examined(False, False, None, None, None, None)

    def examine_record(self, line: str, *, time: float | None = None) -> list[tuple[int, Examined]]:
        """Process one line, and tell all about those that it completes: (number of the line given, counted from 1, all)."""
        if self._candidates is not None:
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
            ready = Ready(line, self.counts.lines, trusted=False, time=time)
            return [(ready.number, self._matcher.examined(ready))]
        screen, data = self._screen, raw + b"\n"
        screen.begin_chunk(data)
        begin = screen.behind_tail(data, 0, len(raw)) if screen.is_strangers(data, 0) else 0
        if begin < 0:
            told = [(self.counts.lines, self._matcher.left_out(self._decode(raw)))]
        else:
            told = [(one.number, self._matcher.examined(one)) for one in screen.push(raw[begin:], time)]
        if screen.may_have_strangers:
            screen.end_chunk(data)
        return told

    def examine_rest(self) -> list[tuple[int, Examined]]:
        """As `examine_record`, when no more lines come."""
        whole = self._screen.release(inf) if self._screen is not None else ()
        return [(one.number, self._matcher.examined(one)) for one in whole]

    @property
    def settled(self) -> int:
        """Up to which line, counted from 1, `examine_record` has told all."""
        return self.counts.lines if self._screen is None else self._screen.settled
