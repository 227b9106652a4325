"""Plays a sample log as a live server would write it: line after line, with the dates of now."""

from __future__ import annotations

import re
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path

DATE = re.compile(r"\d{4}-\d\d-\d\d([ T])\d\d:\d\d:\d\d(\.\d{6}|\.\d{3})?")


@dataclass(frozen=True)
class Track:
    """One sample, and the log that it is played into."""

    sample: Path
    log: Path


def now_instead(line: str, now: datetime) -> str:
    """`line` with every date in it moved to `now`, in the form that it had."""

    def moved(match: re.Match[str]) -> str:
        fraction = f".{now:%f}"[: len(match[2])] if match[2] else ""
        return f"{now:%Y-%m-%d}{match[1]}{now:%H:%M:%S}{fraction}"

    return DATE.sub(moved, line)


def schedule(tracks: list[Track], seconds: float) -> Iterator[tuple[float, Track, str]]:
    """(when, where, what): every line of every track, spread evenly over `seconds`."""
    plan = []
    for track in tracks:
        lines = track.sample.read_text("utf-8", "surrogateescape").split("\n")[:-1]
        plan += [(seconds * n / len(lines), n, track, line) for n, line in enumerate(lines)]
    yield from ((when, track, line) for when, _, track, line in sorted(plan, key=lambda item: item[:2]))


def play(tracks: list[Track], seconds: float, *, going_on: Callable[[], bool]) -> int:
    """Append the lines at their time, until done or `going_on` says no. Gives the number of lines written."""
    start = time.monotonic()
    written = 0
    for when, track, line in schedule(tracks, seconds):
        if not going_on():
            break
        time.sleep(max(0.0, start + when - time.monotonic()))
        with track.log.open("a", encoding="utf-8", errors="surrogateescape", newline="") as log:
            log.write(now_instead(line, datetime.now()) + "\n")  # noqa: DTZ005 - servers log local time
        written += 1
    return written
