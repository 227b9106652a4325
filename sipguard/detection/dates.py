"""Finds the date in a line of log: by the patterns of the filter, or by trying the usual ones.

Which of several patterns wins is Fail2ban's choice, since what is cut out of the line as the date decides what the
regexes see: the one that won last at the same place, then patterns at the beginning of the line, then the leftmost; a
pattern that wins often moves towards the front.
"""

from __future__ import annotations

import math
import re
from dataclasses import replace
from typing import TYPE_CHECKING

from sipguard.detection.datefields import DateResolver
from sipguard.detection.dateformats import DateFormat, date_format
from sipguard.detection.time_limit import SEARCH_LIMIT, timed

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from datetime import tzinfo

    import regex

_BEGIN = "{^LN-BEG}"
_DATE_TAG = re.compile(r"(?<!\\)\{DATE\}", re.IGNORECASE)
_BOUND_BEGIN = re.compile(r"^\((?:\?:)?\^\|\\b\|\\W\)|^\{\*WD-BEG\}")
_BOUND_END = re.compile(r"\(\?=\\b\|\\W\|\$\)$")

# In Fail2ban's order, with its meaning: an earlier one wins where two match at the same place.
_DEFAULTS = (
    r"%ExY(?P<_sep>[-/.])%m(?P=_sep)%d(?:T|  ?)%H:%M:%S(?:[.,]%f)?(?:\s*%z)?",  # 2005-01-23T21:59:59.981746+02:00
    r"(?:%a )?%b %d %k:%M:%S(?:\.%f)?(?: %ExY)?",  # Sun Jan 23 21:59:59.011 2005; syslog
    r"(?:%a )?%b %d %ExY %k:%M:%S(?:\.%f)?",  # Sun Jan 23 2005 21:59:59.011
    r"%d(?P<_sep>[-/])%m(?P=_sep)(?:%ExY|%Exy) %k:%M:%S",  # 23/01/2005 21:59:59
    r"%d(?P<_sep>[-/])%b(?P=_sep)%ExY[ :]?%H:%M:%S(?:\.%f)?(?: %z)?",  # 31/Oct/2006:09:22:55 -0000
    r"%m/%d/%ExY:%H:%M:%S",  # 05/20/2008:01:57:39
    r"%m-%d-%ExY %k:%M:%S(?:\.%f)?",  # 01-27-2012 16:22:44.252
    "EPOCH",
    "{^LN-BEG}%H:%M:%S",
    r"^<%m/%d/%Exy@%H:%M:%S>",  # <09/16/08@05:03:30>
    r"%Exy%Exm%Exd  ?%H:%M:%S",  # 130322 11:46:11
    r"%b %d, %ExY %I:%M:%S %p",  # Jul 06, 2013 3:37:29 PM
    r"^%b-%d-%Exy %k:%M:%S",  # Apr-27-13 02:33:06
    r"%ExY%Exm%Exd(?:-|T|  ?)%ExH:?%ExM:?%ExS(?:[.,]%f)?(?:\s*%z)?",  # 20050123T215959, 20050123-21:59:59
    r"(?:%Z )?(?:%a )?%b %d %k:%M:%S(?:\.%f)?(?: %ExY)?",  # PDT Apr 16 21:05:29
    r"(?:%z )?(?:%a )?%b %d %k:%M:%S(?:\.%f)?(?: %ExY)?",  # +00:00 Jan 23 21:59:59.011 2005
    "TAI64N",
)

_AT_BEGIN_WEIGHT = 100.0
_UNUSED = 300.0
"""Seconds after which a pattern that has not won may be overtaken by any."""


class _Candidate:
    """A date pattern and how well it has done in this log."""

    __slots__ = ("distance", "format", "last_used", "limit", "matched", "wins")

    def __init__(self, form: DateFormat, limit: float | None) -> None:
        self.format = form
        self.limit = limit
        self.matched = 0
        self.wins = 0
        self.last_used = 0.0
        self.distance = math.inf

    @property
    def weight(self) -> float:
        return self.wins * self.format.weight / max(1.0, self.distance)

    def search(self, line: str, start: int = 0, end: int | None = None) -> regex.Match[str] | None:
        """Raises TimeoutError. The patterns built in cannot backtrack over more than a date, and go without a limit."""
        pattern = self.format.pattern
        if self.limit is None:
            match = pattern.search(line) if end is None else pattern.search(line, start, end)
        else:
            match = timed(pattern.search, line, start, end, limit=self.limit)
        if match is not None:
            self.matched += 1
        return match


