"""Dates of lines that are read without those before them.

Which of several date patterns wins depends in `dates` on the lines before: the usual patterns can read a date in two
ways (`01-02-2012`), and the log tells which is meant. Where only the lines that matter are read there is no such
memory, so a date counts only if every pattern that finds one finds the same; where two disagree, somebody has to read
every line. That is rare: logs write dates that can be read in one way.
"""

from __future__ import annotations

import math
import re
from typing import TYPE_CHECKING

from sipguard.detection.steps import safe_length

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
        self._when: float | None = None
        self._plain: Callable[[str], re.Match[str] | None] | None = None
        self._again: Callable[[str], re.Match[str] | None] | None = None
        self._surroundings = ""
        self._minute = 0.0
        self._second = ""
        self._from = 0.0
        self._until = 0.0

    def find(self, line: str) -> re.Match[str] | regex.Match[str] | None:
        """The date in `line`; its group 1 is what to cut out. Raises AmbiguousDateError and TimeoutError."""
        if self._again is not None:
            match = self._again(line)
            # Only seconds and fractions differ: what every pattern makes of such a line is known.
            if match is not None and _surroundings(line, match) == self._surroundings:
                second = match["S"]
                if self._until == math.inf and second < "6":
                    self._when = self._minute + int(second)
                    return match
                if second == self._second and self._from <= self._clock() < self._until:
                    self._when = self._minute + int(second)
                    return match
        return self._find_only(line)

    def time_of(self, match: re.Match[str] | regex.Match[str]) -> float | None:  # noqa: ARG002 - as in `dates`
        """POSIX seconds of the date that `find` has just found; None if there is no such date (30 February)."""
        return self._when

    def _find_only(self, line: str) -> regex.Match[str] | None:
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
        self._when = result[1]
        self._remember(line, *winner, until)
        return winner[1]

    def _read(self, form: DateFormat, match: regex.Match[str]) -> tuple[float | None, float]:
        """POSIX seconds of a date, and until when by the clock that is so."""
        if form.absolute is not None:
            return form.absolute(match), 0.0
        return self._resolver.resolve(match.groupdict()) or (None, 0.0)

    def _remember(self, line: str, form: DateFormat, match: regex.Match[str], until: float) -> None:
        """Let the next line with the same date but for the seconds be read at once."""
        if form is not self.format:
            self.format = form
            lasting = self._lasting and "S" in form.pattern.groupindex and form.absolute is None
            self._plain = _quick_match(form) if lasting else None
        self._again = None
        if self._plain is None or self._when is None or not match["S"]:
            return
        self._surroundings = _surroundings(line, match)
        if self._surroundings:
            self._again = self._plain
            self._second = match["S"]
            self._minute = self._when - int(self._second)
            self._from, self._until = self._clock(), until


def _quick_match(form: DateFormat) -> Callable[[str], re.Match[str] | None] | None:
    """`re`'s own search for a date at the beginning of a line, where it needs no time limit."""
    source = form.pattern.pattern
    if not form.at_begin or safe_length(source) < _LONG:
        return None
    return re.compile(source).match


def _surroundings(line: str, match: re.Match[str] | regex.Match[str]) -> str:
    """A line's date without its second and its fraction, and what follows; empty where those stand in no plain order."""
    begin, end = match.span("S")
    if "f" in match.re.groupindex:
        fraction, behind = match.span("f")
        if fraction >= 0:
            if fraction < end or match.end() > behind + _BEHIND:
                return ""
            return f"{line[:begin]}\0{line[end:fraction]}\0{line[behind : behind + _BEHIND]}"
    if match.end() > end + _BEHIND:
        return ""
    return f"{line[:begin]}\0{line[end : end + _BEHIND]}"
