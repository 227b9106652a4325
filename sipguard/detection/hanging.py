r"""Lines in which a message of another kind may hang on a record that the server has cut: is it the server's, or a caller's text?

Such a message may end in what a caller has written, so that its line accuses whom he likes; text of a caller that only looks
like one hides the caller, if nobody is accused for it. The server's own is told by what it has in common with other lines of
the same log:

- its date is written in the same way;
- its thread has written something else. All but a call's threads live long; a call has a number that grows by one;
- the log has such messages at all.

That is known once enough of a log has been read: lines of before wait for it. A caller who knows the numbers makes his own line
one that counts for nobody, and is told as tampered: he does not hide without a sign, and accuses nobody else.

    hanging_other     the head of such a message; its groups `date` and `thread`, and `call` where it has one
    hanging_shown     the same at the beginning of a line, as the server writes it; also that of the records themselves
"""

from __future__ import annotations

import re
from collections import deque
from typing import TYPE_CHECKING

from sipguard.detection.expressions import one_of
from sipguard.detection.record_rule import SEARCH_LIMIT, in_bytes

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    import regex

    from sipguard.model import Filter

KNOWN = 65_536
"""Bytes of a log after which it is known what it has; so many are looked through for a thread."""
_MOST = 64
"""Heads that are looked at in one line."""
_MOST_SHOWN = 20
"""Lines that are looked at for one thread."""
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
        self._size = self._seen = 0

    @property
    def is_known(self) -> bool:
        """Whether enough has been read to say what the log has."""
        return self._seen >= KNOWN

    def note(self, data: bytes) -> None:
        """Lines of `data` come next."""
        self._seen += len(data)
        if self._shown is None:
            return
        self._read.append(data if len(data) <= KNOWN else data[-KNOWN:])
        self._size += len(self._read[-1])
        while self._size - len(self._read[0]) >= KNOWN:
            self._size -= len(self._read.popleft())

    def heads(self, text: str) -> list[regex.Match[str]]:
        """The heads of other messages in a line. Raises TimeoutError."""
        if self._other is None:
            return []
        return list(self._other.pattern.finditer(text, timeout=SEARCH_LIMIT))[:_MOST]

    def may_hang(self, text: str, heads: list[regex.Match[str]]) -> bool:
        """Whether one may be the server's: until it is known what the log has, each dated like it. Raises TimeoutError."""
        if len(heads) == _MOST:
            return True
        own = _form(text[1 : max(text.find("]"), 1)])
        likely = [head for head in heads if _form(head["date"]) == own]
        if not self.is_known:
            return bool(likely)
        return any(self._is_shown(head) for head in dict.fromkeys(likely))

    def has_shown(self, number: str) -> bool:
        """Whether the thread of this number has begun lines of late. Raises TimeoutError."""
        return any(self._lines_with(f"[{number}]".encode(), "thread", number.encode()))

    def _is_shown(self, head: regex.Match[str]) -> bool:
        """Whether the thread or the call of this head has written other lines."""
        if self.has_shown(head["thread"]):
            return True
        call = head["call"]
        if not call:
            return False
        calls = [int(found["call"], 16) for found in self._lines_with(b"][C-", "", b"") if found["call"]]
        return bool(calls) and min(calls) <= int(call, 16) <= max(calls) + _CALLS_AHEAD

    def _lines_with(self, mark: bytes, group: str, value: bytes) -> Iterator[regex.Match[bytes]]:
        """The last lines that the server has begun with a head in which this stands."""
        assert self._shown is not None  # noqa: S101 - nothing was read otherwise
        data = b"".join(self._read)
        place = len(data)
        for _ in range(_MOST_SHOWN):
            place = data.rfind(mark, 0, place)
            start = data.rfind(b"\n", 0, max(place, 0)) + 1
            if place < 0 or (not start and self._seen > self._size):  # that may be the rest of a line
                return
            found = in_bytes(self._shown).match(data, start, timeout=SEARCH_LIMIT)
            if (
                found is not None
                and (not group or found[group] == value)
                and not (start and self._of_record(data, start))
            ):
                yield found
            place = start


def _form(date: str) -> str:
    """How a date is written: digits are zeros, and so are the blanks that may stand for them; words are one letter."""
    return _LETTERS.sub("a", _DIGITS.sub("0", date))
