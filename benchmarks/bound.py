"""What bounds the search of one log: a bare loop beside all that sipguard does.

python -m benchmarks.bound DIRECTORY FILTER LOG [TIMES]

Microseconds of processor time for a chunk of the daemon's slice: the mean of each chunk's fastest, in which other work on the
machine counts least.
The bare loop looks for the texts, matches the plain lines and makes the failures; it asks nothing of records, sessions or
lines that are not plain. The first chunk is told apart, of a detector that is not the first of its filter.
"""

from __future__ import annotations

import sys
import time
from collections.abc import Callable, Sequence
from pathlib import Path

from sipguard.config.filters import read_filter
from sipguard.daemon.log_reader import SLICE
from sipguard.detection.detector import Detector
from sipguard.detection.encodings import count_lines
from sipguard.detection.plain_rule import PlainRule
from sipguard.model import LogEvent
from sipguard.sources.tail import Tail


def main() -> None:
    """Measure, and print."""
    directory, reference, path = sys.argv[1:4]
    times = int(sys.argv[4]) if len(sys.argv) > 4 else 9
    found = read_filter(reference, [Path(directory)])
    chunks, reading = _read(path, times)
    detector = Detector(found)
    detector.feed(chunks[0])
    first, *rest = _fastest(chunks, times, lambda: Detector(found).feed)
    bare = _fastest(chunks[1:], times, lambda: _bare_loop(detector))
    counting = _fastest(chunks[1:], times, lambda: count_lines)
    rows = {
        "reading": reading,
        "counting lines": counting,
        "bare loop": bare,
        "all but reading": rest,
        "first chunk": [first],
    }
    for what, each in rows.items():
        print(f"{what:16} {sum(each) / len(each):8.1f} µs")


def _read(path: str, times: int) -> tuple[list[bytes], list[float]]:
    """The chunks of a log, and how long reading each has taken."""
    chunks: list[bytes] = []
    each: list[float] = []
    for run in range(times):
        tail = Tail(path)
        for number in range(1 << 30):
            begun = time.process_time_ns()
            chunk = tail.read(SLICE)
            taken = (time.process_time_ns() - begun) / 1000
            if chunk is None:
                break
            if run == 0:
                chunks.append(chunk.data)
                each.append(taken)
            each[number] = min(each[number], taken)
    return chunks, each


def _fastest(chunks: Sequence[bytes], times: int, made: Callable[[], Callable[[bytes], object]]) -> list[float]:
    """Of several runs over the log, each by a function that is made for it."""
    each = [float("inf")] * len(chunks)
    for _ in range(times):
        take = made()
        for number, chunk in enumerate(chunks):
            begun = time.process_time_ns()
            take(chunk)
            each[number] = min(each[number], (time.process_time_ns() - begun) / 1000)
    return each


def _bare_loop(detector: Detector) -> Callable[[bytes], list[LogEvent]]:
    search, plain, screen = detector._candidates, detector._plain, detector._screen
    assert search is not None  # our filters have both
    assert plain is not None

    def take(data: bytes) -> list[LogEvent]:
        events: list[LogEvent] = []
        next_line = search.lines(data)
        plain.begin(data, screen.rule.plain(is_mixed=screen.is_mixed) if screen is not None else PlainRule())
        position = 0
        while (position := plain.take(position, events, next_line)) < len(data):
            position = data.index(b"\n", position) + 1
        plain.end()
        return events

    return take


if __name__ == "__main__":
    main()
