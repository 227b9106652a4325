"""Dates of lines that are read without those before them.

Which of several date patterns wins depends in `dates` on the lines before: the usual patterns can read a date in two
ways (`01-02-2012`), and the log tells which is meant. Where only the lines that matter are read there is no such
memory, so a date counts only if every pattern that finds one finds the same; where two disagree, somebody has to read
every line. That is rare: logs write dates that can be read in one way.
"""

from __future__ import annotations

import re
import warnings
from functools import cached_property, lru_cache
from typing import TYPE_CHECKING

from sipguard.detection.dated import DateSearch, Times, date_search
from sipguard.detection.datefields import MONTHS
from sipguard.detection.pcre2 import SearchError
from sipguard.detection.prefixes import beginning_of, may_begin
from sipguard.detection.time_limit import timed
from sipguard.detection.trees import is_anchored, parse

if TYPE_CHECKING:
    from collections.abc import Callable

    import regex

    from sipguard.detection.dateformats import DateFormat
    from sipguard.detection.dates import DateFinder


MOST_KINDS = 4
"""Date patterns, with what stands before the date, that a log may have each a search of its own for."""
LONGEST_LEAD = 4


class AmbiguousDateError(Exception):
    """Two date patterns read this line differently: which is right, the lines before it tell."""


class CertainDates:
    """The dates of one log, each found without regard to other lines."""

    def __init__(self, finder: DateFinder, clock: Callable[[], float]) -> None:
        self.format: DateFormat | None = None
        """The pattern that the last line with a date was found by."""
        self.lead = ""
        """What stood before that date."""
        self._resolver = finder.resolver
        self._formats = [(form, limit, _quick_match(form, limit is None)) for form, limit in finder.formats]
        self.when: float | None = None
        """POSIX seconds of the date that was found last; None if there is no such date (30 February)."""

        self._times = Times(self.of_form, clock)
        self._kinds: dict[tuple[DateFormat, str], DateSearch | None] = {}
        self._search: DateSearch | None = None
        """For lines whose date is as the last one's was."""

    @property
    def forms(self) -> list[DateFormat]:
        """All patterns."""
        return [form for form, *_ in self._formats]

    def others(self, form: DateFormat) -> tuple[DateFormat, ...]:
        """All patterns but this one."""
        return tuple(other for other in self.forms if other is not form)

    def again(self, line: str) -> tuple[int, int, float] | None:
        """Begin and end of what to cut out of a line whose date has the form of the last one's, and that date's POSIX seconds.

        None says only that `find` has to look.
        """
        search = self._search
        if search is None or not line.isascii():
            return None
        try:
            if not search.pattern.once(line.encode("ascii")):
                return None
        except SearchError:
            return None
        offsets = search.read(search.pattern.spans)
        self._times.begin(search.part)
        when = self._times.of(line, 0, len(line), offsets, search.layout)
        if when is None:
            return None
        self.when, self.format, self.lead = when, search.part.form, search.part.lead
        return len(search.part.lead), offsets[search.layout.cut], when

    def find(self, line: str) -> regex.Match[str] | None:
        """The date in `line`; its group 1 is what to cut out. Raises AmbiguousDateError and TimeoutError."""
        winner: tuple[DateFormat, regex.Match[str]] | None = None
        result: tuple[tuple[int, int], float | None] | None = None
        for form, limit, quick in self._formats:
            if quick is not None and not quick(line):
                continue
            match = form.pattern.search(line) if limit is None else timed(form.pattern.search, line, limit=limit)
            if match is None:
                continue
            this = (match.span(1), self._read(form, match)[0])
            if result is None:
                winner, result = (form, match), this
            elif this != result:
                raise AmbiguousDateError
        if winner is None or result is None:
            return None
        (form, match), self.when = winner, result[1]
        lead = line[: match.start(1)]
        if (form, lead) != (self.format, self.lead):
            self.format, self.lead = form, lead
            self._choose(form, lead)
        return match

    def _choose(self, form: DateFormat, lead: str) -> None:
        """Look for dates like this one first; there are few kinds: strangers could write others."""
        kind = form, lead
        if kind not in self._kinds:
            if (
                len(self._kinds) >= MOST_KINDS
                or len(lead) > LONGEST_LEAD
                or not lead.isascii()
                or not all(other.at_begin for other in self.forms)
            ):
                return
            self._kinds[kind] = date_search(form, self.others(form), lead)
        self._search = self._kinds[kind]

    def date_of(self, line: str) -> float | None:
        """POSIX seconds of the date in `line`; None if there is none. Raises AmbiguousDateError and TimeoutError."""
        return self.when if self.find(line) is not None else None

    def time_of(self, match: regex.Match[str] | None) -> float | None:  # noqa: ARG002
        """As in `dates`: `when`."""
        return self.when

    def of_form(self, form: DateFormat, line: str) -> tuple[tuple[int, int], float, float] | None:
        """What to cut out of a line by this pattern, its POSIX seconds, and until when by the clock that is what it means.

        None if there is no date of this form, or no such day.
        """
        match = timed(form.pattern.search, line)
        if match is None:
            return None
        when, until = self._read(form, match)
        return None if when is None else (match.span(1), when, until)

    def _read(self, form: DateFormat, match: regex.Match[str]) -> tuple[float | None, float]:
        """POSIX seconds of a date, and until when by the clock that is so."""
        if form.absolute is not None:
            return form.absolute(match), 0.0
        return self._resolver.resolve(match.groupdict()) or (None, 0.0)


_TRIES = 16
"""Lines whose beginnings are looked at: few logs have so many that need it, and a regex takes longer to compile."""


class _QuickMatch:
    """Whether a date may stand at the beginning of a line; by `re` for the patterns built in, which need no time limit."""

    _month = re.compile(f"(?i){'|'.join(name[:3] for name in MONTHS)}")

    def __init__(self, form: DateFormat, *, is_known: bool) -> None:
        """Of a pattern that is not known, and may take its time, the beginning alone is looked at."""
        self._source = form.source
        self._is_known = is_known
        self._names_month = "%b" in form.name
        self._left = _TRIES

    def __call__(self, line: str) -> bool:
        if self._left:
            self._left -= 1
            if not may_begin(self._source, beginning_of(line)):
                return False
        if not self._is_known:
            return True
        return (not self._names_month or self._month.search(line) is not None) and self._match(line) is not None

    @cached_property
    def _match(self) -> Callable[[str], re.Match[str] | None]:
        """Compiled when it is needed: names of months take a millisecond each."""
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # "possible nested set": about a future Python, nothing for the operator
            return re.compile(self._source).match


@lru_cache(maxsize=256)
def _quick_match(form: DateFormat, is_known: bool) -> Callable[[str], bool] | None:  # by position, for the cache
    """Whether a date of this form may begin a line; None where that cannot be asked so."""
    if form.at_begin and (is_known or is_anchored(parse(form.source))):
        return _QuickMatch(form, is_known=is_known)
    return None
