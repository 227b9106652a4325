"""Lines whose time is not that of their being written: a server that logs UTC without saying so, or another zone than ours.

Such a line is hours old, or of tomorrow, when it is written: without more it would count for nothing. A line that is read as it
is written tells by how much. Of `learn`: when some in a row are off by the same multiple of a quarter of an hour, as zones are,
that is the log's offset, for lines of earlier as well. Of `now`, Fail2ban's way: what is off by more than a minute is taken as
written now, in every log whose end was read once.
"""

from __future__ import annotations

import logging
from operator import attrgetter
from typing import TYPE_CHECKING, Literal

from sipguard.text import printable

if TYPE_CHECKING:
    from collections.abc import Container, Sequence

    from sipguard.model import LogEvent

log = logging.getLogger("fail2ban.filter")

ZONES = 900.0
"""Seconds: every zone's difference to UTC is a multiple."""
LARGEST = 26 * 3600.0
"""Seconds between the zones that are furthest apart, UTC-12 and UTC+14."""
NEAR = 60.0
"""Seconds between a line's time and its being read that are no lag."""
PROOF = 3
"""Failures in a row that are off by the same."""
TOLD_EVERY = 86_400.0
"""Seconds between two words about the same log."""

_TIME = attrgetter("time")


def by_zones(time: float, now: float) -> float:
    """By how many seconds a line that is written now is behind, if zones explain it; else 0."""
    offset = round((now - time) / ZONES) * ZONES
    return offset if abs(now - time - offset) <= NEAR and abs(offset) <= LARGEST else 0.0


class Lag:
    """The times of one log's lines. `findtime`: seconds after which a failure counts no more."""

    def __init__(self, path: str, way: Literal["learn", "now"], findtime: float) -> None:
        self.path = path
        self.live = self.ended = False
        """As in `Chunk`, of what is read now."""
        self.offset = 0.0
        """Seconds that are added to the time of every line."""
        self.odd: float | None = None
        """By how many seconds lines are late that no zone explains; None when they are not."""
        self.moved = 0.0
        """Seconds that were added to the times that were given last."""
        self._log = printable(path)
        self._way = way
        self._findtime = findtime
        self._expected = 0.0
        self._held: list[LogEvent] = []
        self._seen = 0
        self._told = float("-inf")

    @property
    def seen_as(self) -> str:
        """The log, with the correction of its times: a witness of one correction vouches for no other."""
        minutes = round(self.moved / 60)
        return f"{self.path}, its times moved by {minutes} min" if minutes else self.path

    def correct(self, events: Sequence[LogEvent], now: float) -> Sequence[LogEvent]:
        """The events that can be weighed now, each with the time at which it happened. Some may be held back for the next."""
        self.moved = self.offset
        # As nearly always: nothing is to be corrected nor learnt, which is asked once for all lines of an attack.
        if not self.offset and not self._seen:
            learns = self.live if self._way == "learn" else self.ended
            times = list(filter(None, map(_TIME, events))) if learns else []
            if not times:
                return events
            if now - min(times) <= NEAR and max(times) - now <= NEAR:
                self.odd = None if self._way == "learn" else self.odd
                return events
        return [one for event in events for one in self._correct(event, now)]

    def _correct(self, event: LogEvent, now: float) -> Sequence[LogEvent]:
        if event.time is None:
            return (event,)
        if self._way == "now":
            return (self._as_now(event, now) if self.ended and abs(event.time - now) > NEAR else event,)
        if self.live:
            return self._learn(event, now)
        return (self._moved(event),)

    def release(self) -> Sequence[LogEvent]:
        """What is held back, when nothing else has come."""
        held, self._held = [self._moved(one) for one in self._held], []
        return held

    def _as_now(self, event: LogEvent, now: float) -> LogEvent:
        self.odd = self.moved = now - (event.time or now)
        if now > self._told + TOLD_EVERY:
            self._told = now
            log.warning(
                "%s: its lines are %s %s when they are written; the time zone is wrong, or something delays them: "
                "they are counted as if they had just happened", self._log, _span(self.odd), _side(self.odd),
            )  # fmt: skip
        return _at(event, now)

    def _learn(self, event: LogEvent, now: float) -> Sequence[LogEvent]:
        behind = now - (event.time or now)
        offset = round(behind / ZONES) * ZONES
        if abs(behind - offset) > NEAR or abs(offset) > LARGEST:
            self._tell_odd(behind, now)
            return (*self._forget(self.offset), self._moved(event))
        self.odd = None
        if offset == self.offset:
            return (*self._forget(offset), self._moved(event))
        earlier = self._forget(offset) if offset != self._expected or not self._seen else ()
        self._seen += 1
        if self._seen < PROOF:
            if now - ((event.time or now) + self.offset) <= self._findtime:
                return (*earlier, self._moved(event))
            self._held.append(event)
            return earlier
        self.offset = self.moved = offset
        log.warning(
            "%s: its times are %s %s this machine's clock, and its lines name no time zone: sipguard corrects them by that. "
            "To be sure, set `timezone` in the jail", self._log, _span(offset), "behind" if offset > 0 else "ahead of",
        )  # fmt: skip
        return (*earlier, *self._forget(offset), self._moved(event))

    def _forget(self, expected: float) -> Sequence[LogEvent]:
        """Begin to count anew, for another offset; gives what was held back."""
        self._seen, self._expected = 0, expected
        return self.release()

    def _tell_odd(self, behind: float, now: float) -> None:
        self.odd = behind
        if behind > self._findtime and now > self._told + TOLD_EVERY:
            self._told = now
            log.warning(
                "%s: its lines are %s old when they are written, more than findtime: they do not count. "
                "Mend what delays them, or raise findtime", self._log, _span(behind),
            )  # fmt: skip

    def _moved(self, event: LogEvent) -> LogEvent:
        return _at(event, (event.time or 0.0) + self.offset) if self.offset and event.time is not None else event


class Lags(dict[str, Lag]):
    """The times of a jail's logs, by their paths; there is one for every log."""

    def __init__(self, way: Literal["learn", "now"], findtime: float) -> None:
        self._way = way
        self._findtime = findtime
        self.now_read = self[""]
        """Those of the log that is read now."""

    def __missing__(self, path: str) -> Lag:
        """That of a log that has told nothing yet."""
        self[path] = lag = Lag(path, self._way, self._findtime)
        return lag

    def keep(self, followed: Container[str]) -> None:
        """Forget all logs but these."""
        for path in [path for path in self if path not in followed]:
            del self[path]

    def found(self) -> dict[str, float]:
        """Log → seconds by which its clock was found to be behind ours, or its lines late; of those that are."""
        found = {path: lag.offset or lag.odd or 0.0 for path, lag in self.items()}
        return {path: seconds for path, seconds in found.items() if seconds}


def _at(event: LogEvent, time: float) -> LogEvent:
    return event._replace(time=time)


def _span(seconds: float) -> str:
    minutes = max(1, round(abs(seconds) / 60))
    hours, rest = divmod(minutes, 60)
    return " ".join([f"{hours} h"] * bool(hours) + [f"{rest} min"] * bool(rest))


def _side(behind: float) -> str:
    return "old" if behind > 0 else "ahead"
