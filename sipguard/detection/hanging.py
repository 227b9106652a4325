r"""Lines in which a message of another kind may hang on a record that the server has cut: is it the server's, or a caller's text?

Such a message may end in what a caller has written, so that its line accuses whom he likes; text of a caller that only looks
like one hides the caller, if nobody is accused for it. The server's own is told by what it has in common with other lines of
the same log:

- its date is written in the same way;
- its thread has written something else. All but a call's threads live long; a call has a number that grows by one;
- the log has such messages at all.

That is known once enough of a log has been read, or a log that is shorter has stood still for a while: lines of before wait for
it. A caller who knows the numbers makes his own line one that counts for nobody, and is told as tampered: somebody else may
have had such a message written behind a cut record, byte by byte the same, to accuse who sent nothing.

    hanging_other     the head of such a message; its groups `date` and `thread`, and `call` where it has one
    hanging_shown     the same at the beginning of a line, as the server writes it; also that of the records themselves
"""

from __future__ import annotations

import re
from collections import deque
from math import inf
from typing import TYPE_CHECKING

from sipguard.detection.encodings import count_lines
from sipguard.detection.expressions import one_of
from sipguard.detection.record_rule import in_bytes
from sipguard.detection.time_limit import timed_list

if TYPE_CHECKING:
    from collections.abc import Callable

    import regex

    from sipguard.model import Filter

KNOWN = 65_536
"""Bytes of a log after which it is known what it has; so many are looked through for a thread."""
_LEAST_LINES = 20
"""Lines of a shorter log that has stood still, after which it is known too."""
_HEAD = 256
"""Bytes of a line in which its head stands."""
_MOST_THREADS = 4096
"""Threads that are remembered."""
_CALLS_AHEAD = 256
"""Calls that may begin between two lines of a log."""
_DIGITS, _LETTERS = re.compile(r"[ \d]"), re.compile(r"[^\W\d_]+")


class HangingHeads:
    """What has been read of one log last, and what it says of the heads in its lines."""

    def __init__(self, filter: Filter, of_record: Callable[[bytes, int], bool]) -> None:  # noqa: A002 - the noun of the field
        """`of_record` tells of a chunk and where a line begins whether it may go on with the record before it.

        Raises ConfigError when a regex does not compile.
        """
        self._other = one_of(filter, "hanging_other")
        self._shown = one_of(filter, "hanging_shown")
        self._of_record = of_record
        self._read: deque[bytes] = deque()
        self._size = self._seen = self._looked = 0
        """Bytes that are at hand, that were read, and of these looked through."""
        self._threads: dict[bytes, None] = {}
        """Numbers of threads that have begun lines, the latest last."""
        self._calls = (inf, -inf)
        """The first and the last call that have."""
        self._lines = 0
        self.is_known = False
        """Whether enough has been read to say what the log has."""

    @property
    def can_settle(self) -> bool:
        """Whether it is known what the log has, if nothing more comes for a while."""
        return self._lines >= _LEAST_LINES

    def settle(self) -> None:
        """Nothing more has come for a while."""
        self.is_known = self.is_known or self.can_settle

    def note(self, data: bytes) -> None:
        """Lines of `data` come next."""
        if not self.is_known:
            self._lines += count_lines(data)
            self.is_known = self._seen + len(data) >= KNOWN
        self._seen += len(data)
        if self._shown is None:
            return
        self._read.append(data if len(data) <= KNOWN else data[-KNOWN:])
        self._size += len(self._read[-1])
        while self._size - len(self._read[0]) >= KNOWN:
            self._size -= len(self._read.popleft())
        # Remembered for longer than the data: others may fill what is looked through.
        self._look(data, data.rfind(b"\n", 0, -1) + 1)

    def heads(self, text: str) -> list[regex.Match[str]]:
        """The heads of other messages in a line. Raises TimeoutError."""
        return [] if self._other is None else timed_list(self._other.pattern.finditer, text)

    def may_hang(self, text: str, heads: list[regex.Match[str]]) -> bool:
        """Whether one may be the server's: until it is known what the log has, each dated like it. Raises TimeoutError."""
        own = _form(text[1 : max(text.find("]"), 1)])
        dates = {date for date in {head["date"] for head in heads} if _form(date) == own}
        likely = {(head["thread"], head["call"]) for head in heads if head["date"] in dates}
        if not likely or not self.is_known:
            return bool(likely)
        self._look_through()
        first, last = self._calls
        return any(
            thread.encode() in self._threads or (call and first <= int(call, 16) <= last + _CALLS_AHEAD)
            for thread, call in likely
        )

    def has_shown(self, number: str) -> bool:
        """Whether the thread of this number has begun lines."""
        self._look_through()
        return number.encode() in self._threads

    def _look_through(self) -> None:
        """Note which threads have begun the lines that are at hand."""
        data = b"".join(self._read)
        start = max(len(data) - (self._seen - self._looked), 0)
        if not start and self._seen > len(data):
            start = data.find(b"\n") + 1  # what is before it may be the rest of a line
        while start < len(data):
            self._look(data, start)
            start = data.find(b"\n", start) + 1 or len(data)
        self._looked = self._seen

    def _look(self, data: bytes, start: int) -> None:
        """Note the thread and the call that have begun the line at `start`, if that is no caller's. Raises no TimeoutError."""
        assert self._shown is not None  # noqa: S101 - nothing was read otherwise
        found = in_bytes(self._shown).match(data, start, start + _HEAD)
        if found is None:
            return
        thread, (first, last) = found["thread"], self._calls
        call = int(found["call"], 16) if found["call"] else None
        is_new = thread not in self._threads or (call is not None and not first <= call <= last)
        try:
            if is_new and self._of_record(data, start):
                return
        except TimeoutError:
            return
        self._threads.pop(thread, None)
        self._threads[thread] = None
        if len(self._threads) > _MOST_THREADS:
            del self._threads[next(iter(self._threads))]
        if call is not None:
            self._calls = min(first, call), max(last, call)


def _form(date: str) -> str:
    """How a date is written: digits are zeros, and so are the blanks that may stand for them; words are one letter."""
    return _LETTERS.sub("a", _DIGITS.sub("0", date))
