"""A detector's results: its counts, and everything about one line; and the record that it reads."""

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
    """Lines read one by one. A search over the bytes skips all others: they cannot match."""
    candidates: int = 0
    """Lines that `prefregex`, if there is one, let through to the failregexes."""
    searches: int = 0
    """Searches by a failregex, prefregex or ignoreregex."""
    failures: int = 0
    ignored: int = 0
    """Lines that an ignoreregex matched."""
    undated: int = 0
    """Lines that were read and have no date."""
    timed_out: int = 0
    """Lines skipped because a regex took longer than the time limit."""
    tampered: int = 0
    """Lines and records that somebody else has written into: no address that they name was counted."""
    by_header: int = 0
    """Records of several lines that ended because the next record began."""
    at_end: int = 0
    """Records of several lines that ended because nothing more came for a while."""

    def __sub__(self, other: Counts) -> Counts:
        """The counts since `other`, an earlier copy."""
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
    """Everything about one line, for `test-filter`."""

    matched: bool
    """The line is a failure and names an id."""
    ignored: bool
    """An ignoreregex matched the line."""
    failure: Failure | None
    time: float | None
    """When it was logged, POSIX seconds, whether it matched or not."""
    date_format: str | None
    """The date pattern that found the date."""
    regex: int | None
    """Index of the failregex that matched, even if the match alone is no failure (`<F-NOFAIL>`, or more lines to come)."""
    nofail: bool = False
    """That regex has `<F-NOFAIL>`: its line is no failure."""
    consumed: int = 0
    """Earlier lines that the match includes, for a filter with `maxlines`."""


class Ready(NamedTuple):
    """A complete record, ready for the detector."""

    text: str
    number: int
    """Number of the record's first line, from 1."""
    trusted: bool
    """Only the server can have written the whole record."""
    time: float | None = None
    """When it was logged, POSIX seconds, if the source says so, as the journal does; else the text has the date."""
    hung: tuple[str, ...] = ()
    """Other readings, tried in order until one gives a result: records that seem to follow a cut record in the same line."""
