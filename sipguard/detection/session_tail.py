"""The lines of a session that its server writes without the session's name: strangers' text, in which nothing counts.

mod_logfile of FreeSWITCH writes the UUID before each of the first 100 lines of a session's message; what follows the 100th
goes out raw, in the same 2,047 bytes. So behind 100 lines of one session, of which the first has a date, nothing counts until
that many bytes have gone by since the last of them began, or a line shows that the server has gone on: one that begins with
the session, or ends with it in brackets. No caller knows that beforehand.

The other 99 may have dates: they may be messages of the server, or a caller's, who has written them like such. The bytes are
the same. So what follows either at once counts for nobody: only the first of exactly 100 lines tells that it cannot be a tail.

A line of the hundred that is longer is cut like any other write, line feed and all: one line of the log may be several of them.
So is a tail: what stands behind those bytes in its last line is what the server has written next.

A log may begin within a message, as the file before was rotated there: how many of its lines that has is not known then.
"""

from __future__ import annotations

import re
from functools import lru_cache
from typing import TYPE_CHECKING

from sipguard.detection.dated import asked
from sipguard.detection.encodings import count_lines
from sipguard.detection.pcre2 import Pattern, is_fast
from sipguard.detection.translate import Writer
from sipguard.detection.trees import UntranslatableError

if TYPE_CHECKING:
    from sipguard.detection.expressions import Expression

LINES = 100
"""Lines of a message that bear the session."""
BYTES = 2047
"""Of the write that the last of them begins."""
_SHORTEST = 38
"""Bytes of a line that bears the session and nothing else."""
_BEFORE = (LINES - 2) * _SHORTEST - BYTES
"""Bytes by which so many lines, the shortest there are, reach out of a tail at its end; the first may hang on another's."""
_NEAR = 32_768
"""Bytes in which most often a hundred lines stand."""
_USUAL = 120
"""Bytes of most such lines."""
_FEW = 16_384
"""Bytes of earlier chunks that are kept without a look at what of them matters."""
_MOST = (LINES + 1) * BYTES
"""Bytes of such lines, at most, and of a tail."""
_DATED = b" 0000-00-00 00:\n"
"""Stands behind the session where a message begins of which nothing else is known."""


