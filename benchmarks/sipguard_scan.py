"""Reads a log with sipguard's engine, and says how long that took.

python -m benchmarks.sipguard_scan DIRECTORY FILTER LOG [add | full]

Prints one JSON object. Lines come from the daemon's own reader in the daemon's slices. With `add`, they go through a
jail's guard: counted per address, logged and kept for the database, as Fail2ban's `processLineAndAdd` does.
"""

from __future__ import annotations

import json
import logging
import sys
import time
from collections.abc import Callable
from pathlib import Path

from sipguard.config.filters import read_filter
from sipguard.daemon.jail_runner import JailRunner
from sipguard.daemon.log_reader import SLICE
from sipguard.detection.detector import Detector
from sipguard.model import Jail
from sipguard.policy.ignore import IgnoreList
from sipguard.sources.tail import Tail
from sipguard.state.changes import Changes


def main() -> None:
    """Scan, then print."""
    directory, reference, path = sys.argv[1:4]
    found = read_filter(reference, [Path(directory)])
    if "add" in sys.argv[4:]:
        logging.disable(logging.CRITICAL)
        jail = Jail("bench", found, maxretry=1 << 30, findtime=1e9)
        guard = JailRunner(
            jail, ignore=IgnoreList(()), clock=time.time, decide=lambda _: None, reinforce=lambda _, __: None
        )
        changes = Changes()
        seconds = scan(path, lambda data: guard.take(data, changes))
        failures = guard.totals.failures
        counts = guard.counts
    else:
        detector = Detector(found)
        seconds = scan(path, detector.feed)
        failures = detector.counts.failures
        counts = detector.counts
    print(json.dumps({"seconds": seconds, "failures": failures, "lines": counts.lines}))


def scan(path: str, take: Callable[[bytes], object]) -> float:
    """Seconds of processor time to read all of a log."""
    tail = Tail(path)
    begun = time.process_time()
    while (chunk := tail.read(SLICE)) is not None:
        take(chunk.data)
    return time.process_time() - begun


if __name__ == "__main__":
    main()
