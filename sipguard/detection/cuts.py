"""Finds where a server has cut a long record. The line feed is cut off too, so the next record follows in the same line.

A server cuts after a fixed number of bytes, so the length says where. But it may remove characters after the cut, which moves
the place: a caller's text may stand where a cut would be. So the text behind the place must look like the server's own as well.
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
        """Offset in bytes at which the server has cut the record and the next one begins; 0 if none. Raises TimeoutError."""
        place = first = self._rule.cut_place(raw, text)
        while place and place < len(raw):
            behind = self._decode(raw[place : place + self._rule.cut])
            if self._rule.has_records and not self._rule.may_begin_write(behind):
                return 0
            if self._thread is None or self._may_follow(text, behind):
                return place
            if self._thread.number(behind) != self._thread.number(text):
                return 0
            place += first
        return 0

    def _may_follow(self, text: str, behind: str) -> bool:
        """Whether `behind` may be the beginning of a record of the server, after the cut in the line `text`.

        A record of the same thread as the line's is not meant: `own_thread` finds it by its number, wherever in the line it is.
        """
        assert self._thread is not None  # noqa: S101 - `place` has checked that
        number = self._thread.number(behind)
        if number:
            return not self._thread.number(text) and self._heads.has_shown(number)
        heads = self._heads.heads(behind)[:1]
        return not heads or not self._heads.is_known or self._heads.may_hang(text, heads)
