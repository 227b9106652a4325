"""What a detector works on and reports: the record that it reads, its findings on one record, its counts over a log."""

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
    """Lines and records read. The others were skipped: most because a search over the bytes shows that they cannot match."""
    candidates: int = 0
    """Lines and records that the failregexes were tried on."""
    searches: int = 0
    """Searches with one of the filter's regexes."""
    failures: int = 0
    ignored: int = 0
    """Lines that an ignoreregex matched."""
    undated: int = 0
    """Lines without a valid date, among those read; `Surveyor` adds those skipped."""
    timed_out: int = 0
    """Lines skipped because a regex took longer than the time limit."""
    tampered: int = 0
    """Lines and records into which somebody other than the server has written. Text that may be a stranger's accuses nobody."""
    by_header: int = 0
    """Records of several lines whose end was known because the next record began."""
    at_end: int = 0
    """Records of several lines that were taken as ended because nothing more came for a while."""

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
    """The findings on one line or record: `test-filter` and `fail2ban-regex` show them."""

    matched: bool
    """The line is a failure, or completes one."""
    ignored: bool
    """An ignoreregex matched the line."""
    failure: Failure | None
    time: float | None
    """When it was logged, in POSIX seconds; None if not known. Lines that do not match have it too."""
    date_format: str | None
    """Name of the pattern that found the date; None if the line has no valid date."""
    regex: int | None
    """Index of the failregex that matched. The match alone may be no failure: see `nofail`, or its session may be unfinished."""
    nofail: bool = False
    """The match is no failure, because its regex or its session has `<F-NOFAIL>`."""
    consumed: int = 0
    """Number of earlier lines that are part of the match, for a filter with `maxlines`."""


class Ready(NamedTuple):
    """A complete record, ready for the filter's regexes."""

    text: str
    number: int
    """Number of the record's first line, from 1. Where nothing shows it, any number that no other record has."""
    trusted: bool
    """Only the server can have written the whole record."""
    time: float | None = None
    """When it was logged, in POSIX seconds, if the source says it, as the journal does. If None, the date is in the text."""
    hung: tuple[str, ...] = ()
    """Texts to try in this order, after `text`, until one gives a result.

    A server that cuts a record may write the next one into the same line. Each of these texts is the rest of the line from where
    such a record seems to begin (see `own_thread`).
    """
