"""Surveys a whole log for a report: finds the failures as `Detector` does, and counts the skipped lines by date format.

Skipped lines are counted in runs: one libpcre2 search covers thousands of consecutive lines whose dates have the same format, or
that have no date. If a log cannot be counted this way, `SurveyError` tells the caller to read it line by line.
"""

from __future__ import annotations

from collections import Counter
from functools import lru_cache
from typing import TYPE_CHECKING, Any

from sipguard.detection.certain_dates import LONGEST_LEAD, AmbiguousDateError, CertainDates
from sipguard.detection.dated import any_of, asked, behind, beside, none_of
from sipguard.detection.detector import Detector
from sipguard.detection.encodings import count_lines
from sipguard.detection.expressions import expression
from sipguard.detection.pcre2 import Pattern, SearchError, is_fast
from sipguard.detection.plain_rule import PlainRule
from sipguard.detection.results import Ready
from sipguard.detection.translate import Writer
from sipguard.detection.trees import UntranslatableError
from sipguard.model import Failure, Filter

if TYPE_CHECKING:
    from collections.abc import Sequence

    from sipguard.detection.dateformats import DateFormat
    from sipguard.detection.results import Examined
    from sipguard.model import LogEvent

_LINES_PER_SINGLE = 2
"""Give up when more than one line in this many must be read singly: a survey saves too little then."""
_DATED, _UNDATED, _NO_RECORD = range(3)


class SurveyError(Exception):
    """This log cannot be surveyed; it must be read line by line."""


class _Runs:
    """A pattern that finds runs: consecutive skipped lines of one kind. Raises UntranslatableError and ValueError."""

    def __init__(
        self, form: DateFormat, others: Sequence[DateFormat], headers: Sequence[str], *, ascii_: bool, lead: str
    ) -> None:
        """`form` is the date format found last, `lead` the text before that date, `others` are all other formats.

        Each record begins with one of `headers`, if there are any. Lines with the same lead are tried first: after that lead, few
        of `others` can match, so checking that none does is quick.
        """
        writer = Writer()
        sources = [other.source for other in others]
        rest = ".*+" if ascii_ else r"[^\n\x80-\xff]*+"
        self.kinds: dict[int, int] = {}
        """Number of the empty group that ends a run → kind of the lines in the run."""

        def run(kind: int, *conditions: str) -> str:
            mark = writer.group()
            self.kinds[mark + 1] = kind
            return f"(?:{''.join(conditions)}{rest}\\n)++()"

        head = any_of(writer, headers)
        runs = []
        if len(lead) <= LONGEST_LEAD and lead.isascii():
            runs.append(run(_DATED, head, none_of(writer, beside(form, others, lead)), behind(writer, form, lead)))
        runs.append(run(_DATED, head, none_of(writer, sources), asked(writer, form.source, "=")))
        runs.append(run(_UNDATED, head, none_of(writer, [*sources, form.source])))
        if headers:
            runs.append(run(_NO_RECORD, *(asked(writer, header, "!") for header in headers)))
        self.pattern = Pattern("|".join(runs), anchored=True)


@lru_cache(maxsize=64)
def _runs(
    form: DateFormat, others: tuple[DateFormat, ...], headers: tuple[str, ...], ascii_: bool, lead: str
) -> _Runs | None:  # by position, for the cache
    try:
        return _Runs(form, others, headers, ascii_=ascii_, lead=lead)
    except (UntranslatableError, ValueError):
        return None


