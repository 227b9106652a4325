"""What a further line costs in the plain reports of `sipguard test-filter` and of `fail2ban-regex`, in processor time."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

from benchmarks import logs
from benchmarks.report import Row, interleaved
from benchmarks.scan import DEBIAN, OWN

_FEW, _MANY = 10_000, 110_000
_WRITERS = (
    ("FreeSWITCH", "freeswitch", logs.freeswitch, "50 ×"),
    ("Asterisk", "asterisk", logs.asterisk, "20 ×"),
)


def command_line(folder: Path, times: int) -> Iterator[Row]:
    """Each with its own filter, on logs with two per cent of attack lines."""
    for what, name, write, wanted in _WRITERS:
        few, many = folder / f"{name}-few.log", folder / f"{name}-many.log"
        write(few, _FEW, 2)
        write(many, _MANY, 2)
        ours = [sys.executable, "-m", "sipguard", "test-filter"]
        theirs = ["fail2ban-regex", "-c", str(DEBIAN)]
        regexes = str(DEBIAN / "filter.d" / f"{name}.conf")
        them, us = interleaved(
            times,
            _rate(theirs, few, many, regexes),
            _rate(ours, few, many, str(OWN / f"{name}.conf")),
        )
        yield Row(f"{what}, test-filter and fail2ban-regex, a further line", "lines/s", us, them, wanted)


def _rate(command: list[str], few: Path, many: Path, filter_: str) -> Callable[[], float]:
    def measure() -> float:
        return (_MANY - _FEW) / (_seconds([*command, str(many), filter_]) - _seconds([*command, str(few), filter_]))

    return measure


def _seconds(command: list[str]) -> float:
    process = subprocess.Popen(command, stdout=subprocess.DEVNULL)
    _, status, usage = os.wait4(process.pid, 0)
    process.returncode = os.waitstatus_to_exitcode(status)
    if process.returncode != 0:
        raise RuntimeError(f"{command} ended with {process.returncode}")
    return usage.ru_utime + usage.ru_stime
