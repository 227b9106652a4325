"""The detectors of a jail, one for each log. Jails that read a log alike share one: it is searched once for all of them."""

from __future__ import annotations

from collections.abc import Container, Iterable
from typing import NamedTuple
from weakref import WeakValueDictionary

from sipguard.detection.detector import Detector
from sipguard.detection.record_rule import declares
from sipguard.detection.results import Counts
from sipguard.detection.tags import without_names
from sipguard.model import Clock, Filter, Jail, LogEvent

Told = dict[Detector, tuple[list[LogEvent], Counts]]
"""What detectors have said of the same lines, and had counted before: each is asked once, for all jails that share it."""


def entries(records: Iterable[tuple[float, str]], detector: Detector) -> list[LogEvent]:
    """What entries of the journal tell, (time, text)."""
    return [event for time, text in records for event in detector.entry(text, time)]


class LogReading(NamedTuple):
    """How a jail reads its logs."""

    filter: Filter
    encoding: str
    timezone: str | None


def reading_of(jail: Jail) -> LogReading:
    """Equal for jails that a log tells the same."""
    return LogReading(without_names(jail.filter) if jail.usedns == "no" else jail.filter, jail.encoding, jail.timezone)


class SharedDetectors:
    """The detectors of all jails, each as long as some jail has it."""

    def __init__(self, clock: Clock) -> None:
        self._clock = clock
        self._readings: list[LogReading] = []
        self._known: WeakValueDictionary[tuple[str, int], Detector] = WeakValueDictionary()

    def of(self, path: str, reading: LogReading) -> Detector:
        """The one for a log that is read like this. Raises `ConfigError`."""
        key = path, self._number(reading)
        detector = self._known.get(key)
        if detector is None:
            detector = Detector(reading.filter, clock=self._clock, timezone=reading.timezone, encoding=reading.encoding)
            self._known[key] = detector
        return detector

    def drop(self, path: str, reading: LogReading) -> None:
        """Nobody else is to have this one."""
        self._known.pop((path, self._number(reading)), None)

    def _number(self, reading: LogReading) -> int:
        if reading not in self._readings:
            self._readings.append(reading)
        return self._readings.index(reading)


class LogDetectors:
    """Log → its detector, and what a jail's detectors have counted."""

    def __init__(self, jail: Jail, shared: SharedDetectors) -> None:
        """Raises `ConfigError`: the jail's filter cannot be used."""
        self._shared = shared
        self._reading = reading_of(jail)
        self.known: dict[str, tuple[Detector, Counts]] = {}
        """Log → its detector, if anything of it was read, and what that had counted for others before."""
        self._left = Counts()
        """What detectors have counted that are no more."""
        self._tried = shared.of("", self._reading)

    def of(self, path: str, told: Told | None = None, before: bytes = b"") -> Detector:
        """The detector of a log: what one log has told so far says nothing of another. A new one looks at the lines `before`."""
        if path not in self.known:
            detector = self._shared.of(path, self._reading)
            filter_ = self._reading.filter
            if before and not detector.counts.lines and (declares(filter_) or "attempt_window" in filter_.options):
                detector.look_back(before)
            counted = told[detector][1] if told and detector in told else Counts.total([detector.counts])
            self.known[path] = detector, counted
        return self.known[path][0]

    def read_as(self, jail: Jail) -> None:
        """Read as the jail says now: every log has another detector if that is new. Raises `ConfigError`, changing nothing."""
        reading = reading_of(jail)
        if reading != self._reading:
            self._tried = self._shared.of("", reading)
            self._reading = reading
            self.keep(())

    def keep(self, followed: Container[str]) -> None:
        """Other logs are gone, and their detectors go; what those have counted stays."""
        gone = [self.known.pop(path) for path in list(self.known) if path not in followed]
        self._left = Counts.total([self._left, *(detector.counts - before for detector, before in gone)])

    def count_on(self, earlier: Counts) -> None:
        """So much was counted before a reload."""
        self._left = Counts.total([self._left, earlier])

    def drop(self, path: str) -> None:
        """Something went wrong in the detector of this log: nobody may believe it again."""
        if path in self.known:
            self._shared.drop(path, self._reading)
            self.keep(set(self.known) - {path})

    @property
    def counts(self) -> Counts:
        """What the detectors of all logs have counted for this jail."""
        return Counts.total([self._left, *(detector.counts - before for detector, before in self.known.values())])
