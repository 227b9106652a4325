"""Takes the plain lines of one log out of its chunks: each a tuple, found by one search of libpcre2.

`PlainLines` stands beside the exact way (`matching`), and `Detector` is the switch between the two: what is not plain, or
cannot be told within the limits of a search, is left to the exact way, which reads that line and goes on behind it.
"""

from __future__ import annotations

from contextlib import suppress
from functools import lru_cache
from typing import TYPE_CHECKING

from sipguard.detection.candidates import undated
from sipguard.detection.certain_dates import LONGEST_LEAD, MOST_KINDS, AmbiguousDateError
from sipguard.detection.dated import Times
from sipguard.detection.literals import meets
from sipguard.detection.pcre2 import UNSET, is_fast
from sipguard.detection.plain import Plain
from sipguard.detection.plain_rule import PlainRule
from sipguard.detection.trees import UntranslatableError
from sipguard.model import Failure

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from sipguard.detection.certain_dates import CertainDates
    from sipguard.detection.dateformats import DateFormat
    from sipguard.detection.matching import Matcher
    from sipguard.model import Clock, LogEvent

_GUESSES = 8
"""Lines of which it is guessed what they are: to read one by the exact way takes milliseconds, if it is the first."""
_LONGEST_LINE = 65_536
"""Bytes beyond which a line is read by the exact way, whose searches have a time limit."""


@lru_cache(maxsize=64)
def _plain(
    failregex: tuple[object, ...],
    form: DateFormat,
    others: tuple[DateFormat, ...],
    rule: PlainRule,
    lead: str,
) -> Plain | None:
    """Shared by all logs and jails with the same filter; None where there is no such pattern."""
    try:
        return Plain(failregex, form, others, rule, lead)  # type: ignore[arg-type]
    except (UntranslatableError, ValueError, OverflowError, RecursionError):
        return None


