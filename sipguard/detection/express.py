"""The short way for the lines that an attack writes by the thousand.

Such a line stands alone, its date differs from that of the line before in the second at most, and a failregex without
anything special matches it. Each step is the one of `screen`, `certain` and `matching`, in the same order and with the
same answers, in one loop without a call for each. Whatever is not plain is left to them.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from sipguard.detection.matching import simple_failure

if TYPE_CHECKING:
    import re
    from collections.abc import Sequence

    from sipguard.detection.certain import CertainDates
    from sipguard.detection.matching import Matcher
    from sipguard.detection.screen import Screen
    from sipguard.model import LogEvent


class Express:
    """Reads the plain lines of one log."""

    def __init__(self, matcher: Matcher, dates: CertainDates, screen: Screen | None, encoding: str) -> None:
        self._matcher = matcher
        self._dates = dates
        self._screen = screen
        self._encoding = encoding
        self._regexes = [(each.holds, each.safe_length, each.plain, each.is_simple) for each in matcher.failregex]

    @staticmethod
    def serves(matcher: Matcher) -> bool:
        """Whether the filter can have plain lines at all."""
        return matcher.is_plain and any(each.is_simple and each.safe_length for each in matcher.failregex)

    def take(self, data: bytes, lines: Sequence[tuple[int, int]], first: int, events: list[LogEvent]) -> int:
        """Read the plain ones of `lines` (begin and end in `data`) from number `first` on; give that of the next other.

        No record may be under way.
        """
        dates, screen, encoding = self._dates, self._screen, self._encoding
        again = dates.again
        number, searches = first, 0
        for number in range(first, len(lines)):
            begin, end = lines[number]
            line = data[begin:end].decode(encoding, "replace").rstrip("\r")
            place = again(line)
            if place is None or (screen is not None and not screen.is_plain(line)):
                break
            left, right = place
            text = f"{line[:left]}{line[right:]}\n"
            match, index, tried = self._match(text)
            searches += tried
            if match is None:
                break
            failure = simple_failure(match, index, dates.when, (line,))
            if failure is None:
                break
            events.append(failure)
        else:
            number = len(lines)
        self._matcher.took(events[len(events) - (number - first) :], searches)
        return number

    def _match(self, text: str) -> tuple[re.Match[str] | None, int, int]:
        """How the first failregex that matches does, its number, and how many were tried; None where it is not plain."""
        tried = 0
        for index, (holds, safe, search, simple) in enumerate(self._regexes):
            if holds not in text:
                continue
            if len(text) > safe:
                break
            tried += 1
            match = search(text)
            if match is not None:
                return (match if simple else None), index, tried
        return None, 0, tried
