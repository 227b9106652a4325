"""What a benchmark found: one row of the table."""

from __future__ import annotations

import statistics
from collections.abc import Callable, Sequence
from dataclasses import dataclass


@dataclass
class Row:
    """One comparison. Values are medians; `unit` is of both."""

    what: str
    unit: str
    sipguard: float
    fail2ban: float | None = None
    wanted: str = ""
    more_is_better: bool = True
    note: str = ""

    @property
    def ratio(self) -> float | None:
        """How many times better sipguard is."""
        if not self.fail2ban or not self.sipguard:
            return None
        return self.sipguard / self.fail2ban if self.more_is_better else self.fail2ban / self.sipguard

    def cells(self) -> tuple[str, str, str, str, str]:
        """For the table."""
        ratio = self.ratio
        other = "—" if self.fail2ban is None else f"{_short(self.fail2ban)} {self.unit}"
        own = f"{_short(self.sipguard)} {self.unit}"
        return self.what, other, own, "—" if ratio is None else f"{ratio:.3g} ×", self.wanted


def _short(value: float) -> str:
    if value >= 1000:
        return f"{round(value, 3 - len(str(int(value)))):,.0f}"
    return f"{value:.3g}"


def interleaved(times: int, *measures: Callable[[], float]) -> list[float]:
    """The median of each measure; they take turns, so that what else the machine does is fair to all."""
    values: list[list[float]] = [[] for _ in measures]
    for _ in range(times):
        for measure, found in zip(measures, values, strict=True):
            found.append(measure())
    return [statistics.median(found) for found in values]


def table(rows: Sequence[Row]) -> str:
    """Markdown."""
    head = ("what", "Fail2ban", "sipguard", "ratio", "wanted")
    lines = [head, tuple("---" for _ in head), *(row.cells() for row in rows)]
    return "\n".join("| " + " | ".join(cells) + " |" for cells in lines)