class Surveyor(Detector):
    """A `Detector` that also counts the lines it skips. Takes the same arguments; also raises SurveyError."""

    def __init__(self, filter: Filter, **options: Any) -> None:  # noqa: A002 - the name in Detector
        super().__init__(filter, **options)
        if self._candidates is None or not is_fast() or not all(form.at_begin for form, _ in self._finder.formats):
            raise SurveyError
        self.failures: list[Failure] = []
        """Failures found by the last call of `survey`, in order."""
        self.examined: dict[int, tuple[str, Examined]] = {}
        """Lines and records that this call read singly: any unique number → text and result."""
        self.dates = Counter[str]()
        """Date format → number of skipped lines with such a date."""
        self.empty = 0
        """Number of empty lines."""
        self._singles: list[tuple[int, int]] = []
        """Begin and end of each line that this call read singly."""
        self._singles_in_all = 0
        self._blank = Pattern(r"\n(?=\n)")

    def survey(self, data: bytes) -> None:
        """Read whole lines, each ended by LF: sets `failures` and `examined`, adds to the counts. Raises SurveyError."""
        self._singles, self.examined = [], {}
        if b"\r" in data or self._candidates is None:
            raise SurveyError
        self.failures = [event for event in self.events(data) if isinstance(event, Failure)]
        if self._candidates is None:  # a date was ambiguous: `Detector` now reads every line
            raise SurveyError
        self._count_blank(data)
        screen = self._screen
        rule = screen.rule.plain(is_mixed=screen.is_mixed) if screen is not None else PlainRule()
        parts, position = [], 0
        for begin, end in self._singles:
            parts.append(data[position:begin])
            position = end
        self._count_rest(b"".join([*parts, data[position:]]), rule)

    def survey_end(self) -> None:
        """At the end of the log, read the records that were held back because more lines could have belonged to them."""
        self.examined = {}
        self.failures = [event for event in self.flush() if isinstance(event, Failure)]

    def _at(self, data: bytes, begin: int, end: int, events: list[LogEvent], time: float | None = None) -> None:
        self._singles.append((begin, end + 1))
        self._singles_in_all += 1
        if self._singles_in_all * _LINES_PER_SINGLE > self.counts.lines:
            raise SurveyError
        if self._screen is not None and self._screen.is_strangers(data, begin):
            line = self._decode(data[begin:end])
            self.examined[self._singles_in_all] = line, self._matcher.left_out(line)
        super()._at(data, begin, end, events, time)

    def _read(self, data: bytes, begin: int = 0) -> list[LogEvent]:  # noqa: ARG002 - Detector's
        """Give up: `Detector` calls this when it cannot skip lines."""
        raise SurveyError

    def _tell(self, one: Ready, events: list[LogEvent]) -> None:
        try:
            result = self._matcher.examined(one)
        except AmbiguousDateError:
            raise SurveyError from None
        before = self.examined.get(one.number)
        if before is None or not before[1].matched:
            self.examined[one.number] = one.text, result  # of two records in one line, keep the failure
            if result.failure is not None:
                events.append(result.failure)

    def _count_blank(self, data: bytes) -> None:
        at, position = self._blank.matcher(data), 0
        self.empty += data.startswith(b"\n")
        while at(position):
            self.empty += 1
            position = self._blank.spans[1]

    def _count_rest(self, data: bytes, rule: PlainRule) -> None:
        """Count the lines of `data`: all that were skipped, because they cannot match."""
        dates = self._matcher.dates
        if not isinstance(dates, CertainDates):
            raise SurveyError
        position, size = 0, len(data)
        while position < size:
            form = dates.format  # None until a line with a date was read
            runs = None
            if form is not None:
                runs = _runs(form, dates.others(form), rule.headers, data.isascii(), dates.lead[: LONGEST_LEAD + 1])
            if runs is not None:
                position = self._count_runs(data, position, runs, dates)
            elif form is not None:  # libpcre2 has no such pattern
                raise SurveyError
            if position < size:
                end = data.index(b"\n", position)
                self._count_one(self._decode(data[position:end]), rule, dates)
                position = end + 1

    def _count_runs(self, data: bytes, position: int, runs: _Runs, dates: CertainDates) -> int:
        """Count the lines in the runs from `position` on. Returns the begin of the first line that is in no run."""
        assert dates.format is not None  # noqa: S101 - the runs are of that format
        spans, kinds = runs.pattern.spans, runs.kinds
        found: dict[int, list[bytes]] = {_DATED: [], _UNDATED: [], _NO_RECORD: []}
        for run in runs.pattern.walk(data)(position):
            end = spans[1]
            found[kinds[run]].append(data[position:end])
            position = end
        # Runs may be only a line or two long, so lines are counted once for all runs together.
        self.dates[dates.format.name] += _lines_in(found[_DATED])
        self.counts.undated += _lines_in(found[_UNDATED])
        return position

    def _count_one(self, line: str, rule: PlainRule, dates: CertainDates) -> None:
        self._singles_in_all += 1
        if self._singles_in_all * _LINES_PER_SINGLE > self.counts.lines:
            raise SurveyError
        try:
            if rule.headers and not any(expression(source).search(line) for source in rule.headers):
                return
            if dates.date_of(line) is None:
                self.counts.undated += 1
            elif dates.format is not None:
                self.dates[dates.format.name] += 1
        except (AmbiguousDateError, TimeoutError, SearchError):
            raise SurveyError from None


def _lines_in(parts: Sequence[bytes]) -> int:
    return count_lines(b"".join(parts)) if parts else 0
