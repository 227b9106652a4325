"""How cost grows: with the jails on one log, the lines, the part of attack lines, and the addresses that are counted."""

from __future__ import annotations

import statistics
import time
import tracemalloc
from collections.abc import Iterator
from pathlib import Path

from benchmarks import logs
from benchmarks.report import Row
from benchmarks.scan import OWN
from benchmarks.sipguard_scan import scan as read
from sipguard.config.filters import read_filter
from sipguard.detection.detector import Detector
from sipguard.policy.window import Window


def growth(folder: Path, times: int) -> Iterator[Row]:
    """sipguard alone: each value is the median of `times` readings."""
    log = folder / "log"
    for jails in (1, 5, 20):
        logs.freeswitch(log, 50_000, 2)
        yield Row(f"{jails} jails on one log", "lines/s", 50_000 / _seconds(log, jails, times))
    for lines in (10_000, 100_000, 1_000_000):
        logs.freeswitch(log, lines, 2)
        yield Row(f"{lines:,} lines", "lines/s", lines / _seconds(log, 1, 1 if lines > 100_000 else times))
    for percent in (1, 10, 100):
        logs.freeswitch(log, 50_000, percent)
        yield Row(f"{percent} % attack lines", "lines/s", 50_000 / _seconds(log, 1, times))
    yield Row("100,000 addresses counted, not banned", "MB", _counted(100_000))


def _seconds(log: Path, jails: int, times: int) -> float:
    found = []
    for _ in range(times):
        detectors = [Detector(read_filter("freeswitch", [OWN])) for _ in range(jails)]

        def take(data: bytes, every: list[Detector] = detectors) -> None:
            for detector in every:
                detector.feed(data)

        found.append(read(str(log), take))
    return statistics.median(found)


def _counted(addresses: int) -> float:
    """Megabytes that the window of one jail holds."""
    names = [logs.address(1000 + number) for number in range(addresses)]
    tracemalloc.start()
    window = Window(5, 600.0)
    for number, name in enumerate(names):
        window.add(name, time.time() + number)
    size = tracemalloc.get_traced_memory()[0]
    tracemalloc.stop()
    return size / 1e6
