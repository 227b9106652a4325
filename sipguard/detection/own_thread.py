r"""Tells the records of a server from callers' imitations of them, by the number of the thread that writes them.

A server may put callers' line feeds into its log, and lose its own where it cuts a record. So neither a line's beginning nor
its end says where a record begins. But all records of one kind come from one thread, and no caller knows its number:

- behind a record that has not ended, only a line with the same number begins another: any other goes on with it;
- in the middle of a line, the same number says that a record hangs there on one that was cut. Any other is a caller's text.

A caller may guess the number all the same. So what seems to hang is only another reading of the line, after that of the whole:
the address that counts is the last one in each. `recordforeign` names records whose last address may be a caller's: for
these the other reading is the only one.

    recordthread      the head of such a record, wherever it stands; its group 1 is the number
    recordforeign     the same for records whose last address a caller may choose
    recordended       how a record under way may have ended: while it has not, not even its own thread begins another. So the
                      number does not help a caller who knows it: his head is a part of the record
    recordunsure      such an end that a caller may have written, if he knows the number: when another record follows at once,
                      this one accuses nobody
"""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

from sipguard.detection.expressions import one_of
from sipguard.detection.time_limit import timed, timed_list

if TYPE_CHECKING:
    from sipguard.detection.expressions import Expression
    from sipguard.model import Filter


_MOST = 64
"""Records that are looked for in one line."""


class Hung(NamedTuple):
    """What may hang in a line on what stands before it."""

    texts: list[str]
    """The line from each such beginning on; the last one is what really hangs there, unless a caller has guessed the number."""
    is_foreign: bool
    """The last address of the last one may be a caller's: the line must not be read in another way."""


class OwnThread:
    """The rule of one filter."""

    def __init__(self, head: Expression, foreign: Expression | None) -> None:
        self._head = head
        self._foreign = foreign

    @classmethod
    def of_filter(cls, filter: Filter) -> OwnThread | None:  # noqa: A002 - the noun of the field
        """None where the filter has no such records. Raises ConfigError when a regex does not compile."""
        head = one_of(filter, "recordthread")
        return cls(head, one_of(filter, "recordforeign")) if head is not None else None

    def number(self, line: str) -> str:
        """That of the thread whose record begins with `line`; empty if none does. Raises TimeoutError."""
        match = timed(self._head.pattern.match, line)
        return match[1] if match is not None else ""

    def hung(self, text: str, number: str) -> Hung | None:
        """The records of this thread that hang in `text` on what stands before them. Raises TimeoutError."""
        if not number:
            return None
        heads = timed_list(self._head.pattern.finditer, text)
        begins = [match.start() for match in heads if match.start() and match[1] == number][-_MOST:]
        if not begins:
            return None
        rests = [text[begin:] for begin in begins]
        return Hung(rests, self._foreign is not None and self._foreign.found(rests[-1]))

    def last(self, lines: list[str], number: str) -> list[str]:
        """The last record of this thread in lines that begin with one: what hangs there, or all. Raises TimeoutError."""
        for place in range(len(lines) - 1, -1, -1):
            if (hung := self.hung(lines[place], number)) is not None:
                return [hung.texts[-1], *lines[place + 1 :]]
        return lines
