"""How cost grows: with the jails on one log, the lines, the part of attack lines, and the addresses that are counted."""

from __future__ import annotations

import statistics
import time
import tracemalloc
from collections.abc import Callable, Iterator
from pathlib import Path

from benchmarks import logs
from benchmarks.report import Row
from benchmarks.scan import OWN
from benchmarks.sipguard_scan import scan as read
from sipguard.config.filters import read_filter
from sipguard.daemon.jail_runner import JailRunner
from sipguard.daemon.log_detectors import SharedDetectors, Told
from sipguard.detection.detector import Detector
from sipguard.model import Chunk, Filter, Jail, Position
from sipguard.policy.ignore import IgnoreList
from sipguard.policy.window import Window
from sipguard.state.changes import Changes


def growth(folder: Path, times: int) -> Iterator[Row]:
    """sipguard alone: each value is the median of `times` readings."""
    log = folder / "log"
    for jails in (1, 20, 100):
        logs.freeswitch(log, 50_000, 2)
        yield Row(f"{jails} equal jails on one log, counted", "lines/s", 50_000 / _seconds(log, times, jails))
    for lines in (10_000, 100_000, 1_000_000):
        logs.freeswitch(log, lines, 2)
        yield Row(f"{lines:,} lines", "lines/s", lines / _seconds(log, 1 if lines > 100_000 else times))
    for percent in (1, 10, 100):
        logs.freeswitch(log, 50_000, percent)
        yield Row(f"{percent} % attack lines", "lines/s", 50_000 / _seconds(log, times))
    yield Row("100,000 addresses counted, not banned", "MB", _counted(100_000))


def _seconds(log: Path, times: int, jails: int = 0) -> float:
    """Seconds to read a log: by a detector alone, or by so many jails, which count."""
    found = read_filter("freeswitch", [OWN])
    seconds = []
    for _ in range(times):
        take = _counted_by(found, jails) if jails else Detector(found).feed
        seconds.append(read(str(log), take))
    return statistics.median(seconds)


def _counted_by(found: Filter, jails: int) -> Callable[[bytes], object]:
    """What gives a chunk of log to each of so many equal jails, as the daemon does."""
    shared, ignore, changes = SharedDetectors(time.time), IgnoreList(()), Changes()
    runners = [
        JailRunner(
            Jail(f"bench{number}", found, maxretry=1 << 30, findtime=1e9),
            ignore=ignore,
            clock=time.time,
            decide=lambda _: None,
            reinforce=lambda _, __: None,
            detectors=shared,
        )
        for number in range(jails)
    ]

    def take(data: bytes) -> None:
        told: Told = {}
        for runner in runners:
            runner.take(Chunk("log", data, Position("log", 0, 0, "", 0, 0)), changes, told)

    return take


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
