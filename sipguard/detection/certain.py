"""Dates of lines that are read without those before them.

Which of several date patterns wins depends in `dates` on the lines before: the usual patterns can read a date in two
ways (`01-02-2012`), and the log tells which is meant. Where only the lines that matter are read there is no such
memory, so a date counts only if every pattern that finds one finds the same; where two disagree, somebody has to read
every line. That is rare: logs write dates that can be read in one way.
"""

from __future__ import annotations

import math
import re
from typing import TYPE_CHECKING, NamedTuple

from sipguard.detection.beginnings import fails_for_good
from sipguard.detection.steps import looks_ahead, safe_length, width_behind

if TYPE_CHECKING:
    from collections.abc import Callable

    import regex

    from sipguard.detection.dateformats import DateFormat
    from sipguard.detection.dates import DateFinder

_BEHIND = 8
"""Characters behind a date that can belong to it in another pattern: a year or a zone."""
_LONG = 4000
"""A line of so many characters must be safe for `re` to search a date without a time limit."""


class AmbiguousDateError(Exception):
    """Two date patterns read this line differently: which is right, the lines before it tell."""


class Known(NamedTuple):
    """A line whose date is known, and where in it the second and its fraction stand: others that differ there alone."""

    before: str
    """What stands before the second."""
    second: str
    between: str
    """What stands between the second and its fraction."""
    places: tuple[int, int, int, int]
    """Where the second ends; where the fraction begins and ends; up to where what follows matters."""
    after: str
    span: tuple[int, int]
    """What is to be cut out."""
    when: float
    """POSIX seconds."""
    since: float
    until: float
    """From when to when by the clock the date means this; `until` is infinite if it is complete."""


class CertainDates:
    """The dates of one log, each found without regard to other lines."""

    def __init__(self, finder: DateFinder, clock: Callable[[], float]) -> None:
        self.format: DateFormat | None = None
        """The pattern that the last line with a date was found by."""
        self._clock = clock
        self._resolver = finder.resolver
        self._formats = [(form, limit, _quick_match(form)) for form, limit in finder.formats]
        # A pattern that may match anywhere can find another date further on, in any line.
        self._lasting = all(form.at_begin for form, *_ in self._formats)
        self.when: float | None = None
        """POSIX seconds of the date that was found last; None if there is no such date (30 February)."""
        self.known: Known | None = None
        """What the lines of the same minute have in common, if that is known; another one whenever `find` finds a date."""

    def again(self, line: str) -> tuple[int, int] | None:
        """The date in `line` as (begin, end) of what to cut out, if it differs from the last in second and fraction alone.

        What every pattern makes of such a line is known. None says only that `find` has to look.
        """
        known = self.known
        if known is None or not line.startswith(known.before):
            return None
        ends, fraction, behind, end = known.places
        if line[behind:end] != known.after:
            return None
        if behind > fraction:
            digits = line[fraction:behind]
            if not (digits.isdecimal() and digits.isascii() and line[ends:fraction] == known.between):
                return None
        second = line[len(known.before) : ends]
        complete = known.until == math.inf
        if second == known.second:
            if not complete and not known.since <= self._clock() < known.until:
                return None
            self.when = known.when
        elif complete and second < "6" and second.isascii() and second.isdecimal():
            self.when = known.when + int(second) - int(known.second)
        else:
            return None
        return known.span

    def find(self, line: str) -> regex.Match[str] | None:
        """The date in `line`; its group 1 is what to cut out. Raises AmbiguousDateError and TimeoutError."""
        winner: tuple[DateFormat, regex.Match[str]] | None = None
        result: tuple[tuple[int, int], float | None] | None = None
        until = 0.0
        for form, limit, quick in self._formats:
            if quick is not None and quick(line) is None:
                continue
            match = form.pattern.search(line) if limit is None else form.pattern.search(line, timeout=limit)
            if match is None:
                continue
            when, holds = self._read(form, match)
            this = (match.span(1), when)
            if result is None:
                winner, result, until = (form, match), this, holds
            elif this != result:
                raise AmbiguousDateError
        if winner is None or result is None:
            return None
        self.format, self.when = winner[0], result[1]
        self.known = self._remember(line, *winner, until) if self._lasting and self.when is not None else None
        return winner[1]

    def date_of(self, line: str) -> float | None:
        """POSIX seconds of the date in `line`; None if there is none. Raises AmbiguousDateError and TimeoutError."""
        return self.when if self.find(line) is not None else None

    def time_of(self, match: regex.Match[str] | None) -> float | None:  # noqa: ARG002
        """As in `dates`: `when`."""
        return self.when

    def _read(self, form: DateFormat, match: regex.Match[str]) -> tuple[float | None, float]:
        """POSIX seconds of a date, and until when by the clock that is so."""
        if form.absolute is not None:
            return form.absolute(match), 0.0
        return self._resolver.resolve(match.groupdict()) or (None, 0.0)

    def _remember(self, line: str, form: DateFormat, match: regex.Match[str], until: float) -> Known | None:
        """None where second and fraction stand in no plain order, or text further on could matter."""
        groups = form.pattern.groupindex
        ahead = looks_ahead(form.pattern.pattern)
        if form.absolute is not None or "S" not in groups or not match["S"] or self.when is None or ahead > _BEHIND:
            return None
        begin, end = match.span("S")
        fraction, behind = match.span("f") if "f" in groups else (-1, -1)
        if fraction < 0:
            fraction = behind = end
        if end - begin != 2 or fraction < end or match.end() > behind + _BEHIND:
            return None
        last = max(match.end() + ahead, behind + 1)
        if width_behind(form.pattern.pattern, "f") != match.end() - behind or self._may_read_on(form, line[:last]):
            last = behind + _BEHIND
        return Known(
            before=line[:begin],
            second=match["S"],
            between=line[end:fraction],
            places=(end, fraction, behind, last),
            after=line[behind:last],
            span=match.span(1),
            when=self.when,
            since=self._clock(),
            until=until,
        )

    def _may_read_on(self, form: DateFormat, begin: str) -> bool:
        """Whether another pattern could find a date in some line that begins like this."""
        return any(
            not fails_for_good(other.pattern.pattern) or other.pattern.match(begin, partial=True) is not None
            for other, *_ in self._formats
            if other is not form
        )


def _quick_match(form: DateFormat) -> Callable[[str], re.Match[str] | None] | None:
    """`re`'s own search for a date at the beginning of a line, where it needs no time limit."""
    source = form.pattern.pattern
    if not form.at_begin or safe_length(source) < _LONG:
        return None
    return re.compile(source).match
