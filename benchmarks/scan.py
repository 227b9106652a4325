"""How many lines per second the filter engines read: processor time, of reading alone, each in a process of its own."""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

from benchmarks import logs
from benchmarks.report import Row, interleaved

HERE = Path(__file__).parent
OWN = HERE.parent / "filters"
DEBIAN = Path("/etc/fail2ban")
PYTHON = "/usr/bin/python3"
"""Debian's: it has the package fail2ban."""


def scan(folder: Path, times: int) -> Iterator[Row]:
    """Two per cent of attack lines: Debian's filter in Fail2ban, ours in sipguard; then ours in both."""
    lines = 200_000
    fs, asterisk = folder / "freeswitch.log", folder / "asterisk.log"
    logs.freeswitch(fs, lines, 2)
    logs.asterisk(asterisk, lines, 2)
    cases = (
        ("FreeSWITCH debug log, 2 % attack", fs, "freeswitch[mode=normal]", "freeswitch", "200 ×"),
        ("Asterisk full log, 2 % attack", asterisk, "asterisk", "asterisk", "50 ×"),
    )
    yield from _compare(folder, cases, lines, times)


def attack(folder: Path, times: int) -> Iterator[Row]:
    """Every line an attack: the engine alone, and with counting per address as the daemon does."""
    lines = 30_000
    fs, asterisk = folder / "freeswitch-attack.log", folder / "asterisk-attack.log"
    logs.freeswitch(fs, lines, 100)
    logs.asterisk(asterisk, lines, 100)
    cases = (
        ("FreeSWITCH, every line an attack", fs, "freeswitch[mode=normal]", "freeswitch", "7 ×"),
        ("Asterisk, every line an attack", asterisk, "asterisk", "asterisk", "6 ×"),
    )
    yield from _compare(folder, cases, lines, times)
    yield from _compare(folder, [(f"{case[0]}, counted", *case[1:]) for case in cases], lines, times, "add")


def _compare(folder: Path, cases: object, lines: int, times: int, *options: str) -> Iterator[Row]:
    config = folder / "own"
    if not config.exists():
        config.mkdir()
        (config / "filter.d").symlink_to(OWN)
    for what, log, debian, own, wanted in cases:  # type: ignore[attr-defined]
        theirs, same, ours = interleaved(
            times,
            _rate(lines, PYTHON, HERE / "fail2ban_scan.py", DEBIAN, debian, log, *options),
            _rate(lines, PYTHON, HERE / "fail2ban_scan.py", config, own, log, *options),
            _rate(lines, sys.executable, "-m", "benchmarks.sipguard_scan", OWN, own, log, *options),
        )
        yield Row(what, "lines/s", ours, theirs, wanted)
        yield Row(f"{what}, sipguard's filter in both", "lines/s", ours, same)


def _rate(lines: int, *command: object) -> Callable[[], float]:
    def measure() -> float:
        done = subprocess.run(list(map(str, command)), capture_output=True, text=True, check=True, timeout=120)
        found = json.loads(done.stdout)
        if not found["failures"]:
            raise RuntimeError(f"{command} found no failure: nothing was measured")
        return lines / float(found["seconds"])

    return measure
