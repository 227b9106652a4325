"""The daemon for minutes or hours under all that a real server does to it at once, against a count of what must be banned.

    make soak              five minutes; SOAK=3600 for an hour
    PYTHONPATH=.:tests python -m soak SECONDS

Five jails, 2,000 lines a second, logs rotated, configuration reloaded, the daemon killed with -9, the firewall flushed by
others. At the end: every address with five failures is banned, in the kernel too, none with four is, no ban was made twice;
memory and file descriptors are as at the beginning, but for what the bans themselves need.
"""

from __future__ import annotations

import os
import random
import signal
import sys
import tempfile
import threading
import time
from collections import Counter
from contextlib import ExitStack
from dataclasses import dataclass, field
from pathlib import Path

from netns import missing, namespace
from running import RunningDaemon, failure

JAILS = tuple(f"pbx{n}" for n in range(5))
LINES_PER_SECOND = 2000
FAILURES = 0.04
"""Share of lines that are failures: an attack, not the normal day."""
EVERY = {"rotate": 30.0, "reload": 60.0, "flush": 45.0, "kill": 90.0}
"""Seconds between two of a kind, in a run of five minutes or more; a shorter one has as many of each."""
NOISE = "2026-11-21 20:00:00.000000 98.53% [INFO] switch_core.c:1 nothing of interest happens here to anybody\n"
PER_BAN = 4096
"""Bytes of memory that a ban may cost."""
SLACK = 12 << 20
"""Bytes by which memory may differ for no reason that is a leak: a reload, a cache that fills."""


@dataclass
class Reference:
    """What was written, and so what must be banned."""

    guilty: dict[str, set[str]] = field(default_factory=lambda: {jail: set() for jail in JAILS})
    lines: int = 0
    events: Counter[str] = field(default_factory=Counter)


class Writer(threading.Thread):
    """Writes to five logs as five servers do, torn lines and all, until told to stop."""

    def __init__(self, folder: Path, reference: Reference) -> None:
        super().__init__()
        self._folder, self._reference = folder, reference
        self._chance = random.Random(20261121)
        self._addresses = 0
        self._pending: dict[str, list[tuple[str, int]]] = {jail: [] for jail in JAILS}
        self.rotating = threading.Lock()
        self.over = threading.Event()

    def log(self, jail: str) -> Path:
        return self._folder / f"{jail}.log"

    def run(self) -> None:
        step = 0.05
        due = time.monotonic()
        while not self.over.wait(max(0.0, due - time.monotonic())):
            due += step
            for jail in JAILS:
                lines = [self._line(jail) for _ in range(int(LINES_PER_SECOND * step / len(JAILS)))]
                self._write(jail, "".join(lines))
        for jail in JAILS:
            self._write(jail, "".join(self._finish(jail)))

    def _line(self, jail: str) -> str:
        self._reference.lines += 1
        if self._chance.random() > FAILURES:
            return NOISE
        pending = self._pending[jail]
        if len(pending) < 20:
            self._addresses += 1
            left = 5 if self._addresses % 4 else 4
            pending.append((f"2001:db8:{self._addresses >> 16:x}:{self._addresses & 0xFFFF:x}::5", left))
            if left == 5:
                self._reference.guilty[jail].add(pending[-1][0])
        place = self._chance.randrange(len(pending))
        address, left = pending.pop(place)
        if left > 1:
            pending.append((address, left - 1))
        return failure(address)

    def _finish(self, jail: str) -> list[str]:
        """Every address that has begun gets the rest of its failures."""
        return [failure(address) for address, left in self._pending[jail] for _ in range(left)]

    def _write(self, jail: str, text: str) -> None:
        torn = len(text) // 2
        with self.rotating:
            for part in (text[:torn], text[torn:]):
                with self.log(jail).open("a") as file:
                    file.write(part)


def soak(seconds: float, folder: Path, say=print) -> Reference:
    """Run for so long; fails by an assertion."""
    reference = Reference()
    writer = Writer(folder, reference)
    for jail in JAILS:
        writer.log(jail).touch()
    jails = {
        jail: {
            "filter": "freeswitch",
            "logpath": str(writer.log(jail)),
            "bantime": "1d",
            "findtime": "1h",
            "ipv6prefix": 128,
        }
        for jail in JAILS
    }
    with ExitStack() as stack:
        host = None if (reason := missing("nft")) else stack.enter_context(namespace("nft"))
        say(f"firewall: {'nftables in a network namespace' if host else f'memory ({reason})'}")
        options = {"firewall": "nftables", "prefix": ["ip", "netns", "exec", host.name]} if host else {}
        daemon = RunningDaemon(folder, jails, **options)
        stack.callback(lambda: daemon.process and daemon.process.poll() is None and daemon.stop())
        daemon.start()
        writer.start()
        stack.callback(writer.over.set)
        first = _disturb(seconds, daemon, writer, reference, host, say)
        writer.over.set()
        writer.join()
        _check(daemon, reference, host, say)
        _check_resources(first, _resources(daemon), sum(map(len, reference.guilty.values())), say)
    return reference


