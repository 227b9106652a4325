"""Attempts per address within findtime: the counting that turns failures into a ban.

The window slides: an address is over the limit when `maxretry` attempts lie within `findtime` of each other, wherever in time
that is. Only the newest `maxretry` times of an address are kept, since older ones cannot matter any more: memory is bounded
per address, and `prune` bounds the number of addresses.
"""

from __future__ import annotations

from bisect import insort

_LONGEST_USER = 64
"""Characters kept of a user's name: attackers choose it."""


class Window:
    """The attempts of one jail. Times are POSIX seconds; they may arrive out of order."""

    def __init__(self, maxretry: int, findtime: float) -> None:
        self.limit(maxretry, findtime)
        self._attempts: dict[str, list[tuple[float, str]]] = {}

    def limit(self, maxretry: int, findtime: float) -> None:
        """Count by these from now on. Fail2ban bans at once where maxretry is 0 or less, which is 1 here."""
        self.maxretry = max(1, maxretry)
        self.findtime = findtime

    def __len__(self) -> int:
        return len(self._attempts)

    def add(self, address: str, time: float, attempts: int = 1, user: str = "") -> bool:
        """Count attempts; say whether the address is over the limit now. `user` is for `forgive` and `users`."""
        told = self._attempts.get(address)
        if told is None:
            told = self._attempts[address] = []
        attempt = time, user[:_LONGEST_USER]
        for _ in range(min(attempts, self.maxretry)):
            insort(told, attempt)
        if len(told) < self.maxretry:
            return False
        del told[: -self.maxretry]
        return told[-1][0] - told[0][0] <= self.findtime

    def count(self, address: str, now: float) -> int:
        """Attempts that still count at `now`, at most maxretry."""
        return sum(time > now - self.findtime for time, _ in self._attempts.get(address, ()))

    def users(self, address: str) -> set[str]:
        """The users that were tried, as far as `add` was told; `""` for those that it was not."""
        return {user for _, user in self._attempts.get(address, ())}

    def forget(self, address: str) -> None:
        """Start again from nothing for this address."""
        self._attempts.pop(address, None)

    def forgive(self, address: str, user: str, until: float) -> None:
        """Take back the attempts for this user at this address, up to `until`; those for other users stay."""
        user = user[:_LONGEST_USER]
        left = [one for one in self._attempts.get(address, ()) if one[1] != user or one[0] > until]
        if left:
            self._attempts[address] = left
        else:
            self.forget(address)

    def prune(self, now: float) -> list[str]:
        """Drop the addresses whose newest attempt lies more than findtime back, and name them."""
        stale = [address for address, told in self._attempts.items() if told[-1][0] <= now - self.findtime]
        for address in stale:
            del self._attempts[address]
        return stale

    def shift(self, seconds: float) -> None:
        """The clock was set: what is behind lies as far behind as before."""
        for told in self._attempts.values():
            told[:] = [(time + seconds, user) for time, user in told]

    def times(self) -> dict[str, tuple[float, ...]]:
        """Address → the times that are kept, oldest first."""
        return {address: tuple(time for time, _ in told) for address, told in self._attempts.items()}

    def counts(self, now: float) -> dict[str, int]:
        """Address → attempts that still count, for `status`."""
        return {address: n for address in self._attempts if (n := self.count(address, now))}
