"""Attempts a second, out of counters that are looked at every second or so."""

from __future__ import annotations

from collections import deque
from collections.abc import Mapping
from typing import Any

from sipguard.counters import attempts, counted, grown

SHOWN = 60
"""Seconds of the picture."""
SPAN = 10.0
"""Seconds over which a rate is taken."""
_BARS = "▁▂▃▄▅▆▇█"


class Rates:
    """What has been tried lately."""

    def __init__(self) -> None:
        self._before: dict[str, list[int]] = {}
        self._since = 0.0
        self._looks: deque[tuple[float, int, int]] = deque()
        """When, attempts and bans since the look before."""

    def look(self, overview: Mapping[str, Any]) -> None:
        """What is counted now."""
        now, since, counts = float(overview["now"]), float(overview["since"]), counted(overview)
        if since == self._since:
            growth = grown(self._before, counts)
            self._looks.append((now, attempts(overview, growth), sum(each[1] for each in growth.values())))
        self._before, self._since = counts, since
        while self._looks and self._looks[0][0] <= now - SHOWN:
            self._looks.popleft()

    def a_second(self, now: float) -> tuple[float, float]:
        """Attempts and bans a second, over the last `SPAN` seconds."""
        recent = [look for look in self._looks if look[0] > now - SPAN]
        return sum(look[1] for look in recent) / SPAN, sum(look[2] for look in recent) / SPAN

    def bars(self, now: float, width: int = 30) -> str:
        """The last minute, a bar for each part of it; the newest is the last."""
        parts = [0] * width
        for when, tried, _ in self._looks:
            place = width - 1 - int((now - when) * width / SHOWN)
            if 0 <= place < width:
                parts[place] += tried
        most = max(parts) or 1
        return "".join(_BARS[-(-part * (len(_BARS) - 1) // most)] for part in parts)
