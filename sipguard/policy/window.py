"""Attempts per address within findtime: the counting that turns failures into a ban.

The window slides: an address is over the limit when `maxretry` attempts lie within `findtime` of each other, wherever in time
that is. Memory is bounded: of an address only the newest `maxretry` times are kept, since older ones cannot matter any more, and
of addresses `MOST`. Sources of UDP can be invented by the million, once each: so the oldest of those that tried once go first.
"""

from __future__ import annotations

from bisect import insort
from collections.abc import Iterator
from itertools import chain, islice

MOST = 400_000
"""Addresses of one jail at most: 300 bytes each."""
SLICE = 20_000
"""Addresses that one call looks at: a few milliseconds of the daemon's loop."""
_LONGEST_USER = 64
"""Characters kept of a user's name: attackers choose it."""
_Attempts = list[tuple[float, str]]


class Window:
    """The attempts of one jail. Times are POSIX seconds; they may arrive out of order."""

    def __init__(self, maxretry: int, findtime: float) -> None:
        self.limit(maxretry, findtime)
        self._once: dict[str, _Attempts] = {}
        """Those that have tried once, in the order of their coming."""
        self._attempts: dict[str, _Attempts] = {}
        """All others."""
        self._to_prune: list[str] = []
        self.dropped = 0
        """Addresses that were forgotten before their time, for want of room."""

    def limit(self, maxretry: int, findtime: float) -> None:
        """Count by these from now on. Fail2ban bans at once where maxretry is 0 or less, which is 1 here."""
        self.maxretry = max(1, maxretry)
        self.findtime = findtime

    def __len__(self) -> int:
        return len(self._once) + len(self._attempts)

    def _of(self, address: str) -> _Attempts:
        return self._once.get(address) or self._attempts.get(address) or []

    def _items(self) -> Iterator[tuple[str, _Attempts]]:
        yield from self._once.items()
        yield from self._attempts.items()

    def add(self, address: str, time: float, attempts: int = 1, user: str = "") -> bool:
        """Count attempts; say whether the address is over the limit now. `user` is for `forgive` and `users`."""
        told = self._attempts.get(address)
        if told is None:
            told = self._once.pop(address, None) or []
            if not told and len(self) >= MOST:
                self._make_room()
        attempt = time, user[:_LONGEST_USER]
        for _ in range(min(attempts, self.maxretry)):
            insort(told, attempt)
        if not told:
            return False
        (self._once if len(told) == 1 else self._attempts)[address] = told
        if len(told) < self.maxretry:
            return False
        del told[: -self.maxretry]
        return told[-1][0] - told[0][0] <= self.findtime

    def _make_room(self) -> None:
        """Forget the oldest: many at once, since to find the first of a dictionary anew each time is slow."""
        for address in list(islice(chain(self._once, self._attempts), max(1, MOST // 16))):
            self.forget(address)
            self.dropped += 1

    def count(self, address: str, now: float) -> int:
        """Attempts that still count at `now`, at most maxretry."""
        return sum(time > now - self.findtime for time, _ in self._of(address))

    def users(self, address: str) -> set[str]:
        """The users that were tried, as far as `add` was told; `""` for those that it was not."""
        return {user for _, user in self._of(address)}

    def forget(self, address: str) -> None:
        """Start again from nothing for this address."""
        self._once.pop(address, None)
        self._attempts.pop(address, None)

    def forgive(self, address: str, user: str, until: float) -> None:
        """Take back the attempts for this user at this address, up to `until`; those for other users stay."""
        user = user[:_LONGEST_USER]
        left = [one for one in self._of(address) if one[1] != user or one[0] > until]
        self.forget(address)
        if left:
            (self._once if len(left) == 1 else self._attempts)[address] = left

    def prune(self, now: float) -> list[str]:
        """Drop addresses whose newest attempt lies more than findtime back, and name them; `SLICE` are looked at in a call."""
        if not self._to_prune:
            self._to_prune = [*self._attempts, *self._once]
        part = self._to_prune[-SLICE:]
        del self._to_prune[-SLICE:]
        stale = [address for address in part if (told := self._of(address)) and told[-1][0] <= now - self.findtime]
        for address in stale:
            self.forget(address)
        return stale

    def shift(self, seconds: float) -> None:
        """The clock was set: what is behind lies as far behind as before."""
        for _, told in self._items():
            told[:] = [(time + seconds, user) for time, user in told]

    def times(self) -> dict[str, tuple[float, ...]]:
        """Address → the times that are kept, oldest first."""
        return {address: tuple(time for time, _ in told) for address, told in self._items()}

    def counting(self, now: float) -> int:
        """How many addresses have attempts that still count; of more than `SLICE`, with those that `prune` has yet to find."""
        if len(self) > SLICE:
            return len(self)
        return sum(told[-1][0] > now - self.findtime for _, told in self._items())

    def counts(self, now: float, begin: int = 0, most: int = SLICE) -> dict[str, int]:
        """Address → attempts that still count: one page, of the addresses from number `begin` on."""
        page = islice(self._items(), begin, begin + most)
        return {address: n for address, _ in page if (n := self.count(address, now))}
