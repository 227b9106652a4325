"""Remembers addresses with successful logins, to distinguish a phone with an old password from a guesser."""

from __future__ import annotations

from collections import OrderedDict

KEPT = 86_400.0
"""Seconds for which a login vouches for its address: phones log in again at least daily."""
_ADDRESSES = 10_000
_NOTED_EVERY = 60.0
"""Seconds within which a further login of an address changes nothing."""
PATIENCE = 10
"""An address with logins is banned only after this many times `maxretry` failures within findtime.

The limit exists because an account's owner could guess other passwords from there. A phone retries once a minute at most.
"""


class Logins:
    """Addresses of one jail with a login, and how often each was excused since. Times are POSIX seconds."""

    def __init__(self) -> None:
        self._seen: OrderedDict[str, float] = OrderedDict()
        self._excused: dict[str, list[float]] = {}

    def add(self, address: str, time: float) -> None:
        before = self._seen.get(address)
        if before is not None:
            if time - before < _NOTED_EVERY:
                return
            self._seen.move_to_end(address)
        self._seen[address] = time
        if len(self._seen) > _ADDRESSES:
            self._excused.pop(self._seen.popitem(last=False)[0], None)

    def knows(self, address: str, time: float) -> bool:
        """Whether there was a login from this address within the last day."""
        return time - self._seen.get(address, -KEPT) < KEPT

    def excuse(self, address: str, time: float, findtime: float, limit: int) -> bool:
        """Whether a failure beyond maxretry is excused: after a login, and at most `limit` times within `findtime`."""
        if not self.knows(address, time):
            return False
        times = [one for one in self._excused.get(address, ()) if one > time - findtime]
        self._excused[address] = [*times, time]
        return len(times) < limit

    def shift(self, seconds: float) -> None:
        """The clock was set: what is behind lies as far behind as before."""
        for address in self._seen:
            self._seen[address] += seconds
        for times in self._excused.values():
            times[:] = [time + seconds for time in times]
