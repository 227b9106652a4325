"""Times in which packets may have gone unseen: of everybody, or of one address."""

from __future__ import annotations

import socket

from sipguard.detection.sip.generations import Generations
from sipguard.wire_model import Blindness

_MOST = 64
_ADDRESSES = 50_000
_KEPT = 7200.0
"""Seconds for which it is known of one address."""
_JOINED = 1.0
"""Seconds between two blind times for one reason that make them one."""


class BlindTimes:
    """Bounded: the oldest times are joined to one, and addresses too many make everybody's time blind."""

    def __init__(self) -> None:
        self._of_all: list[Blindness] = []
        self._of_one: Generations[bytes | str, Blindness] = Generations(_KEPT, _ADDRESSES)

    def add(self, time: Blindness, address: str = "") -> None:
        """Note it; one that goes on is one."""
        if address:
            key = _place(address)
            before = self._of_one.get(key)
            if before is not None and time.since <= before.until + _JOINED:
                reason = before.reason if time.reason in before.reason else f"{before.reason}; {time.reason}"
                time = Blindness(min(before.since, time.since), max(before.until, time.until), reason)
            self._of_one.put(key, time, time.until)
            return
        last = self._of_all[-1] if self._of_all else None
        if last is not None and last.reason == time.reason and last.since <= time.since <= last.until + _JOINED:
            self._of_all[-1] = last._replace(until=max(last.until, time.until))
            return
        self._of_all.append(time)
        if len(self._of_all) > _MOST:
            first, second = self._of_all[:2]
            joined = second._replace(since=min(first.since, second.since), until=max(first.until, second.until))
            self._of_all[:2] = [joined]

    def reason(self, since: float, until: float, address: str = "") -> str:
        """Why something between these times may have gone unseen, of this address; "" when nothing did."""
        for one in reversed(self._of_all):
            if one.since <= until and since <= one.until:
                return one.reason
        if address:
            mine = self._of_one.get(_place(address))
            if mine is not None and mine.since <= until and since <= mine.until:
                return mine.reason
        lost = self._of_one.lost_until
        return "too many addresses sent more than is read of one" if lost and since <= lost else ""

    def now(self, time: float) -> str:
        """Why everybody's packets may go unseen at this time; "" when they do not."""
        return next((one.reason for one in reversed(self._of_all) if one.since <= time <= one.until), "")

    def latest(self, count: int = 5) -> list[Blindness]:
        """The last blind times of everybody, the youngest first."""
        return self._of_all[: -count - 1 : -1]


def _place(address: str) -> bytes | str:
    """What an address is limited by: itself, or its /64."""
    if ":" not in address:
        return address
    try:
        return socket.inet_pton(socket.AF_INET6, address)[:8]
    except OSError:
        return address