class DateFinder:
    """The dates of one log."""

    def __init__(
        self,
        datepattern: str | None,
        *,
        clock: Callable[[], float],
        zone: tzinfo | None,
        time_limit: float = SEARCH_LIMIT,
    ) -> None:
        """Raises ValueError: a line of `datepattern` is not a date pattern."""
        self._clock = clock
        self.resolver = DateResolver(clock, zone)
        self._candidates = list(_candidates(datepattern, time_limit))
        self._last: int | None = None
        self._line = ""
        self._start = 1
        self._end = 0
        self._first_unused = 0
        self.format: DateFormat | None = None
        """The pattern that the last line with a date was found by."""
        self._cached: tuple[DateFormat, str, float] | None = None
        self._cached_from = 0.0
        self._cached_until = 0.0

    @property
    def formats(self) -> list[tuple[DateFormat, float | None]]:
        """The patterns in the order in which they are tried now, each with the seconds that a search may take."""
        return [(candidate.format, candidate.limit) for candidate in self._candidates]

    def again(self, line: str) -> tuple[int, int, float] | None:  # noqa: ARG002 - as in `certain_dates`
        """Nothing: here a date depends on the lines before it, and each is looked for."""
        return None

    def find(self, line: str) -> regex.Match[str] | None:
        """The date in `line`; its group 1 is what to cut out. Raises TimeoutError."""
        match: regex.Match[str] | None = None
        reserve: tuple[int, regex.Match[str]] | None = None
        tried: int | None = None
        index = self._last
        if index is not None:
            match, searched = self._search_last(line, self._candidates[index])
            if searched:
                tried = index
            if match is not None and not self._is_expected(match, self._candidates[index]):
                reserve, match = (index, match), None
        if match is None:
            found = self._search_all(line, tried, reserve)
            if found is None:
                return None
            index, match = found
        assert index is not None  # noqa: S101 - mypy does not see that a match has come from some index
        self._won(index, match)
        return match

    def time_of(self, match: regex.Match[str] | None) -> float | None:
        """POSIX seconds of a date that `find` has just found; None if there is no such date (30 February)."""
        form = self.format
        assert form is not None and match is not None  # noqa: S101, PT018 - by every `find` that found something
        if form.absolute is not None:
            return form.absolute(match)
        groups = form.pattern.groupindex
        cached = self._cached
        if (
            cached is not None
            and cached[0] is form
            and (self._cached_until == math.inf or self._cached_from <= self._clock() < self._cached_until)
        ):
            # Lines of one minute share all but the seconds; those whose year is a guess must be of the same second.
            seconds = match["S"] if self._cached_until == math.inf and "S" in groups else None
            leap = seconds is not None and seconds > "59"  # POSIX clocks have no such second
            if not leap and cached[1] == _without(match, ("f", "S") if seconds else ("f",)):
                return cached[2] + int(seconds) if seconds else cached[2]
        fields = match.groupdict()
        resolved = self.resolver.resolve(fields)
        if resolved is None:
            return None
        when, self._cached_until = resolved
        if self._cached_until == math.inf and fields.get("S"):
            self._cached = (form, _without(match, ("f", "S")), when - int(fields["S"]))
        else:
            self._cached_from = self._clock()
            self._cached = (form, _without(match, ("f",)), when)
        return when

    def _search_last(self, line: str, last: _Candidate) -> tuple[regex.Match[str] | None, bool]:
        """Try the pattern that won last: at the same place, unless it is anchored. Also: was that in all of it?"""
        if last.format.anchored or not self._same_surroundings(line):
            return last.search(line), True
        return last.search(line, self._start, self._end), False

    def _same_surroundings(self, line: str) -> bool:
        """Whether the last date's place looks alike in this line: the same signs around it, or punctuation in it."""
        start, end, old = self._start, self._end, self._line
        before = line[start - 1 : start] == old[start - 1 : start]
        first = line[start : start + 1] == old[start : start + 1] and not old[start : start + 1].isalnum()
        if not (before or first):
            return False
        after = line[end : end + 1] == old[end : end + 1]
        return after or (line[end - 1 : end] == old[end - 1 : end] and not old[end - 1 : end].isalnum())

    def _is_expected(self, match: regex.Match[str], candidate: _Candidate) -> bool:
        if candidate.format.anchored or len(self._candidates) == 1:
            return True
        return bool(match.start() == self._start and match.end() == self._end)

    def _search_all(
        self, line: str, tried: int | None, reserve: tuple[int, regex.Match[str]] | None
    ) -> tuple[int, regex.Match[str]] | None:
        """Try every pattern in order; `reserve` is a match at an unexpected place, taken if nothing better turns up."""
        candidates = self._candidates
        for index, candidate in enumerate(candidates):
            if index == tried:
                continue
            match = candidate.search(line)
            if match is None:
                continue
            distance = match.start()
            if index + 1 == len(candidates) or candidate.format.anchored:
                return index, match
            if distance == 0 and candidate.wins and not candidates[index + 1].matched:
                return index, match
            # Further right than before, it may be a date within the message: see whether another is nearer.
            if distance <= candidate.distance and distance <= self._start:
                return index, match
            if reserve is None or distance < reserve[1].start():
                reserve = index, match
        return reserve

    def _won(self, index: int, match: regex.Match[str]) -> None:
        candidate = self._candidates[index]
        candidate.wins += 1
        candidate.distance = match.start()
        candidate.last_used = self._clock()
        self.format = candidate.format
        self._start, self._end, self._line = match.start(), match.end(), match.string
        if index == self._first_unused:
            self._first_unused += 1
        if index and index != self._last:
            index = self._promote(index)
        self._last = index

    def _promote(self, index: int) -> int:
        """Move a winner towards the front, if it has earned it; its new index."""
        candidates = self._candidates
        mover = candidates[index]
        stale = mover.last_used - _UNUSED

        def passes(position: int) -> bool:
            other = candidates[position]
            return mover.weight > other.weight or stale > other.last_used

        target = self._first_unused if self._first_unused < index else index // 2
        if not passes(target):
            if target == index - 1 or not passes(index - 1):
                return index
            target = index - 1
        del candidates[index]
        candidates.insert(target, mover)
        while self._first_unused < len(candidates) and candidates[self._first_unused].wins:
            self._first_unused += 1
        return target


