"""How often a feed's server may be asked: its rate limit, and the pauses after errors."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from dataclasses import dataclass

from sipguard.model import Clock

Sleep = Callable[[float], Awaitable[None]]


@dataclass(frozen=True, slots=True)
class Pace:
    """Limits in requests and seconds. The rate limit is the one in APIBAN's documentation."""

    limit: int = 11
    window: float = 120.0
    silence: float = 20.0
    """Longest wait for the next bytes of an answer."""
    answer: float = 60.0
    """Longest time for one whole answer of APIBAN: a page is small."""
    download: float = 600.0
    """Longest time for downloading a whole list."""
    first_pause: float = 30.0
    longest_pause: float = 3600.0
    """Pauses after errors double, up to this."""

    def pause(self, failures: int) -> float:
        """Seconds to wait after this many failures in a row."""
        return min(self.longest_pause, self.first_pause * 2.0 ** min(failures - 1, 30))


class Limiter:
    """Allows `pace.limit` requests within `pace.window`, across restarts of the process.

    A request counts from the moment its answer arrived. It reached the server no later than that, and the next one no earlier
    than it is sent. So the server never sees more requests within its window, however slow the network is.
    """

    def __init__(
        self, pace: Pace, times: list[float], save: Callable[[list[float]], Awaitable[None]], clock: Clock
    ) -> None:
        self._pace = pace
        self._times = times
        self._save = save
        self._clock = clock

    def wait(self) -> float:
        """Seconds until the next request may be sent."""
        now = self._clock()
        # After the clock was set back, requests in the future count as made now, or the wait could be very long.
        self._times = [min(when, now) for when in self._times if when > now - self._window]
        if len(self._times) < self._pace.limit:
            return 0.0
        return max(0.0, sorted(self._times)[-self._pace.limit] + self._window - now)

    async def sending(self) -> None:
        """Record a request before it is sent, so that a crash cannot hide it."""
        self._times.append(self._clock())
        await self._save(self._times)

    async def answered(self) -> None:
        """Record that the answer has arrived, or will not come."""
        self._times[-1] = max(self._times[-1], self._clock())
        await self._save(self._times)

    @property
    def _window(self) -> float:
        return self._pace.window * 1.01