class PlainLines:
    """The plain lines of one log."""

    def __init__(self, matcher: Matcher, dates: CertainDates, clock: Clock) -> None:
        self._matcher = matcher
        self._dates = dates
        self._rule = PlainRule()
        self._kinds: dict[tuple[DateFormat, str], Plain | None] = {}
        self._kind: tuple[DateFormat, str] | None = None
        self._seen: tuple[DateFormat | None, str] = (None, "")
        self._wide, self._guesses = 0, _GUESSES
        """How many of the failregexes are looked for: the first, as far as lines of this log have needed them."""
        self._plain: Plain | None = None
        """The pattern for such lines."""
        self._times = Times(dates.of_form, clock)
        self._walk: Callable[[int], Iterator[int]] | None = None
        self._data, self._text = b"", ""
        self._ascii = True
        self._longest = _LONGEST_LINE
        self._in_row = False
        """Plain lines follow each other: each is tried for behind the last, before anything is looked for."""
        self.behind = 0
        """Where the last line ended that was taken."""

    @staticmethod
    def serves(matcher: Matcher) -> bool:
        """Whether the filter can have plain lines, and this machine the library."""
        return is_fast() and matcher.is_plain

    def begin(self, data: bytes, rule: PlainRule) -> None:
        """Make ready for a chunk, which ends with LF, of a log whose plain lines are by this rule."""
        # One character for each byte, so that offsets are the same; a line with one beyond ASCII is left to the exact way.
        self._data, self._text = data, data.decode("latin-1")
        self.behind = 0
        self._ascii = self._text.isascii()
        self._longest = rule.longest or _LONGEST_LINE
        if rule != self._rule:
            self._rule = rule
            self._forget()
        if self._plain is not None:
            self._times.begin(self._plain.date)
            self._walk = self._plain.pattern.walk(data)

    def end(self) -> None:
        """Keep nothing of the chunk."""
        self._data, self._text, self._walk = b"", "", None

    def _choose(self, form: DateFormat, lead: str) -> None:
        """Take lines whose dates are of this form from now on, if there may be such."""
        kind = form, lead
        if kind not in self._kinds:
            if len(self._kinds) >= MOST_KINDS or len(lead) > LONGEST_LEAD or not lead.isascii():
                return
            key = self._matcher.failregex[: self._wide], form, self._dates.others(form), self._rule, lead
            self._kinds[kind] = _plain(*key)
        found = self._kinds[kind]
        if found is not None:
            self._kind, self._plain = kind, found
            self._walk = found.pattern.walk(self._data)
            self._times.begin(found.date)

    def take(self, position: int, events: list[LogEvent], next_line: Callable[[int], int]) -> int:
        """Add the failures of the plain lines from the one that begins at `position` on.

        `next_line` gives where the next line begins that is worth a look, at or behind an offset. Gives where the first of
        those begins that is not plain, or the end of the data.
        """
        position = next_line(position)
        if position < len(self._data) and self._ready(position):
            before = len(events)
            position = self._take(position, events, next_line)
            if len(events) > before:
                self._matcher.took(len(events) - before, events[-1].time or 0.0)
        return position

    def _take(  # noqa: C901 - one loop, in which every step counts
        self, position: int, events: list[LogEvent], next_line: Callable[[int], int]
    ) -> int:
        plain, walk = self._plain, self._walk
        assert plain is not None and walk is not None  # noqa: S101, PT018 - `_ready` says so
        text, times, plans, spans = self._text, self._times.seconds, plain.plans, plain.pattern.spans
        longest, ascii_, unset = self._longest, self._ascii, UNSET
        dated = plain.layout.second if plain.date.ends_with_second else plain.layout.cut
        new, add, in_row, behind = tuple.__new__, events.append, self._in_row, self.behind
        key, when = "", 0.0
        while position < len(self._data):
            for found in walk(position):
                regex, read, ids, user_place, tags = plans[found]
                offsets = read(spans)
                end = offsets[0]
                if end - position > longest or not (ascii_ or self._is_ascii(position, end)):
                    break
                this = text[position : offsets[dated]]
                if this != key:
                    known = times.get(this)
                    if known is None:
                        known = self._times.of(text, position, end - 1, offsets, plain.layout)
                    if known is None:
                        break
                    key, when = this, known
                for place in ids:
                    start = offsets[place]
                    if start != unset:
                        host = text[start : offsets[place + 1]]
                        break
                else:
                    break
                start = offsets[user_place]
                user = text[start : offsets[user_place + 1]] if user_place and start != unset else None
                line = text[position : end - 1]
                # Past the constructor of the tuple, which takes three times as long.
                add(new(Failure, (host, when, user, 1, regex, None, None, line, tags, position, offsets, None)))
                position = behind = end
                if not in_row:
                    position = next_line(end)
                    in_row = position == end
                    spans[1] = position  # where the walk goes on
            if not in_row:
                break
            in_row, begin = False, next_line(position)
            if begin == position:
                break
            position = begin
        self._in_row, self.behind = in_row, behind
        return position

    def _guess(self, position: int) -> None:
        """Before any line was read: what the one at `position` seems to be."""
        self._guesses -= 1
        line = self._text[position : self._text.find("\n", position)]
        for number, expression in enumerate(self._matcher.failregex, 1):
            if line.isascii() and meets(line, undated(tuple(expression.needs), tuple(self._dates.forms))):
                with suppress(AmbiguousDateError, TimeoutError):
                    self._dates.find(line)
                self._wide = number
                break

    def _forget(self) -> None:
        """The patterns are no more what is needed."""
        self._plain, self._kind, self._seen = None, None, (None, "")
        self._kinds.clear()

    def _ready(self, position: int) -> bool:
        """Whether there are patterns for lines like the last with a date, or like those before it; one is at `position`."""
        dates, regex = self._dates, self._matcher.regex
        if not self._wide and self._guesses:
            self._guess(position)
        if regex is not None and regex >= self._wide:
            self._wide = max(regex + 1, 2 * self._wide)
            self._forget()
        if self._wide and (dates.format, dates.lead) != self._seen:
            self._seen = dates.format, dates.lead
            if dates.format is not None and self._kind != self._seen:
                self._choose(dates.format, dates.lead)
        return self._plain is not None

    def _is_ascii(self, begin: int, end: int) -> bool:
        """Whether this line and the next, which tells that this one's record has ended, are ASCII."""
        stop = self._text.find("\n", end)
        return self._text[begin : stop if stop >= 0 else end].isascii()
