"""Every ban that is decided and not over: one record for each jail and address, and how far it is.

ordered → live, or no room / refused (which the firewall worker tries again) → live → over, which ends the record.
"""

from __future__ import annotations

import heapq
import math
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, replace
from enum import Enum
from itertools import islice

from sipguard.addresses import covers
from sipguard.model import Ban

_STALE = 100
"""Ends that have moved, and are let stand in the queue however few bans there are."""


class State(Enum):
    ORDERED = "ordered"
    NO_ROOM = "no room"
    """No set of the kernel has room for it now."""
    REFUSED = "refused"
    """The kernel refuses this one, for a reason of its own."""
    LIVE = "live"


@dataclass(slots=True)
class Record:
    ban: Ban
    state: State = State.ORDERED
    live: bool = False
    """Whether the kernel has had it, so that it is stored and logged; True also while a live ban is ordered again."""
    seen: float = 0.0
    """When it was decided, or when its address was last seen to get through in spite of it: POSIX seconds."""
    refusal: str = ""
    """Why the kernel refuses it."""
    adopted: bool = False
    """Found in the kernel only; the database may know more."""
    notified: bool = False
    """Whether the jail's actions have been told of it."""
    over: bool = False
    """It has ended, or another decision has taken its place."""


class BanLedger:
    """The records. Iteration gives the live bans."""

    def __init__(self) -> None:
        self._jails: dict[str, dict[str, Record]] = {}
        self._ends: list[tuple[float, str, str]] = []
        """(until, jail, address) of live bans, a heap; with ends that have moved since."""
        self._waiting: dict[State, dict[int, Record]] = {State.NO_ROOM: {}, State.REFUSED: {}}
        """By identity, longest waiting first."""
        self.waits = False
        """Whether any of them is waiting."""
        self._size = 0
        """Records."""
        self._live: dict[str, int] = {}
        """Jail → number of live bans: who watches asks for it all the time."""
        self.moves = 0
        """Counts changes (a ban began, ended, got another end), so that a reader can tell whether it has seen them all."""

    def __iter__(self) -> Iterator[Ban]:
        for records in self._jails.values():
            yield from (record.ban for record in records.values() if record.live)

    def __len__(self) -> int:
        return sum(self._live.values())

    def count(self, jail: str) -> int:
        """The number of live bans of one jail."""
        return self._live.get(jail, 0)

    def latest(self, most: int) -> list[Ban]:
        """Up to `most` live bans, those that began last first."""
        found: list[Ban] = []
        for records in self._jails.values():
            live = (record.ban for record in reversed(records.values()) if record.live)
            found += islice(live, most)
        return sorted(found, key=lambda ban: ban.since, reverse=True)[:most]

    def of_runner(self, jail: str) -> Mapping[str, Record]:
        """Address → record of one jail: a view that stays true."""
        return self._jails.setdefault(jail, {})

    def record(self, jail: str, address: str) -> Record | None:
        """The ban of this address in this jail, live or not yet."""
        return self._jails.get(jail, {}).get(address)

    def get(self, jail: str, address: str) -> Ban | None:
        """The live ban of this address in this jail."""
        record = self._jails.get(jail, {}).get(address)
        return record.ban if record is not None and record.live else None

    def of_jail(self, jail: str) -> list[Ban]:
        """The live bans of one jail, oldest first."""
        records = self._jails.get(jail, {}).values()
        return sorted((record.ban for record in records if record.live), key=lambda ban: ban.since)

    def of_network(self, network: str) -> list[Ban]:
        """The live bans of exactly this address or network, in whichever jail."""
        found = (records.get(network) for records in self._jails.values())
        return [record.ban for record in found if record and record.live]

    def of_address(self, address: str) -> list[Ban]:
        """The live bans of one address, or of a network that holds it, in whichever jail."""
        return [ban for ban in self if ban.address == address or covers(ban.address, address)]

    def decide(self, ban: Ban) -> Record:
        """A jail, or somebody by hand, has decided on a ban."""
        records = self._jails.setdefault(ban.jail, {})
        before = records.get(ban.address)
        if before is None:
            self._size += 1
        else:
            before.over = True
            if before.live:
                self._live[ban.jail] -= 1
        record = records[ban.address] = Record(ban, seen=ban.since)
        return record

    def made(self, bans: Iterable[Ban], now: float) -> list[Ban]:
        """The kernel has these. Gives those that are live from `now` on: none that was live before, was undone, or is over."""
        begun = []
        for ban in bans:
            record = self._jails.get(ban.jail, {}).get(ban.address)
            if record is None or record.live:
                continue
            if record.ban.until <= now:
                self.end(ban.jail, ban.address)
            else:
                self.add(record.ban)  # the clock may have been set since this was ordered
                begun.append(record.ban)
        return begun

    def add(self, ban: Ban, *, adopted: bool = False) -> Record:
        """A ban is live; a live one of the same jail and address gets this one's times."""
        record = self._jails.get(ban.jail, {}).get(ban.address) or self.decide(ban)
        moved = not record.live or record.ban.until != ban.until
        if not record.live:
            self._live[ban.jail] = self._live.get(ban.jail, 0) + 1
        self.moves += moved
        record.seen = record.seen if record.live else ban.since
        record.ban, record.live, record.adopted = ban, True, adopted
        if self.waits:
            self._set(record, State.LIVE)
        record.state = State.LIVE
        if moved and not math.isinf(ban.until):
            heapq.heappush(self._ends, (ban.until, ban.jail, ban.address))
            if len(self._ends) > 2 * self._size + _STALE:
                self._rebuild()
        return record

    def end(self, jail: str, address: str) -> Record | None:
        """End a ban and return its record; None if there was none."""
        record = self._jails.get(jail, {}).pop(address, None)
        if record is not None:
            self._live[jail] = self._live.get(jail, 0) - record.live
            self._size -= 1
            self.moves += record.live
            record.over = True
            if self.waits:
                self._set(record, State.LIVE)
            if len(self._ends) > 2 * self._size + _STALE:
                self._rebuild()
        return record

    def wait(self, ban: Ban, state: State, refusal: str = "") -> bool:
        """The kernel has not taken a ban (NO_ROOM, REFUSED); whether that is new."""
        record = self.record(ban.jail, ban.address) or self.decide(ban)
        known = record.state is state
        record.refusal = refusal
        self._set(record, state)
        return not known

    def taken(self, bans: Iterable[Ban]) -> None:
        """Stop waiting for these: the kernel has them, or they are queued again."""
        for ban in bans if self.waits else ():
            if (record := self.record(ban.jail, ban.address)) and record.state in self._waiting:
                self._set(record, State.LIVE if record.live else State.ORDERED)

    def waiting(self, state: State) -> list[Ban]:
        """The bans that the kernel has not taken for this reason, those that have waited longest first."""
        return [record.ban for record in self._waiting[state].values()]

    def next_end(self) -> float | None:
        """When the next live ban ends; None if none ever does."""
        while self._ends:
            until, jail, address = self._ends[0]
            record = self._jails.get(jail, {}).get(address)
            if record is not None and record.live and record.ban.until == until:
                return until
            heapq.heappop(self._ends)  # it was unbanned, or got another end since
        return None

    def ended(self, now: float) -> list[Ban]:
        """The live bans whose end has come at `now`. They stay until `end`."""
        ended = []
        while (end := self.next_end()) is not None and end <= now:
            _, jail, address = heapq.heappop(self._ends)
            ended.append(self._jails[jail][address].ban)
        return ended

    def shift(self, seconds: float) -> None:
        """The clock was set: every ban has as much time left as before."""
        for records in self._jails.values():
            for record in records.values():
                record.ban = shifted(record.ban, seconds)
                record.seen += seconds
        self._rebuild()

    def _set(self, record: Record, state: State) -> None:
        if record.state is not state:
            if record.state in self._waiting:
                self._waiting[record.state].pop(id(record), None)
            record.state = state
        if state in self._waiting:
            self._waiting[state][id(record)] = record
        self.waits = any(self._waiting.values())

    def _rebuild(self) -> None:
        """Make the queue anew, when most of it is ends that have moved: they would stay until their time, a day or a year."""
        self._ends = [(ban.until, ban.jail, ban.address) for ban in self if not math.isinf(ban.until)]
        heapq.heapify(self._ends)


def shifted(ban: Ban, seconds: float) -> Ban:
    """The same ban after the clock was set by this many seconds."""
    return replace(ban, since=ban.since + seconds, until=ban.until + seconds)