def _without(match: regex.Match[str], names: tuple[str, ...]) -> str:
    """The text of a date without some of its fields, each of which leaves a mark."""
    text: str = match[0]
    offset = match.start()
    spans = [match.span(name) for name in names if name in match.re.groupindex]
    for begin, end in sorted(spans, reverse=True):
        if begin >= 0:
            text = f"{text[: begin - offset]}\0{text[end - offset :]}"
    return text


def _candidates(datepattern: str | None, limit: float) -> Iterator[_Candidate]:
    seen: set[str] = set()
    lines = [line.strip() for line in (datepattern or "").split("\n") if line.strip()]
    for form, trusted in _formats(lines or ["{DEFAULT}"]):
        if form.source not in seen:
            seen.add(form.source)
            yield _Candidate(form, None if trusted else limit)


def _formats(lines: list[str]) -> Iterator[tuple[DateFormat, bool]]:
    """Each pattern, and whether it is one of those built in."""
    for line in lines:
        if line.upper() in {"{DEFAULT}", _BEGIN}:
            yield from ((form, True) for form in _defaults(begin_only=line.upper() == _BEGIN))
        elif _DATE_TAG.search(line):
            yield from ((form, False) for form in _around_defaults(line))
        else:
            yield date_format(line), False


def _defaults(*, begin_only: bool) -> Iterator[DateFormat]:
    """Every default bound to the beginning of the line, then every one anywhere."""
    for written in _DEFAULTS:
        if not written.startswith(("^", _BEGIN)):
            yield date_format(_BEGIN + written, _AT_BEGIN_WEIGHT, built_in=True)
    for written in _DEFAULTS:
        form = replace(date_format(written, built_in=True), is_word=True)
        if form.at_begin or not begin_only:
            yield form


def _around_defaults(line: str) -> Iterator[DateFormat]:
    """Every default in the place of `{DATE}`. Those without directives are no text that could stand within another."""
    for written in _DEFAULTS:
        inner = _BOUND_END.sub("", _BOUND_BEGIN.sub("", written.removeprefix("{UNB}").removeprefix(_BEGIN)))
        text = inner.join(_DATE_TAG.split(line))
        if "%" in written or text.upper().removeprefix(_BEGIN).removeprefix("^") == written:
            yield date_format(text)
