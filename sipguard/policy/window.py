"""Attempts per address within findtime: the counting that turns failures into a ban.

The window slides: an address is over the limit when `maxretry` attempts lie within `findtime` of each other, wherever in time
that is. Only the newest `maxretry` times of an address are kept, since older ones cannot matter any more: memory is bounded
per address, and `prune` bounds the number of addresses.
"""

from __future__ import annotations

from bisect import insort


class Window:
    """The attempts of one jail. Times are POSIX seconds; they may arrive out of order."""

    def __init__(self, maxretry: int, findtime: float) -> None:
        self.maxretry = maxretry
        self.findtime = findtime
        self._times: dict[str, list[float]] = {}

    def __len__(self) -> int:
        return len(self._times)

    def add(self, address: str, time: float, attempts: int = 1) -> bool:
        """Count attempts; say whether the address is over the limit now."""
        times = self._times.setdefault(address, [])
        for _ in range(min(attempts, self.maxretry)):
            insort(times, time)
        del times[: -self.maxretry]
        return len(times) == self.maxretry and times[-1] - times[0] <= self.findtime

    def count(self, address: str, now: float) -> int:
        """Attempts that still count at `now`, at most maxretry."""
        return sum(time > now - self.findtime for time in self._times.get(address, ()))

    def forget(self, address: str) -> None:
        """Start again from nothing for this address."""
        self._times.pop(address, None)

    def prune(self, now: float) -> list[str]:
        """Drop the addresses whose newest attempt lies more than findtime back, and name them."""
        stale = [address for address, times in self._times.items() if times[-1] <= now - self.findtime]
        for address in stale:
            del self._times[address]
        return stale

    def shift(self, seconds: float) -> None:
        """The clock was set: what is behind lies as far behind as before."""
        for times in self._times.values():
            times[:] = [time + seconds for time in times]

    def times(self) -> dict[str, tuple[float, ...]]:
        """Address → the times that are kept, oldest first."""
        return {address: tuple(times) for address, times in self._times.items()}

    def counts(self, now: float) -> dict[str, int]:
        """Address → attempts that still count, for `status`."""
        return {address: n for address in self._times if (n := self.count(address, now))}
