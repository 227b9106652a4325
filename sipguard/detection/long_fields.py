r"""Tells lines that a caller has written into a field of any length from those that his server has begun.

Most fields are short, or have no line feeds: where such a record goes on is told by how it stands there (`recordopen`). A field
that may be as long as a message, line feeds and all, can hold whole records and look whole at the end of each of its lines.
But whoever writes it does not know the number of the server's thread, and no message is longer than `linecut`. So behind such
a record, for as many bytes, a line that begins with the head of a record and another number is his.

    recordlong        the head of a record with such a field, wherever it stands; its group 1 is the number of the thread
    recordlong_mark   a text or two that stand in each of them, and seldom anywhere else

A log of these records alone (`mixed`) has nothing else there: a line of any other kind is the caller's too.
"""

from __future__ import annotations

from bisect import bisect_right
from typing import TYPE_CHECKING, NamedTuple

import regex

from sipguard.detection.expressions import one_of, whole_number
from sipguard.detection.pcre2 import Pattern, is_fast
from sipguard.detection.record_rule import in_bytes
from sipguard.detection.time_limit import timed

if TYPE_CHECKING:
    from collections.abc import Callable

    from sipguard.detection.expressions import Expression
    from sipguard.model import Filter

_HEADER = 256
"""Bytes that may stand before a message: date, level, file."""
_MOST_LOOKED_BACK = 20


class _Reach(NamedTuple):
    """Where lines of a caller may stand, as offsets in a chunk."""

    begin: int
    end: int
    number: bytes


class LongFields:
    """The rule of one filter, and what it says of one log."""

    def __init__(
        self, head: Expression, long: Expression, mark: str, reach: int, of_record: Callable[[bytes, int], bool]
    ) -> None:
        """`reach`: bytes behind a record, at most; `of_record` tells of a chunk and where a line begins whether it may go on
        with the record before it."""
        self._head, self._long = head, long
        self._of_record = of_record
        self._mark = _search(mark)
        self._reach = reach
        self._data = b""
        self._found: list[_Reach] | None = None
        self._under_way = b""
        self.carried: tuple[bytes, int] | None = None
        """What the last chunk ended in: the number, and how many bytes further it reaches."""

    @classmethod
    def of_filter(cls, filter: Filter, of_record: Callable[[bytes, int], bool]) -> LongFields | None:  # noqa: A002
        """None where the filter has no such records. Raises ConfigError when a regex does not compile."""
        keys = ("recordthread", "recordlong", "recordlong_mark")
        head, long, mark = [one_of(filter, key) for key in keys]  # each is tried, also where there is no other
        if head is None or long is None:
            return None
        reach = whole_number(filter, "linecut") + _HEADER
        return cls(head, long, mark.source if mark is not None else "", reach, of_record)

    @property
    def reaches(self) -> bool:
        """Whether lines of a caller may stand in the chunk at hand."""
        try:
            return bool(self._found if self._found is not None else self._all())
        except TimeoutError:
            return True

    def begin(self, data: bytes, under_way: str) -> None:
        """Lines of `data` come next; `under_way` is the number of the thread whose record goes on there, if one does."""
        self._data, self._found, self._under_way = data, None, under_way.encode()

    def end(self, data: bytes) -> None:
        """All of `data` has gone by."""
        if self.carried is not None or self._mark(data[-2 * self._reach :], 0) >= 0:
            self.carried = self._left(self._all(), len(data))
        self._data, self._found = b"", None

    def _left(self, found: list[_Reach], size: int) -> tuple[bytes, int] | None:
        """What reaches beyond this chunk."""
        if not found or found[-1].end < size:
            return None
        begin, _, number = found[-1]
        left = (self.carried[1] if self.carried is not None and not begin else begin + self._reach) - size
        return (number, left) if left > 0 else None

    def settle(self) -> None:
        """Nothing more has come: a record is written with one write."""
        self.carried = None

    def covers(self, begin: int, *, only_records: bool) -> bool:
        """Whether the line at this offset of the chunk is a caller's; with `only_records` the log has nothing else.

        Raises TimeoutError.
        """
        found = self._found if self._found is not None else self._all()
        place = bisect_right(found, begin, key=lambda each: each.begin) - 1
        if place < 0 or begin >= found[place].end:
            return False
        number = self._number_at(begin)
        return number != found[place].number if number else only_records

    def _number_at(self, begin: int) -> bytes:
        """That of the thread with whose head the line begins; empty if it begins otherwise."""
        match = timed(in_bytes(self._head).match, self._data, begin)
        return match[1] if match is not None else b""

    def _all(self) -> list[_Reach]:
        data = self._data
        found: list[_Reach] = []
        position = 0
        if self.carried is not None:
            number, left = self.carried
            found.append(_Reach(0, self._end(0, left, number), number))
            position = found[0].end
        while (place := self._mark(data, position)) >= 0:
            # The head is looked for in the line of the mark alone: in all of the chunk it takes a hundred times as long.
            begin = max(data.rfind(b"\n", 0, place) + 1, position)
            end = data.find(b"\n", place) + 1 or len(data)
            match = timed(in_bytes(self._long).search, data, begin, end)
            position = match.end() if match is not None else end
            if match is not None and self._is_true(match):
                found.append(_Reach(match.end(), self._end(match.end(), self._reach, match[1]), match[1]))
                position = found[-1].end
        self._found = found
        return found

    def _end(self, begin: int, reach: int, number: bytes) -> int:
        """Where the thread writes its next record, or no message reaches any more."""
        limit = min(begin + reach, len(self._data))
        heads = in_bytes(self._head).finditer

        def place(timeout: float) -> int:
            for match in heads(self._data, begin, timeout=timeout):
                if match.start() >= limit:
                    break
                if match[1] == number:
                    return int(match.start())
            return limit

        return timed(place)

    def _is_true(self, match: regex.Match[bytes]) -> bool:
        """Whether the server has written this head: it begins a line of its own, or hangs there and has its thread's number."""
        data, start = self._data, match.start()
        if not start or data[start - 1] == 0x0A:
            return not self._of_record(data, start)
        for _ in range(_MOST_LOOKED_BACK):
            start = data.rfind(b"\n", 0, max(start - 1, 0)) + 1
            before = timed(in_bytes(self._head).match, data, start)
            if before is not None and not self._of_record(data, start):
                return bool(before[1] == match[1])
            if not start:
                return bool(self._under_way == match[1])
        return False


def _search(source: str) -> Callable[[bytes, int], int]:
    """What gives the first place at or behind an offset where the pattern is found, -1 if there is none."""

    def place_slow(data: bytes, begin: int) -> int:
        match = regex.compile(source.encode()).search(data, begin)
        return int(match.start()) if match is not None else -1

    if not is_fast():
        return place_slow
    pattern = Pattern(source)

    def place(data: bytes, begin: int) -> int:
        found = pattern.places(data)(begin)
        return found if found < len(data) else -1

    return place
