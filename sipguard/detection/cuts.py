"""Finds where a server has cut a record, and lost its line feed with what it cut off: the next record stands behind, in one line.

That is told by the length of the line. But what a server takes out of a line after the cut makes it shorter, so that in the
line of another record a caller's text may stand where a cut would be. What stands there must be the server's by its looks too.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Callable

    from sipguard.detection.hanging import HangingHeads
    from sipguard.detection.own_thread import OwnThread
    from sipguard.detection.record_rule import RecordRule


class Cuts:
    """The cuts in the lines of one log."""

    def __init__(
        self, rule: RecordRule, thread: OwnThread | None, heads: HangingHeads, decode: Callable[[bytes], str]
    ) -> None:
        self._rule, self._thread, self._heads, self._decode = rule, thread, heads, decode

    def place(self, raw: bytes, text: str) -> int:
        """Where in the line the server has cut its record, and the next one begins; 0 where it has not. Raises TimeoutError."""
        place = first = self._rule.cut_place(raw, text)
        while place and place < len(raw):
            behind = self._decode(raw[place : place + self._rule.cut])
            if self._rule.has_records and not self._rule.begins(behind) and not self._rule.opens_packet(behind):
                return 0
            if self._thread is None or self._may_follow(text, behind):
                return place
            if self._thread.number(behind) != self._thread.number(text):
                return 0
            place += first
        return 0

    def _may_follow(self, text: str, behind: str) -> bool:
        """Whether the server may have begun a record with `behind`, where it cuts the line `text`.

        Another record of the thread that has begun the line is told by its number wherever it hangs (`own_thread`).
        """
        assert self._thread is not None  # noqa: S101 - told apart by the caller
        number = self._thread.number(behind)
        if number:
            return not self._thread.number(text) and self._heads.has_shown(number)
        heads = self._heads.heads(behind)[:1]
        return not heads or not self._heads.is_known or self._heads.may_hang(text, heads)