class SessionTail:
    """Follows one log, chunk by chunk; lines are looked at only where one that could accuse stands.

    A chunk of at most `BYTES` that has no line of a session, with nothing `before` it, may be left out.
    """

    def __init__(self, line: Expression) -> None:
        """`line` is what a line of a session looks like; its groups are the session, and a date."""
        self.find = re.compile(line.source.encode(), re.MULTILINE).search
        """Looks for a line of a session."""
        self._line = re.compile(line.source.removeprefix("^").encode())
        self._other = _other(line)
        self.before = b""
        """Of the chunks before the one at hand, what a tail that reaches into it may have begun in."""
        self._clear, self._counted = 0, 0
        """Where in the chunk at hand a line begins that is no session's, and no tail, as nothing reaches so far; and how many
        lines a session may have between such a line of an earlier chunk and this place: a hundred if that is not known."""
        self.is_new = True
        """Whether nothing was read yet."""

    def covers(self, data: bytes, begin: int) -> bool:
        """Whether what stands from `begin` on in the chunk at hand may be the tail of a session's message."""
        clear = self._clear
        size = begin - clear
        few = LINES - self._counted
        are_few = 0 <= size < few * _SHORTEST or (
            0 <= size <= _NEAR and count_lines(data[clear:begin]) + size // BYTES < few
        )
        if not are_few and self._end_of_write(data, begin) is not None:
            return True
        if self._line.match(data, begin) is None:
            self._clear, self._counted = begin, 0
        return False

    def begin(self, data: bytes) -> None:
        """This comes next; if nothing has before, a message of which its first line is one may have begun in another file."""
        if self.is_new and (match := self._line.match(data)) is not None and match[2] is None:
            self.before, self._counted = (match[1] + _DATED) * (LINES - 1), LINES
        self.is_new = False

    def cut_in(self, data: bytes, begin: int, end: int) -> int:
        """Where in a line that `covers` has told of its tail is cut, if it is as long as one can be; else 0."""
        place = self._end_of_write(data, begin)
        return place if place is not None and begin < place < end else 0

    def _end_of_write(self, data: bytes, begin: int) -> int | None:
        """Up to where the tail may reach that `begin` may stand in, as all tells that stands before; None if there is none."""
        before = 0
        session = self._session_of_hundred(data, begin)
        is_first = self.before and begin < _MOST and (self._counted or begin < self._clear)
        if is_first and session is not None:
            before = len(self.before)
            data, begin = self.before + data[: begin + _SHORTEST], before + begin
            session = self._session_of_hundred(data, begin)
        if session is None:
            return None
        end = begin
        while end > max(begin - BYTES, 0):
            # A tail follows the last line of its session.
            start = data.rfind(b"\n" + session, 0, end - 1) + 1
            end, last = start, data.find(b"\n", start) + 1 if session else end
            writes = self._writes(data, start, last)
            if writes and begin - writes[-1] < BYTES and self._goes_on(data, writes[-1], last, begin):
                return writes[-1] + BYTES - before
            if session:
                break
        return None

    def end(self, data: bytes) -> None:
        """The chunk is over; the next one follows it."""
        size, lines = len(data) - self._clear, data
        is_joined = len(data) < _FEW
        if is_joined:
            lines = self.before + data
        start = self._begin_of_last(lines, 0 if is_joined or self._counted else self._clear)
        if not start and not is_joined:
            lines = self.before + data
            start = self._begin_of_last(lines, 0)
        self.before = lines[max(start, len(lines) - _MOST) :]
        if not self.before:
            self._counted = 0
        elif size > _NEAR:
            self._counted = LINES
        else:
            self._counted = min(self._counted + count_lines(data[self._clear :]) + size // BYTES, LINES)
        self._clear = 0

    def _begin_of_last(self, data: bytes, clear: int) -> int:
        """Where the lines of a session begin that a tail behind `data` may follow, or earlier; the end if there is none.

        Nothing before `clear` reaches behind it.
        """
        start = data.rfind(b"\n", 0, max(len(data) - BYTES, 0)) + 1
        match, lines = self._line.match(data, start), 0
        if match is None and self.find(data, start) is None and data.find(b"\n", start) - start < BYTES:
            return len(data)
        if len(data) - clear <= _FEW:
            return clear
        session = match[1] + b" " if match is not None else b"\n"
        while start and lines < LINES and data.startswith(session, start):
            start = data.rfind(b"\n", 0, start - 1) + 1
            lines += 1
        return start

    def _session_of_hundred(self, data: bytes, to: int) -> bytes | None:
        """Whose hundred lines a tail would have that reaches so far, as a part of them stands at one place.

        None if they are nobody's, so that there is no such tail; empty if that is not known.
        """
        at = to - BYTES
        if at < _BEFORE:
            return b"" if self.before else None
        begin = data.rfind(b"\n", 0, at) + 1
        match, size = self._line.match(data, begin), data.find(b"\n", begin) - begin
        if match is None or size >= BYTES:
            return None if size < BYTES else b""
        session: bytes = match[1] + b" "
        begin = data.rfind(b"\n", 0, at - _BEFORE) + 1
        if data.find(b"\n", begin) - begin >= BYTES:
            return b""
        return session if data.startswith(session, begin) else None

    def _goes_on(self, data: bytes, write: int, end: int, to: int) -> bool:
        """Whether a tail of this `write`, whose first line has its end there, may be all that stands before `to`."""
        session = data[write : data.index(b" ", write) + 1]
        if data.find(b"\n" + session, end - 1, to + len(session)) >= 0:
            return False
        # `Name: [session]` is a line of a message that goes on.
        told = data.find(b" [" + session[:-1] + b"]\n", write, to)
        return (told < 0 or data[told - 1 : told] == b":") and self._is_hundredth(data, end, session)

    def _is_hundredth(self, data: bytes, end: int, session: bytes) -> bool:
        """Whether the last line before `end` may be the hundredth of a message."""
        begin = _begin_of_hundred(data, end)
        if not _has_long(data, begin, end):  # one write each
            is_first = data.startswith(session, begin)
            # It may hang on what was cut of another's.
            place = begin if is_first else data.rfind(session, begin, data.index(b"\n", begin))
            if place < 0 or not self._is_dated(data, place):
                return False
            return not self._is_broken(data, begin, end) and data.count(b"\n" + session, begin, end) == LINES - 1
        left = LINES
        while end:
            start = data.rfind(b"\n", 0, end - 1) + 1
            writes = self._writes(data, start, end)
            if not writes or not data.startswith(session, writes[-1]):
                # The first may hang on what was cut of another's.
                place = data.rfind(session, start, end) if left == 1 else -1
                return place >= 0 and self._is_dated(data, place)
            if len(writes) >= left:
                return self._is_dated(data, writes[-left])
            if writes[0] > start:
                return False
            left -= len(writes)
            end = start
        return False

    def _is_broken(self, data: bytes, begin: int, end: int) -> bool:
        """Whether a line of no session is known to stand between the first of these lines and the end."""
        if self._other is not None:
            for _ in self._other.walk(data)(begin):
                return bool(self._other.spans[1] < end)
        return False

    def _is_dated(self, data: bytes, write: int) -> bool:
        match = self._line.match(data, write)
        return match is not None and match[2] is not None

    def _writes(self, data: bytes, start: int, end: int) -> list[int]:
        """Where in this line those of one session begin that nobody else's follows there, as each but the last was cut."""
        if end - start <= BYTES:
            return [start] if self._line.match(data, start) is not None else []
        found: list[int] = []
        place = max(start, end - _MOST)
        while place < end:
            match = self._line.match(data, place, end)
            if match is None:
                match = next((each for each in self._line.finditer(data, place, end) if each[2]), None)
                if match is None:
                    return []
                found = []
            elif found and not data.startswith(match[1], found[0]):
                found = []
            found.append(match.start())
            place = match.start() + BYTES
        return found


@lru_cache(maxsize=16)
def _other(line: Expression) -> Pattern | None:
    """Finds an LF behind which stands no line of a session; None where that cannot be had."""
    try:
        return Pattern(r"\n" + asked(Writer(), line.source, "!")) if is_fast() else None
    except (UntranslatableError, ValueError):
        return None


def _begin_of_hundred(data: bytes, end: int) -> int:
    """Where the last hundred lines before `end` begin, which is the begin of one; 0 if there are not so many."""
    begin = data.rfind(b"\n", 0, max(end - LINES * _USUAL, 0)) + 1
    left = LINES - count_lines(data[begin:end])
    while left < 0:
        begin = data.index(b"\n", begin) + 1
        left += 1
    while left and begin:
        begin = data.rfind(b"\n", 0, begin - 1) + 1
        left -= 1
    return begin


def _has_long(data: bytes, begin: int, end: int) -> bool:
    """Whether one of these lines may be several writes."""
    while begin < end:
        behind = data.rfind(b"\n", begin, begin + BYTES) + 1
        if not behind:
            return True
        begin = behind
    return False
