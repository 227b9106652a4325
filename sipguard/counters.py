"""What the daemon's counters have grown by between two answers to `overview`: for those who show attempts over time."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

Counts = Mapping[str, list[int]]
"""Jail → failures, bans."""


def counted(overview: Mapping[str, Any]) -> dict[str, list[int]]:
    """The counters as they are."""
    return {jail["name"]: [int(jail["totals"]["failures"]), int(jail["totals"]["bans"])] for jail in overview["jails"]}


def grown(before: Counts, now: Counts) -> dict[str, list[int]]:
    """How much they have grown; one that is lower than before began anew, one that is new has not grown."""
    return {
        name: [n - b if n >= b else n for b, n in zip(before.get(name) or each, each, strict=True)]
        for name, each in now.items()
    }


def attempts(overview: Mapping[str, Any], counts: Counts) -> int:
    """How many attempts counters stand for: jails that read the same logs have counted the same ones."""
    of_log: dict[str, int] = {}
    for jail in overview["jails"]:
        log = " ".join(sorted(jail["logs"])) or jail["name"]
        of_log[log] = max(of_log.get(log, 0), counts[jail["name"]][0])
    return sum(of_log.values())
