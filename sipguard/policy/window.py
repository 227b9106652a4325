"""Counts attempts per address within findtime, which turns failures into bans.

The window slides: an address exceeds the limit when any `maxretry` attempts lie within `findtime` of each other. Memory is
bounded: only the newest `maxretry` times per address are kept, since older ones no longer matter, and at most `MOST`
addresses. UDP sources can be forged by the million, once each, so addresses with a single attempt are dropped first.
"""

from __future__ import annotations

from bisect import insort
from collections import Counter
from collections.abc import Iterator, Sequence
from itertools import chain, islice

MOST = 400_000
"""Most addresses per jail, at 300 bytes each."""
SLICE = 20_000
"""Most addresses handled in one call: a few milliseconds of the daemon's loop."""
LONGEST_USER = 64
"""Characters kept of a user name: attackers choose it."""
_Attempts = list[tuple[float, str]]


class Window:
    """The attempts of one jail. Times are POSIX seconds; they may arrive out of order."""

    def __init__(self, maxretry: int, findtime: float) -> None:
        self.limit(maxretry, findtime)
        self._once: dict[str, _Attempts] = {}
        """Addresses with a single attempt, in order of arrival."""
        self._attempts: dict[str, _Attempts] = {}
        """All other addresses."""
        self._to_prune: list[str] = []
        self.dropped = 0
        """Number of addresses dropped early because of the memory limit."""

    def limit(self, maxretry: int, findtime: float) -> None:
        """Change the limits. Fail2ban bans at once if maxretry is 0 or less; that is 1 here."""
        self.maxretry = max(1, maxretry)
        self.findtime = findtime

    def __len__(self) -> int:
        return len(self._once) + len(self._attempts)

    def __contains__(self, address: str) -> bool:
        """Whether anything of this address is remembered."""
        return address in self._once or address in self._attempts

    def _of(self, address: str) -> _Attempts:
        return self._once.get(address) or self._attempts.get(address) or []

    def _items(self) -> Iterator[tuple[str, _Attempts]]:
        yield from self._once.items()
        yield from self._attempts.items()

    def add(self, address: str, time: float, attempts: int = 1, user: str = "") -> bool:
        """Count attempts and return whether the address now exceeds the limit. `user` is for `forgive` and `users`."""
        return self.add_all(address, [(time, user[:LONGEST_USER])], attempts) > 0

    def add_all(self, address: str, attempts: Sequence[tuple[float, str]], each: int = 1) -> int:
        """Count attempts (time, user), each one `each` times, up to the one that exceeds the limit; return its number, else 0.

        Users have at most `LONGEST_USER` characters.
        """
        told = known = self._attempts.get(address)
        if told is None:
            told = self._once.pop(address, None) or []
            if not told and len(self._once) + len(self._attempts) >= MOST:
                self._make_room()
        enough = self.maxretry
        taken = exceeding = 0
        if not told and each == 1:  # nothing is there that they must be put between
            told += sorted(attempts[:enough])
            taken = len(told)
            if taken == enough and told[-1][0] - told[0][0] <= self.findtime:
                exceeding = taken
        for number, attempt in enumerate(attempts[taken:] if not exceeding else (), taken + 1):
            for _ in range(min(each, enough)):
                insort(told, attempt)
            if len(told) >= enough:
                del told[:-enough]
                if told[-1][0] - told[0][0] <= self.findtime:
                    exceeding = number
                    break
        if known is None and told:
            (self._once if len(told) == 1 else self._attempts)[address] = told
        return exceeding

    def _make_room(self) -> None:
        """Drop the oldest addresses, many at once, because finding the first key of a dictionary each time is slow."""
        for address in list(islice(chain(self._once, self._attempts), max(1, MOST // 16))):
            self.forget(address)
            self.dropped += 1

    def count(self, address: str, now: float) -> int:
        """Number of attempts that still count at `now`, at most maxretry."""
        return sum(time > now - self.findtime for time, _ in self._of(address))

    def users(self, address: str) -> set[str]:
        """The users tried, as passed to `add`; `""` stands for unknown ones."""
        return {user for _, user in self._of(address)}

    def forget(self, address: str) -> None:
        self._once.pop(address, None)
        self._attempts.pop(address, None)

    def forgive(self, address: str, user: str, until: float) -> None:
        """Discard the attempts for this user from this address up to `until`; those for other users stay."""
        if address not in self:
            return  # nearly every login
        user = user[:LONGEST_USER]
        left = [one for one in self._of(address) if one[1] != user or one[0] > until]
        self.forget(address)
        if left:
            (self._once if len(left) == 1 else self._attempts)[address] = left

    def prune(self, now: float) -> list[str]:
        """Drop and return addresses whose newest attempt is older than findtime. One call checks `SLICE` addresses."""
        if not self._to_prune:
            self._to_prune = [*self._attempts, *self._once]
        part = self._to_prune[-SLICE:]
        del self._to_prune[-SLICE:]
        stale = [address for address in part if (told := self._of(address)) and told[-1][0] <= now - self.findtime]
        for address in stale:
            self.forget(address)
        return stale

    def shift(self, seconds: float) -> None:
        """Move all times after the clock was set, so that each attempt stays equally old."""
        for _, told in self._items():
            told[:] = [(time + seconds, user) for time, user in told]

    def times(self) -> dict[str, tuple[float, ...]]:
        """Address → its kept times, oldest first."""
        return {address: tuple(time for time, _ in told) for address, told in self._items()}

    def recent(self, since: float) -> Counter[tuple[str, float]]:
        """(address, time) → number of kept attempts, for times from `since` on. Looks at the first `SLICE` addresses only."""
        some = islice(self._items(), SLICE)
        return Counter((address, time) for address, told in some for time, _ in told if time >= since)

    def counting(self, now: float) -> int:
        """Number of addresses with attempts that still count. Above `SLICE`, includes those not yet pruned."""
        if len(self) > SLICE:
            return len(self)
        return sum(told[-1][0] > now - self.findtime for _, told in self._items())

    def counts(self, now: float, begin: int = 0, most: int = SLICE) -> dict[str, int]:
        """Address → number of attempts that still count: one page, starting with address number `begin`."""
        page = islice(self._items(), begin, begin + most)
        return {address: n for address, _ in page if (n := self.count(address, now))}
