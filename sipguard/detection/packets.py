r"""Packets that a server has written into its log: strangers' text, in which nothing counts.

Keys of a filter, see `record_rule`:

    quarantine_begin  the line after which a packet follows; a group `bytes` says how long it is
    quarantine_end    the line that ends a packet whose length is not known. It can be forged: lines behind it are held until as
                      much has come as such a packet takes, or nothing more comes; if it is repeated before, they are dropped
    quarantine_limit  how many bytes such a packet takes at most, its first line too
    logline           what within a packet is worth an alarm, since it looks like a line of log

Where the length is known, line feeds tell it only between two bounds: a server may leave out the CR before each. What cannot
stand within the rest of the packet, as it is longer, is behind it.
"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

from sipguard.detection.expressions import one_of, whole_number

if TYPE_CHECKING:
    from collections.abc import Callable

    import regex

    from sipguard.detection.expressions import Expression
    from sipguard.detection.results import Counts
    from sipguard.model import Filter

PACKET = 65_536
"""Bytes of the largest packet that a SIP server takes."""
_DASHES = re.compile(rb" *-{20,}\r?")
_MOST_HELD = 4096
"""Lines held behind what may be a packet's end."""

Numbered = tuple[int, bytes, str]
"""A line: its number, its bytes without LF, its text."""


class Packets:
    """Takes the packets out of one log's lines."""

    def __init__(self, filter: Filter, begin: Expression, counts: Counts) -> None:  # noqa: A002
        """Lines within packets that look like lines of log count as tampered. Raises ConfigError when a regex is wrong."""
        self.begin, self._end = begin, one_of(filter, "quarantine_end")
        self._line = one_of(filter, "logline") or one_of(filter, "mixed")
        self._limit = whole_number(filter, "quarantine_limit", PACKET)
        self._counts = counts
        self._length = 0
        """Of the packet under way, if it is known; else 0."""
        self._least = self._most = 0
        """Bytes of it that have gone by, if its line ends were LF or CR LF."""
        self._inside = False
        """In a packet of unknown length, and no end has come."""
        self.budget = 0
        """Bytes that such a packet may still have: while there are any, it matters that nothing more comes."""
        self.busy = False
        """Whether the next line may belong to a packet."""
        self._held: list[Numbered] = []
        """Lines behind what may be its end, until its budget is used up."""

    @property
    def first_held(self) -> int | None:
        """The number of the first line that is held."""
        return self._held[0][0] if self._held else None

    def push(self, line: Numbered) -> list[Numbered]:
        """The lines that are known to stand outside of packets now. Raises TimeoutError.

        While not `busy`, a line without what every match of `begin` holds is one, and need not be pushed.
        """
        _, raw, text = line
        if self._length:
            return [] if self._is_within(raw, text) else self.push(line)
        if self.budget > 0:
            return self._in_packet(line)
        if self.begin.found(text):  # of most lines its texts tell that at once
            begin = self.begin.search(text)
            if begin is not None:
                self._enter(begin, len(raw))
        return [line]

    def release(self) -> list[Numbered]:
        """Nothing more comes: a packet whose length is unknown is over, and so is what was held."""
        self._inside, self.budget, self.busy = False, 0, False
        held, self._held = self._held, []
        return held

    def _enter(self, begin: regex.Match[str], first: int) -> None:
        length = begin.groupdict().get("bytes")
        if length:
            self._length, self._least, self._most = min(int(length), PACKET), 0, 0
            self.busy = self._length > 0
            return
        self._inside = True
        self.budget = self._limit - first - 1
        self.busy = self.budget > 0

    def _is_within(self, raw: bytes, text: str) -> bool:
        if not self._most and _DASHES.fullmatch(raw):
            return True
        if self._most >= self._length and (self._least >= self._length or self._least + len(raw) > self._length):
            self._length, self.busy = 0, False
            return False
        self._least += len(raw) + 1
        self._most += len(raw) + 2
        self._counts.tampered += self._looks_like_log(text)
        return True

    def _in_packet(self, line: Numbered) -> list[Numbered]:
        """A line that is the packet's, or behind what may be the end of the packet or a part of it."""
        _, raw, text = line
        is_end = self._end is not None and self._end.found(text)  # first: a line that takes too long changes nothing
        self.budget -= len(raw) + 1
        self.busy = self.budget > 0
        if is_end:
            # A second end: all since the first was the packet's as well.
            self._counts.tampered += len(self._held)
            self._held = []
            self._inside = False
        elif not self._inside:
            self._held.append(line)
        elif self._looks_like_log(text):
            self._counts.tampered += 1
        if self.budget > 0 and len(self._held) < _MOST_HELD:
            return []
        return self._pushed_again(self.release())

    def _pushed_again(self, lines: list[Numbered]) -> list[Numbered]:
        """What was held stands outside of that packet; another may begin in it."""
        push: Callable[[Numbered], list[Numbered]] = self.push
        return [passed for line in lines for passed in push(line)]

    def _looks_like_log(self, text: str) -> bool:
        return self._line is not None and self._line.found(text)
