"""Finds the attempt that a line of log tells of, and the line that tells of an attempt: one to one, bounded in memory."""

from __future__ import annotations

import heapq
import itertools
import re
import time as clock
from collections import OrderedDict, deque
from typing import TYPE_CHECKING, NamedTuple
from urllib.parse import unquote

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from sipguard.model import Failure
    from sipguard.wire_model import Attempt

TOLERANCE = 2.0
"""Seconds between what a line and the wire say of the time of one attempt: some logs have whole seconds alone."""
MEMORY = 600.0
"""Seconds that an attempt is remembered of which no line has told."""
MOST = 20_000
"""Attempts remembered in all; those of one address too."""
MOST_OF_ONE = 512
_AT_ONCE = 1000
_NAME = 24
"""Characters of a user that are compared: servers cut them."""
_NOISE = re.compile(r"[^0-9a-z]+")
_numbers = itertools.count(int(clock.time() * 1e6))
"""Unique beyond a restart too."""


def plain_name(name: str | None) -> str:
    """A user as packets and logs both may write it: escapes, case, quotes and length aside; "" where nothing is left."""
    return _NOISE.sub("", unquote(name).casefold())[:_NAME] if name else ""


class Testimony(NamedTuple):
    """A line or event that accuses an address."""

    failure: Failure
    address: str
    time: float
    log: str
    names: frozenset[str]
    method: str
    number: int
    heard: float
    """When it was read."""

    @classmethod
    def of(cls, failure: Failure, address: str, time: float, log: str, now: float) -> Testimony:
        """Made of what a detector has found."""
        names = frozenset(map(plain_name, (failure.user, *failure.users))) - {""}
        method = failure.tags.get("method", "") if "method" in failure.may_have else ""
        return cls(failure, address, time, log, names, method.upper(), next(_numbers), now)

    @property
    def user(self) -> str:
        """For people."""
        return self.failure.user or ""


class Witness:
    """An attempt that the wire has seen."""

    __slots__ = ("attempt", "counted", "names", "number")

    def __init__(self, attempt: Attempt, number: int | None = None) -> None:
        self.attempt = attempt
        self.names = {plain_name(one) for one in (attempt.user, attempt.account, attempt.target)} - {""}
        self.counted = False
        """The jail has weighed it already."""
        self.number = next(_numbers) if number is None else number

    @property
    def address(self) -> str:
        """Who would be accused by a line about it: the source of the packet, whoever is charged with it."""
        return self.attempt.source

    @property
    def time(self) -> float:
        """When it was answered."""
        return self.attempt.time

    @property
    def user(self) -> str:
        """For people."""
        return self.attempt.user


def agrees(testimony: Testimony, witness: Witness) -> bool:
    """Whether both may tell of one attempt of this address: time, user and method where both name them."""
    if abs(testimony.time - witness.attempt.time) > TOLERANCE:
        return False
    if testimony.names and witness.names and testimony.names.isdisjoint(witness.names):
        return False
    return not testimony.method or testimony.method == witness.attempt.method


