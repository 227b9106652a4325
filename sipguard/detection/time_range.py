"""From when to when a log goes, without reading all of it: the first and the last date of what goes by."""

from __future__ import annotations

from typing import TYPE_CHECKING

from sipguard.detection.certain_dates import AmbiguousDateError, CertainDates
from sipguard.detection.datefields import zone_of
from sipguard.detection.dates import DateFinder
from sipguard.detection.encodings import codec_of, line_decoder
from sipguard.detection.json_lines import from_json

if TYPE_CHECKING:
    from collections.abc import Iterable

    from sipguard.model import Clock, Filter

_MOST_LINES = 200
"""Lines without a date in a row after which a piece is taken to have none there."""


class Span:
    """Give it a log in pieces of whole lines; `first` and `last` are POSIX seconds, None as long as there is no date."""

    def __init__(self, filter_: Filter, *, clock: Clock, timezone: str | None, encoding: str) -> None:
        """Raises ValueError or LookupError as the making of a detector would say better."""
        self.first: float | None = None
        self.last: float | None = None
        finder = DateFinder(filter_.datepattern, clock=clock, zone=zone_of(timezone))
        self._dates = CertainDates(finder, clock)
        self._decode = line_decoder(codec_of(encoding))
        self._json = filter_.options.get("jsonline", "")

    def add(self, data: bytes) -> None:
        """The next piece."""
        if self.first is None:
            self.first = self._find(data.split(b"\n", _MOST_LINES)[:_MOST_LINES])
        last = self._find(reversed(data.rsplit(b"\n", _MOST_LINES + 1)[-_MOST_LINES - 1 :]))
        if last is not None:
            self.last = last

    def _find(self, lines: Iterable[bytes]) -> float | None:
        for line in lines:
            text: str | None = self._decode(line).rstrip("\r")
            if text and self._json and text.startswith("{"):
                text = from_json(self._json, text)
            try:
                when = self._dates.date_of(text) if text else None
            except (AmbiguousDateError, TimeoutError):
                continue
            if when is not None:
                return when
        return None
