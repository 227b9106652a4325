"""What a detector says: its counts, and all about one line; and what it is given to read."""

from __future__ import annotations

from dataclasses import dataclass, fields
from typing import TYPE_CHECKING, NamedTuple

if TYPE_CHECKING:
    from collections.abc import Iterable

    from sipguard.model import Failure


@dataclass(slots=True)
class Counts:
    """What a detector has seen so far."""

    lines: int = 0
    read: int = 0
    """Lines that were looked at one by one; of the others a search over the bytes has said that they cannot match."""
    candidates: int = 0
    """Lines that `prefregex`, if there is one, let through to the failregexes."""
    searches: int = 0
    """Searches by a failregex, prefregex or ignoreregex."""
    failures: int = 0
    ignored: int = 0
    """Lines that an ignoreregex took."""
    undated: int = 0
    """Lines that were read and in which no date was found."""
    timed_out: int = 0
    """Lines skipped since a regex took longer than the time limit."""
    tampered: int = 0
    """Lines and records that somebody has written into: nobody whom they name was accused."""
    by_header: int = 0
    """Records that might have gone on, and were known to be whole when the next one began."""
    at_end: int = 0
    """The same, when nothing more came."""

    def __sub__(self, other: Counts) -> Counts:
        """What has been seen since it was `other`."""
        return Counts(*(getattr(self, each.name) - getattr(other, each.name) for each in fields(self)))

    @classmethod
    def total(cls, parts: Iterable[Counts]) -> Counts:
        """The sum over several logs."""
        total = cls()
        for part in parts:
            for each in fields(cls):
                setattr(total, each.name, getattr(total, each.name) + getattr(part, each.name))
        return total


@dataclass(frozen=True, slots=True)
class Examined:
    """All about one line, for `test-filter`."""

    matched: bool
    """It is a failure with an id."""
    ignored: bool
    """An ignoreregex took it."""
    failure: Failure | None
    time: float | None
    """When it was logged, POSIX seconds, whether it matched or not."""
    date_format: str | None
    """The date pattern that found the date."""
    regex: int | None
    """Index of the failregex that matched, also where that was no failure by itself (`<F-NOFAIL>`, pending)."""
    nofail: bool = False
    """The regex that matched says that its line is no failure."""
    consumed: int = 0
    """Lines before this one that the match has used up, in a filter with `maxlines`."""


class Ready(NamedTuple):
    """A record for the detector."""

    text: str
    number: int
    """Which line it is, counted from 1; of a record of several, its first."""
    trusted: bool
    """Nobody but the server can have written it as a whole."""
    time: float | None = None
    """When it was logged, where its source tells that, as the journal does; POSIX seconds."""
    hung: tuple[str, ...] = ()
    """What to read instead, one after another, while nothing is told: records that seem to hang on others in this line."""