def _disturb(seconds, daemon, writer, reference, host, say):
    """Everything in its turn; gives the reading of the first tenth."""
    shrunk = min(1.0, seconds / 300)
    begin = time.monotonic()
    due = {what: begin + every * shrunk for what, every in EVERY.items()}
    first = None
    least = {what: int(seconds // (every * shrunk)) for what, every in EVERY.items()}

    def enough():
        # A machine that is busy gets the time that it needs for as many of each as were asked for.
        written = reference.lines >= seconds * LINES_PER_SECOND / 2
        return written and all(reference.events[what] >= few for what, few in least.items())

    while time.monotonic() < begin + seconds or not enough():
        time.sleep(0.05)
        if first is None and time.monotonic() > begin + seconds / 10:
            first = _resources(daemon)
        for what in [what for what, when in due.items() if time.monotonic() >= when]:
            due[what] += EVERY[what] * shrunk
            reference.events[what] += 1
            _DO[what](daemon, writer, host)
    say(f"{reference.lines} lines written; {dict(reference.events)}")
    return first


def _rotate(_daemon, writer, _host):
    with writer.rotating:
        for jail in JAILS:
            log = writer.log(jail)
            log.with_suffix(".log.2").unlink(missing_ok=True)
            if log.with_suffix(".log.1").exists():
                log.with_suffix(".log.1").rename(log.with_suffix(".log.2"))
            log.rename(log.with_suffix(".log.1"))
            log.touch()


def _reload(daemon, _writer, _host):
    daemon.process.send_signal(signal.SIGHUP)


def _flush(_daemon, _writer, host):
    if host:
        host.run("nft", "flush", "ruleset")


def _kill(daemon, _writer, _host):
    daemon.stop(signal.SIGKILL)
    daemon.start()


_DO = {"rotate": _rotate, "reload": _reload, "flush": _flush, "kill": _kill}


def _resources(daemon):
    """(bytes of resident memory, open file descriptors)."""
    process = Path(f"/proc/{daemon.process.pid}")
    pages = int((process / "statm").read_text().split()[1])
    return pages * os.sysconf("SC_PAGE_SIZE"), sum(1 for _ in (process / "fd").iterdir())


def _check(daemon, reference, host, say):
    begun = time.monotonic()
    for jail in JAILS:
        daemon.wait_for(
            lambda jail=jail: len(daemon.banned(jail)) >= len(reference.guilty[jail]), f"every ban of {jail}"
        )
    time.sleep(1)  # what should not come must have had its time
    for jail in JAILS:
        banned = daemon.banned(jail)
        assert banned == reference.guilty[jail], (
            f"{jail}: {len(reference.guilty[jail] - banned)} lost, {len(banned - reference.guilty[jail])} without cause"
        )
    made = Counter(line.partition("NOTICE")[2].strip() for line in daemon.logged().splitlines() if "] Ban " in line)
    doubled = {line: times for line, times in made.items() if times > 1}
    assert not doubled, f"banned twice: {list(doubled)[:5]}"
    bans = sum(map(len, reference.guilty.values()))
    if host:
        kernel = host.run("nft", "list", "table", "inet", "sipguard")
        assert kernel.count(" expires ") == bans, f"{kernel.count(' expires ')} in the kernel"
    say(f"{bans} bans, none lost, none doubled; settled {time.monotonic() - begun:.1f} s after the last line")


def _check_resources(first, last, bans, say):
    say(f"memory: first {first[0] / 1e6:.1f} MB, last {last[0] / 1e6:.1f} MB; file descriptors: {first[1]}, {last[1]}")
    assert last[0] <= first[0] + SLACK + bans * PER_BAN
    assert last[1] <= first[1] + 5


if __name__ == "__main__":
    with tempfile.TemporaryDirectory() as made:
        soak(float(sys.argv[1]) if len(sys.argv) > 1 else 300.0, Path(made))
