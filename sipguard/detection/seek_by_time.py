"""Finds where in a long log the lines begin that still matter, by their dates, without reading what is before.

A log that nobody has followed yet may hold a month; a failure counts for as long as findtime. Lines are in the order of
their dates, so a few looks into the file are enough (bisection). Where dates do not tell, the log is read from its beginning.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from sipguard.detection.certain_dates import AmbiguousDateError, CertainDates
from sipguard.detection.datefields import zone_of
from sipguard.detection.dates import DateFinder
from sipguard.detection.encodings import codec_of, is_wide, line_decoder
from sipguard.detection.packets import PACKET
from sipguard.detection.record_assembler import RecordAssembler
from sipguard.detection.record_rule import declares
from sipguard.detection.results import Counts
from sipguard.errors import ConfigError

if TYPE_CHECKING:
    from typing import BinaryIO

    from sipguard.model import Clock, Filter

CLOSE = 1 << 20
"""Bytes that are read rather than searched further."""
MARGIN = 3 * 3600.0
"""Seconds: dates without a zone go back by an hour in autumn, and clocks are set."""
_LOOK = 65_536
"""Bytes within which a line with a date has to stand."""
_MOST_PACKETS = 16
"""Steps back, out of packets, after which the log is read from its beginning."""


def offset_since(
    file: BinaryIO,
    filter_: Filter,
    since: float,
    *,
    clock: Clock,
    timezone: str | None,
    encoding: str,
) -> int:
    """The beginning of a line; what is before it is older than `since` (POSIX seconds). 0 where that cannot be told.

    It does not stand within a packet that a server has dumped into its log (`quarantine_begin`): what a stranger wrote
    would be taken for lines of the server. Raises OSError.
    """
    try:
        codec = codec_of(encoding)
        finder = DateFinder(filter_.datepattern, clock=clock, zone=zone_of(timezone))
        screen = RecordAssembler(filter_, Counts()) if declares(filter_) else None
    except (ConfigError, ValueError, LookupError):
        return 0  # told of where the jail's detector is made
    if is_wide(codec):
        return 0
    looks = _Looks(file, CertainDates(finder, clock), codec)
    try:
        offset = looks.bisect(since - MARGIN)
    except (AmbiguousDateError, TimeoutError):
        return 0
    for _ in range(_MOST_PACKETS):
        if not offset or screen is None or not looks.in_packet(offset, screen):
            return offset
        offset = looks.line_from(max(0, offset - 4 * PACKET)) or 0
    return 0


class _Looks:
    """Looks into a log here and there."""

    def __init__(self, file: BinaryIO, dates: CertainDates, codec: str) -> None:
        self._file = file
        self._dates = dates
        self._decode = line_decoder(codec)

    def bisect(self, since: float) -> int:
        """The last line known to be older than `since`, or 0."""
        low, high = 0, self._file.seek(0, 2)
        while high - low > CLOSE:
            middle = (low + high) // 2
            found = self._dated(middle)
            if found is None:
                return low  # no date there: what is known so far has to do
            if found[1] < since:
                low = found[0]
            else:
                high = middle
        return low

    def _dated(self, offset: int) -> tuple[int, float] | None:
        """The first line with a date behind `offset`: where it begins, and its date."""
        begin = self.line_from(offset)
        if begin is None:
            return None
        self._file.seek(begin)
        for line in self._file.read(_LOOK).split(b"\n")[:-1]:
            when = self._dates.date_of(self._decode(line).rstrip("\r"))
            if when is not None:
                return begin, when
            begin += len(line) + 1
        return None

    def line_from(self, offset: int) -> int | None:
        """Where the first line begins at or behind `offset`; None where no line ends nearby."""
        if not offset:
            return 0
        self._file.seek(offset - 1)
        end = self._file.read(_LOOK).find(b"\n")
        return offset + end if end >= 0 else None

    def in_packet(self, offset: int, screen: RecordAssembler) -> bool:
        """Whether a packet that begins before `offset` may reach so far."""
        begin = max(0, offset - 4 * PACKET)
        self._file.seek(begin)
        try:
            return any(
                screen.rule.opens_packet(self._decode(line)) for line in self._file.read(offset - begin).split(b"\n")
            )
        except TimeoutError:
            return True
