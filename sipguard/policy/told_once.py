"""Counts an attempt once although both the log and the events report it; while events arrive, the log is not counted.

Log and event of one attempt are paired, one to one. What has no partner yet is stored (`Unpaired`): after a crash a line whose
event was never read counts, and an event that has counted is known again when its line is read.
"""

from __future__ import annotations

import itertools
import math
import time as clock
from collections import OrderedDict, deque
from typing import TYPE_CHECKING, Literal, NamedTuple

from sipguard.addresses import canonical
from sipguard.model import Failure
from sipguard.policy.attempts import Attempts
from sipguard.policy.lag import by_zones
from sipguard.policy.wire import as_attempt
from sipguard.wire_model import Unpaired

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable

    from sipguard.model import Filter, LogEvent

Teller = Literal["log", "events"]
EVENT, SILENCED = "event", "silenced"
"""Kinds of `Unpaired`: an event that counted, and a line that did not."""

TOLERANCE = 2.0
"""Seconds by which log and event may differ on the time of one attempt: Asterisk's lines have whole seconds only."""
_REMEMBERED = 60.0
"""Seconds for which an attempt that only one of them has reported is remembered."""
_EARLIER = 3600.0
"""The same for events of an earlier run: the log of that time may still have to be read."""
_ADDRESSES = 4096
_OF_ONE = 256
_SPANS = 64
HELD = 6.0
"""Seconds for which uncounted log lines are kept: a server that dies may have logged what it sent no event for."""
_MOST_HELD = 1000
numbers = itertools.count(-int(clock.time() * 1e6), -1)
"""Unique beyond a restart too; those of `pairing` are positive."""


class _Unmatched(NamedTuple):
    """One of the two has told of an attempt, the other has not."""

    time: float
    teller: Teller
    until: float
    """When it is forgotten."""
    number: int = 0
    """Of its `Unpaired`, if it has one."""


class ToldOnce:
    """One jail's log and events. Times are those of the attempts, in POSIX seconds."""

    def __init__(
        self,
        filter: Filter,  # noqa: A002 - the noun of the field
        *,
        keep: Callable[[Unpaired], bool] = lambda _row: True,
        settle: Callable[[int], None] = lambda _number: None,
    ) -> None:
        """`keep` stores what must survive a crash, if it must; `settle` is called with its number when it need not any more.

        Raises `ConfigError`.
        """
        self.filter = filter
        self.silenced = 0
        """What the log has told while the events spoke."""
        self.repeated = 0
        """Attempts of which the second to tell would have counted too."""
        self._keep, self._settle = keep, settle
        self.attempts = Attempts(filter)
        self._told: OrderedDict[str, deque[_Unmatched]] = OrderedDict()
        """By address."""
        self._spans: deque[list[float]] = deque(maxlen=_SPANS)
        self._held: OrderedDict[int, tuple[float, Failure]] = OrderedDict()
        """Number → when it was read, and a line that did not count."""

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
        self.expire(now)
        held, self._held = self._held, OrderedDict()
        for number, (_, failure) in held.items():
            self._settle(number)
            self._add(_address(failure), _Unmatched(failure.time or now, "log", now + _REMEMBERED))
        return [failure for _, failure in held.values()]

    def forget(self) -> None:
        """Nobody listens to the events any more."""
        for told in self._told.values():
            for one in told:
                self._drop(one)
        self._told.clear()

    def restore(self, rows: Iterable[Unpaired], now: float) -> None:
        """Events that have counted in an earlier run, and that the log may repeat."""
        for row in rows:
            self._add(row.address, _Unmatched(row.time, "events", now + _EARLIER, row.number))

    def from_log(self, event: LogEvent, now: float, *, live: bool = False, alone: bool = False) -> LogEvent | None:
        """This event of the log as it is to be weighed; None if it does not count.

        `live`: it was read as it was written; `alone`: the server's events never tell of such.
        """
        time = now if event.time is None else event.time
        if live:
            time += by_zones(time, now)
        time = min(time, now)
        spoken = any(since <= time and (until == math.inf or time <= until - 1) for since, until in self._spans)
        is_silenced = spoken and not alone
        self.silenced += is_silenced
        if not isinstance(event, Failure):
            return None if is_silenced else event
        address = _address(event)
        if not self.attempts.new(address, event, time):
            return None  # of several lines about one attempt the first has a partner
        event = as_attempt(event)
        if alone:
            return event
        if self._partner("log", address, time) is not None:
            self.repeated += not is_silenced
            return None
        number = 0
        if is_silenced:
            if not self.events_speak:
                return None
            number = self._kept(SILENCED, address, event, time)
            self._held[number] = now, event._replace(time=time)
            self.expire(now)
        self._add(address, _Unmatched(time, "log", now + _REMEMBERED, number))
        return None if is_silenced else event

    def event_counts(self, event: LogEvent, now: float) -> bool:
        """Return whether this event of the server counts."""
        if not isinstance(event, Failure):
            return True
        time, address = now if event.time is None else event.time, _address(event)
        partner = self._partner("events", address, time)
        if partner is None:
            number = self._kept(EVENT, address, event, time)
            self._add(address, _Unmatched(time, "events", now + _REMEMBERED, number))
        elif not partner.number:  # its line has counted
            self.repeated += 1
            return False
        return True

    def expire(self, now: float) -> None:
        """Forget lines that no event has repeated; to be called every few seconds."""
        while self._held and (len(self._held) > _MOST_HELD or next(iter(self._held.values()))[0] <= now - HELD):
            self._settle(self._held.popitem(last=False)[0])

    def prune(self, now: float) -> None:
        """Forget all that is too old to be repeated."""
        self.expire(now)
        for address, told in list(self._told.items()):
            while told and told[0].until < now:
                self._drop(told.popleft())
            if not told:
                del self._told[address]

    def shift(self, seconds: float) -> None:
        """The clock was set."""
        self.attempts.shift(seconds)
        for span in self._spans:
            span[:] = [time + seconds for time in span]
        self._held = OrderedDict((number, (since + seconds, one)) for number, (since, one) in self._held.items())
        for address, told in self._told.items():
            moved = (one._replace(time=one.time + seconds, until=one.until + seconds) for one in told)
            self._told[address] = deque(moved)

    def _kept(self, kind: str, address: str, failure: Failure, time: float) -> int:
        line = failure.lines[-1] if failure.lines else ""
        row = Unpaired(next(numbers), kind, address, time, failure.user or "", line, failure.regex)
        return row.number if self._keep(row) else 0

    def _partner(self, teller: Teller, address: str, time: float) -> _Unmatched | None:
        """What the other has reported of the same attempt: it is settled by that."""
        told = self._told.get(address, ())
        found = next((one for one in told if one.teller != teller and abs(one.time - time) <= TOLERANCE), None)
        if found is not None:
            self._told[address].remove(found)
            self._drop(found)
        return found

    def _add(self, address: str, report: _Unmatched) -> None:
        told = self._told.setdefault(address, deque())
        self._told.move_to_end(address)
        told.append(report)
        if len(told) > _OF_ONE:
            self._drop(told.popleft())
        if len(self._told) > _ADDRESSES:
            for one in self._told.popitem(last=False)[1]:
                self._drop(one)

    def _drop(self, report: _Unmatched) -> None:
        if report.number and (report.teller == "events" or self._held.pop(report.number, None) is not None):
            self._settle(report.number)


def _address(event: LogEvent) -> str:
    try:
        return canonical(event.host)
    except ValueError:
        return event.host
