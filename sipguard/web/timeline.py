"""Attempts and bans by the minute, over a day: what the daemon's counters have grown by from look to look."""

from __future__ import annotations

import contextlib
import json
import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from sipguard.counters import attempts, counted, grown

MINUTE = 60
KEPT = 24 * 60
"""Minutes."""
GAP = 180.0
"""Seconds between two looks beyond which nobody can say when things happened: what was counted meanwhile is left out."""
FILE = "timeline.json"


class Timeline:
    """Kept over a restart of the page, in its state directory."""

    def __init__(self, directory: Path) -> None:
        self._path = directory / FILE
        self._minutes: dict[int, list[int]] = {}
        """Minute since the epoch → attempts, bans."""
        self._before: dict[str, list[int]] = {}
        """Jail → its counters at the last look."""
        self._since = 0.0
        """When the daemon of the last look was started: with it the counters begin anew."""
        self._at = 0.0
        with contextlib.suppress(OSError, ValueError, KeyError, TypeError):
            told = json.loads(self._path.read_text())
            self._minutes = {int(minute): [int(n) for n in counts] for minute, counts in told["minutes"].items()}
            self._before, self._since, self._at = told["before"], float(told["since"]), float(told["at"])

    def look(self, overview: Mapping[str, Any]) -> None:
        """What is counted now."""
        now, since = float(overview["now"]), float(overview["since"])
        counts = counted(overview)
        if since == self._since and 0 <= now - self._at <= GAP:
            growth = grown(self._before, counts)
            self._add(now, attempts(overview, growth), sum(each[1] for each in growth.values()))
        elif since != self._since and 0 <= now - since <= GAP:
            # A daemon that has just been started: its counters hold the bans of earlier runs, attempts are new.
            new = sum(ban["since"] >= since for ban in overview["latest"])
            self._add(now, attempts(overview, counts), new)
        self._before, self._since, self._at = counts, since, now
        for old in [minute for minute in self._minutes if minute <= now // MINUTE - KEPT]:
            del self._minutes[old]

    def _add(self, now: float, attempts: int, bans: int) -> None:
        minute = self._minutes.setdefault(int(now // MINUTE), [0, 0])
        minute[0] += attempts
        minute[1] += bans

    def minutes(self, now: float, most: int = KEPT) -> dict[str, Any]:
        """The last minutes, the oldest first: `begin` in seconds since the epoch, and what was counted in each."""
        last = int(now // MINUTE)
        span = range(last - most + 1, last + 1)
        counts = [self._minutes.get(minute, (0, 0)) for minute in span]
        return {"begin": span[0] * MINUTE, "attempts": [one[0] for one in counts], "bans": [one[1] for one in counts]}

    def recent(self, now: float, minutes: int) -> tuple[int, int]:
        """Attempts and bans of this minute and those before it."""
        last = int(now // MINUTE)
        counts = [self._minutes.get(minute, (0, 0)) for minute in range(last - minutes, last + 1)]
        return sum(one[0] for one in counts), sum(one[1] for one in counts)

    def save(self) -> None:
        """Write it down; what cannot be written is kept in memory alone."""
        told = {"minutes": self._minutes, "before": self._before, "since": self._since, "at": self._at}
        new = self._path.with_suffix(".new")
        with contextlib.suppress(OSError):
            with open(os.open(new, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600), "w") as file:  # noqa: PTH123 - its mode
                json.dump(told, file)
            new.replace(self._path)
