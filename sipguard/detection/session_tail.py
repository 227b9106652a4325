"""The lines of a session that its server writes without the session's name: strangers' text, in which nothing counts.

mod_logfile of FreeSWITCH writes the UUID before each of the first 100 lines of a session's message; what follows the 100th
goes out raw, in the same 2,047 bytes. So behind 100 lines of one session nothing counts until that many bytes have gone by
since the last of them began, or a line shows that the server has gone on: one that begins with the session, or ends with it
in brackets. No caller knows that beforehand. A line with a date begins another message.

A line of the hundred that is longer is cut like any other write, line feed and all: one line of the log may be several of them.
"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

from sipguard.detection.encodings import count_lines

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
_NEAR = 16_384
"""Bytes in which lines are counted one by one: as many as a hundred usual ones, and a few."""


class SessionTail:
    """Follows one log, chunk by chunk; lines are looked at only where one that could accuse stands."""

    def __init__(self, line: Expression) -> None:
        """`line` is what a line of a session looks like; its groups are the session, and a date."""
        self._pattern = re.compile(line.source.encode(), re.MULTILINE)
        self._session = b""
        """Of the last lines before the chunk at hand; empty where they are of none."""
        self._run = 0
        """How many lines of that session stand there, one after another."""
        self._left = 0
        """Bytes that may still be such a tail, from the beginning of the line that is looked at next."""
        self._seen = 0
        """How far the chunk has been looked at."""
        self._clear = 0
        """Where in the chunk a line begins that is none of such hundred and no tail, if it is known; else -1."""

    def covers(self, data: bytes, begin: int) -> bool:
        """Whether what stands from `begin` on in the chunk at hand may be the tail of a session's message."""
        if begin > self._seen and not self._is_far_from_any(data, begin):
            self._look(data, begin)
        if self._left <= 0:
            match = self._pattern.match(data, begin)
            if match is None or match[2]:
                self._clear = begin
        return self._left > 0 and not data.startswith(self._session + b" ", begin)

    def end(self, data: bytes) -> None:
        """The chunk is over; the next one follows it."""
        size = len(data)
        if self._seen < size:
            last = data.rfind(b"\n", 0, size - 1) + 1
            match = self._pattern.match(data, last)
            if not self._is_far_from_any(data, size):
                self._look(data, size)
            elif match is None:
                self._forget()
            else:
                self._count(data, last, match)
        self._seen = 0
        self._clear = -1 if self._run or self._left > 0 else 0

    def _is_far_from_any(self, data: bytes, to: int) -> bool:
        """Whether no tail can reach so far, since too few lines of a session stand where they would have to."""
        if self._left > 0:
            return False
        clear = self._clear
        if to < BYTES + _BEFORE or 0 <= clear < to < clear + LINES * _SHORTEST:
            return clear >= 0 or not self._run
        # Where a tail began that could still be under way, the line is one of the hundred, and no message begins with it.
        begin = data.rfind(b"\n", 0, to - BYTES) + 1
        match = self._pattern.match(data, begin)
        if match is None or match[2]:
            return data.find(b"\n", begin) - begin < BYTES
        session = match[1] + b" "
        first = data.rfind(b"\n", 0, to - BYTES - _BEFORE) + 1
        if not data.startswith(session, first):
            return data.find(b"\n", first) - first < BYTES
        if clear >= 0 and to - clear < _NEAR and count_lines(data[clear:to]) + (to - clear) // BYTES < LINES:
            return True
        return self._are_too_few(data, begin, to, session)

    def _are_too_few(self, data: bytes, begin: int, to: int, session: bytes) -> bool:
        """Whether less than a hundred lines of a message end before `to`, of which the one at `begin` must be."""
        if data.find(b"\n", begin) - begin >= BYTES:
            return False
        left = max(LINES - 1 - data.count(b"\n" + session, begin, to), 0)
        start = max(0, begin - _NEAR)
        before = data[start:begin].rsplit(b"\n", left + 1)[-left - 1 : -1]
        if (start and len(before) < left) or (before and (session in before[0][1:] or max(map(len, before)) >= BYTES)):
            return False
        # From the first on: most often that is none of them, or begins a message.
        for number, line in enumerate(before):
            if not line.startswith(session) or (number and self._is_dated(line)):
                return True
        return len(before) + self._run < left

    def _is_dated(self, line: bytes) -> bool:
        """Whether a line of a session begins a message."""
        match = self._pattern.match(line) if line[_SHORTEST - 1 : _SHORTEST].isdigit() else None
        return match is not None and bool(match[2])

    def _count(self, data: bytes, last: int, match: re.Match[bytes]) -> None:
        """Note how many lines of one message end with the one at `last`, which is the last of the chunk and of no tail."""
        session, run = match[1] + b" ", 1
        start = max(self._seen, last - 2 * _NEAR)
        lines = data[start:last].rsplit(b"\n", LINES + 1) if not match[2] else []
        before = lines[start > self._seen : -1]
        if max(map(len, before), default=0) >= BYTES or len(data) - last > BYTES:
            self._look(data, len(data))
            return
        for line in reversed(before):
            if not line.startswith(session):
                break
            run += 1
            if run > LINES or self._is_dated(line):
                break
        else:
            if start > self._seen and not match[2]:
                self._look(data, len(data))
                return
            if not match[2] and self._session + b" " == session:
                run += self._run
        self._session, self._run, self._left = match[1], run, 0

    def _look(self, data: bytes, to: int) -> None:
        """Find out what stands before `to`, the beginning of a line or the end of the chunk."""
        begin = max(self._seen, to - BYTES)
        if begin > self._seen:
            begin = data.rfind(b"\n", self._seen, begin) + 1 or self._seen
        if begin > self._seen or not self._run:
            if self._pattern.search(data, begin, to) is None:
                self._forget()
                self._seen = to
                return
            begin = self._begin_of_run(data, begin)
        if begin > self._seen:
            self._forget()
        while begin < to:
            end = data.find(b"\n", begin, to)
            end = to - 1 if end < 0 else end
            self._line(data[begin : end + 1])
            begin = end + 1
        self._seen = to

    def _begin_of_run(self, data: bytes, begin: int) -> int:
        """Where the lines begin that are of the same session as the one at `begin`, as many as are asked about."""
        match = self._pattern.match(data, begin)
        session = match[1] + b" " if match is not None else b""
        for _ in range(LINES):
            if match is None or match[2]:
                break
            before = data.rfind(b"\n", self._seen, max(begin - 1, self._seen)) + 1 or self._seen
            match = self._pattern.match(data, before)
            if begin == self._seen or match is None:
                break
            is_other = not data.startswith(session, before)
            if is_other and begin - before <= BYTES:
                break
            begin = before
            if is_other:
                break  # the first line may hang on what was cut of another session's
        return begin

    def _line(self, line: bytes) -> None:
        match = self._pattern.match(line)
        if match is not None and (match[1] == self._session or self._left <= 0):
            while match is not None and len(line) > BYTES:
                self._add(match)
                line = line[BYTES:]
                match = self._pattern.match(line)
            if match is None:
                self._forget()
                return
            self._add(match)
            self._left = BYTES - len(line) if self._run >= LINES else 0
            return
        rest = b""
        if self._left > 0:
            rest = line[self._left :]
            self._left = 0 if line.endswith(b"[" + self._session + b"]\n") else self._left - len(line)
        if self._left <= 0:
            self._forget()
            if rest:  # where such a tail is cut, what was written next hangs on it
                self._line(rest)

    def _add(self, match: re.Match[bytes]) -> None:
        """Another line of a session."""
        self._run = self._run + 1 if match[1] == self._session and not match[2] else 1
        self._session = match[1]

    def _forget(self) -> None:
        self._session, self._run, self._left = b"", 0, 0
