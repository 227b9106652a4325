"""Counts an attempt once although both the log and the events report it; while events arrive, the log is not counted."""

from __future__ import annotations

import math
from collections import OrderedDict, deque
from typing import TYPE_CHECKING, Literal

from sipguard.model import Failure
from sipguard.policy.lag import by_zones

if TYPE_CHECKING:
    from collections.abc import Iterable

    from sipguard.model import LogEvent

Teller = Literal["log", "events"]

TOLERANCE = 2.0
"""Seconds by which log and event may differ on the time of one attempt: Asterisk's lines have whole seconds only."""
_REMEMBERED = 10.0
"""Seconds for which an attempt that only one of them has reported is remembered."""
_ADDRESSES = 4096
_OF_ONE = 256
_SPANS = 64
HELD = 6.0
"""Seconds for which uncounted log lines are kept: a server that dies may have logged what it sent no event for."""
_MOST_HELD = 1000


class ToldOnce:
    """One jail's log and events. Times are those of the attempts, in POSIX seconds."""

    def __init__(self) -> None:
        self.silenced = 0
        """What the log has told while the events spoke."""
        self.repeated = 0
        """Attempts of which both have told."""
        self._told: OrderedDict[str, deque[tuple[float, Teller]]] = OrderedDict()
        self._earlier: dict[str, list[float]] = {}
        self._spans: deque[list[float]] = deque(maxlen=_SPANS)
        self._held: deque[Failure] = deque(maxlen=_MOST_HELD)

    @property
    def events_speak(self) -> bool:
        """Whether events arrive now."""
        return bool(self._spans) and self._spans[-1][1] == math.inf

    def begin(self, now: float) -> None:
        """The events begin to speak."""
        if not self.events_speak:
            self._spans.append([now, math.inf])

    def end(self, now: float) -> list[Failure]:
        """Note that the events have ended. Returns the attempts that the log reported just before and the events did not."""
        if not self.events_speak:
            return []
        self._spans[-1][1] = now
        held, self._held = self._held, deque(maxlen=_MOST_HELD)
        return [one for one in held if (one.time or now) > now - HELD and self._is_new("log", one, now)]

    def told_before(self, attempts: Iterable[tuple[str, float]]) -> None:
        """Add attempts that events reported to an earlier run: the log may report them again."""
        for address, time in attempts:
            self._earlier.setdefault(address, []).append(time)

    def log_counts(self, event: LogEvent, now: float, *, live: bool = False) -> bool:
        """Return whether this event of the log counts. `live`: it was read as it was written."""
        time = now if event.time is None else event.time
        if live:
            time += by_zones(time, now)
        time = min(time, now)
        if any(since <= time and (until == math.inf or time <= until - 1) for since, until in self._spans):
            self.silenced += 1
            if isinstance(event, Failure) and self.events_speak:
                self._held.append(event._replace(time=time))
            return False
        return not isinstance(event, Failure) or self._is_new("log", event._replace(time=time), now)

    def event_counts(self, event: LogEvent, now: float) -> bool:
        """Return whether this event of the server counts."""
        return not isinstance(event, Failure) or self._is_new("events", event, now)

    def _is_new(self, teller: Teller, failure: Failure, now: float) -> bool:
        time = now if failure.time is None else failure.time
        if teller == "log" and self._take_earlier(failure.host, time):
            self.repeated += 1
            return False
        told = self._told.get(failure.host)
        if told is None:
            told = self._told[failure.host] = deque(maxlen=_OF_ONE)
        self._told.move_to_end(failure.host)
        while told and told[0][0] < time - _REMEMBERED:
            told.popleft()
        for number, (when, who) in enumerate(told):
            if who != teller and abs(when - time) <= TOLERANCE:
                del told[number]
                self.repeated += 1
                return False
        told.append((time, teller))
        if len(self._told) > _ADDRESSES:
            self._told.popitem(last=False)
        return True

    def _take_earlier(self, address: str, time: float) -> bool:
        times = self._earlier.get(address)
        match = next((one for one in times if abs(one - time) <= TOLERANCE), None) if times else None
        if times is None or match is None:
            return False
        times.remove(match)
        return True