class Witnesses:
    """Attempts without a line, by address; the oldest go first."""

    def __init__(self, *, dropped: Callable[[Witness], None] = lambda _witness: None, most: int = MOST) -> None:
        self._of: OrderedDict[str, deque[Witness]] = OrderedDict()
        self._dropped = dropped
        self._most = most
        self._number = 0
        self._lost = 0.0
        self._lost_of: OrderedDict[str, float] = OrderedDict()

    def __len__(self) -> int:
        return self._number

    def lost_until(self, address: str) -> float:
        """Attempts of this address before this time may be missing, since more came than can be remembered."""
        return max(self._lost, self._lost_of.get(address, 0.0))

    def add(self, witness: Witness) -> None:
        """Remember one."""
        under = self._of.get(witness.address)
        if under is None:
            under = self._of[witness.address] = deque()
        self._of.move_to_end(witness.address)
        under.append(witness)
        self._number += 1
        if len(under) > MOST_OF_ONE:
            self._lost_of[witness.address] = self._drop(under)
            if len(self._lost_of) > self._most // MOST_OF_ONE:
                self._lost_of.popitem(last=False)
        while self._number > self._most:
            oldest, under = next(iter(self._of.items()))
            self._lost = max(self._lost, self._drop(under))
            if not under:
                del self._of[oldest]

    def _drop(self, under: deque[Witness]) -> float:
        witness = under.popleft()
        self._number -= 1
        self._dropped(witness)
        return witness.time

    def take(self, testimony: Testimony) -> Witness | None:
        """The attempt that this line tells of: failures first, then the nearest in time."""
        return self._take([one for one in self._near(testimony) if agrees(testimony, one)], testimony)

    def take_counted(self, testimony: Testimony) -> Witness | None:
        """One that counts already, whatever its names are: one attempt may go by two."""
        return self._take([one for one in self._near(testimony) if one.counted], testimony)

    def first(self, testimony: Testimony, wanted: Callable[[Witness], bool]) -> Witness | None:
        """One that this line may tell of and that is wanted; it stays for other lines."""
        return next((one for one in self._near(testimony) if wanted(one) and agrees(testimony, one)), None)

    def _near(self, testimony: Testimony) -> list[Witness]:
        under = self._of.get(testimony.address, ())
        return [one for one in under if abs(one.time - testimony.time) <= TOLERANCE]

    def _take(self, found: list[Witness], testimony: Testimony) -> Witness | None:
        if not found:
            return None
        best = min(found, key=lambda one: (one.attempt.verdict != "failure", abs(one.time - testimony.time)))
        under = self._of[testimony.address]
        under.remove(best)
        self._number -= 1
        if not under:
            del self._of[testimony.address]
        return best

    def expire(self, before: float) -> None:
        """Forget those of before this time: of some addresses, in the order in which they were last heard of."""
        for address in list(itertools.islice(self._of, _AT_ONCE)):
            under = self._of[address]
            while under and under[0].time < before:
                self._drop(under)
            if not under:
                del self._of[address]

    def shift(self, seconds: float) -> None:
        """The clock was set."""
        for under in self._of.values():
            for one in under:
                one.attempt = one.attempt._replace(time=one.attempt.time + seconds)


class Waiting:
    """Testimony, each until a time of its own; `take` finds the one that an attempt belongs to."""

    def __init__(self, most: int = MOST, most_of_one: int = MOST_OF_ONE) -> None:
        self._of: dict[str, dict[int, Testimony]] = {}
        self._ends: list[tuple[float, int, str]] = []
        """A heap; those that were taken stay in it until their time."""
        self._most, self._most_of_one = most, most_of_one

    def __len__(self) -> int:
        return sum(map(len, self._of.values()))

    @property
    def first_end(self) -> float | None:
        """When the first one has waited long enough."""
        while self._ends and self._ends[0][1] not in self._of.get(self._ends[0][2], ()):
            heapq.heappop(self._ends)
        return self._ends[0][0] if self._ends else None

    def __contains__(self, address: str) -> bool:
        """Whether any about this address waits."""
        return address in self._of

    def of(self, address: str) -> list[Testimony]:
        """All about this address, which are removed."""
        return list(self._of.pop(address, {}).values())

    def add(self, testimony: Testimony, end: float) -> bool:
        """Let it wait; False when there is no room."""
        under = self._of.get(testimony.address, {})
        if len(under) >= self._most_of_one or len(self._ends) >= self._most:
            return False
        self._of.setdefault(testimony.address, under)[testimony.number] = testimony
        heapq.heappush(self._ends, (end, testimony.number, testimony.address))
        return True

    def take(self, witness: Witness) -> Testimony | None:
        """The one that tells of this attempt, the nearest in time."""
        found = [one for one in self._of.get(witness.address, {}).values() if agrees(one, witness)]
        if not found:
            return None
        return self._remove(witness.address, min(found, key=lambda one: abs(one.time - witness.time)).number)

    def ended(self, now: float) -> Iterator[Testimony]:
        """Those whose time has come; they are removed."""
        while self._ends and self._ends[0][0] <= now:
            _, number, address = heapq.heappop(self._ends)
            if number in self._of.get(address, ()):
                yield self._remove(address, number)

    def _remove(self, address: str, number: int) -> Testimony:
        under = self._of[address]
        testimony = under.pop(number)
        if not under:
            del self._of[address]
        return testimony

    def shift(self, seconds: float) -> None:
        """The clock was set."""
        self._ends = [(end + seconds, number, address) for end, number, address in self._ends]
        for under in self._of.values():
            for number, one in under.items():
                under[number] = one._replace(time=one.time + seconds, heard=one.heard + seconds)
