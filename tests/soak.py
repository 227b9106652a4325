"""The daemon for minutes or hours under all that a real server does to it at once, against a count of what must be banned.

    make soak              five minutes; SOAK=3600 for an hour
    PYTHONPATH=.:tests python -m soak SECONDS

Five jails, 2,000 lines a second, logs rotated, configuration reloaded, the firewall flushed by others, all the time. In the
first part the daemon is killed with -9 too, and bans last: every address with five failures is banned, in the kernel too, none
with four is, no ban was made twice. In the second part it lives, and its bans end after some seconds, so that there are always
as many: after hundreds of thousands of lines and many reloads it has no more memory and file descriptors than at the beginning.
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
from contextlib import ExitStack, suppress
from dataclasses import dataclass, field
from datetime import UTC, datetime
from itertools import pairwise
from pathlib import Path

from netns import missing, namespace
from running import RunningDaemon, failure

JAILS = tuple(f"pbx{n}" for n in range(5))
LINES_PER_SECOND = 2000
FAILURES = 0.04
"""Share of lines that are failures: an attack, not the normal day."""
AT_ONCE = 10
"""Addresses that attack one jail at the same time."""
TRIED = 0.6
"""Share of the time in which the daemon is killed as well; the rest it lives through."""
EVERY = {"rotate": 30.0, "reload": 60.0, "flush": 45.0, "kill": 90.0}
"""Seconds between two of a kind, if there is time for three; in less there are three of each all the same."""
EVERY_LIVING = {"rotate": 10.0, "reload": 5.0, "flush": 15.0}
"""Seconds between two of a kind while it lives: what one of them leaves behind must add up to be seen."""
WARM_UP = 0.35
"""Share of the time of its life before the first reading: what is kept once is there by then."""
KEPT = 9
"""Rotated files of each log. A daemon that waits for its turn on a busy machine finds all that it has not read yet."""
LASTING = {"bantime": "1d", "findtime": "1h"}
BRIEF = {"bantime": "15s", "findtime": "60s"}
GROWTH = 3 << 20
"""Bytes by which memory may differ for no reason that is a leak: where in its blocks Python finds room."""


@dataclass
class Reference:
    """What was written, and so what must be banned."""

    lasting: dict[str, set[str]] = field(default_factory=lambda: {jail: set() for jail in JAILS})
    """Of the first part: jail → addresses."""
    brief: dict[str, set[str]] = field(default_factory=lambda: {jail: set() for jail in JAILS})
    lines: int = 0
    events: Counter[str] = field(default_factory=Counter)


def noise() -> str:
    """A line that says nothing, of now: no two logs begin alike, as those of servers do not."""
    now = datetime.now(UTC).astimezone().strftime("%Y-%m-%d %H:%M:%S.%f")
    return f"{now} 98.53% [INFO] switch_core.c:1 nothing of interest happens here to anybody\n"


class Writer(threading.Thread):
    """Writes to five logs as five servers do, torn lines and all, until told to stop."""

    def __init__(self, folder: Path, reference: Reference) -> None:
        super().__init__(daemon=True)
        self._folder, self._reference = folder, reference
        self._chance = random.Random(20261121)
        self._addresses = 0
        self._pending: dict[str, list[tuple[str, int]]] = {jail: [] for jail in JAILS}
        self._guilty: dict[str, set[str]] | None = None
        self._next: dict[str, set[str]] | None = reference.lasting
        self._turned = threading.Event()
        self.rotating = threading.Lock()
        self.over = threading.Event()

    def log(self, jail: str) -> Path:
        return self._folder / f"{jail}.log"

    def attack(self, guilty: dict[str, set[str]] | None) -> None:
        """From now on new addresses, noted in `guilty`, or none; those of before have had all their failures on return."""
        self._turned.clear()
        self._next = guilty
        assert self._turned.wait(60), "the writer has stopped"

    def run(self) -> None:
        step = 0.05
        due = time.monotonic()
        while not self.over.wait(max(0.0, due - time.monotonic())):
            due += step
            if self._next is not self._guilty:
                self._finish()
                self._guilty = self._next
            self._turned.set()
            for jail in JAILS:
                lines = [self._line(jail) for _ in range(int(LINES_PER_SECOND * step / len(JAILS)))]
                self._write(jail, "".join(lines))

    def _line(self, jail: str) -> str:
        self._reference.lines += 1
        if self._guilty is None or self._chance.random() > FAILURES:
            return noise()
        pending = self._pending[jail]
        if len(pending) < AT_ONCE:
            self._addresses += 1
            left = 5 if self._addresses % 4 else 4
            pending.append((f"2001:db8:{self._addresses >> 16:x}:{self._addresses & 0xFFFF:x}::5", left))
            if left == 5:
                self._guilty[jail].add(pending[-1][0])
        place = self._chance.randrange(len(pending))
        address, left = pending.pop(place)
        if left > 1:
            pending.append((address, left - 1))
        return failure(address)

    def _finish(self) -> None:
        """Every address that has begun gets the rest of its failures."""
        for jail in JAILS:
            rest, self._pending[jail] = self._pending[jail], []
            self._write(jail, "".join(failure(address) for address, left in rest for _ in range(left)))

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
    with ExitStack() as stack:
        host = None if (reason := missing("nft")) else stack.enter_context(namespace("nft"))
        say(f"firewall: {'nftables in a network namespace' if host else f'memory ({reason})'}")
        options = {"firewall": "nftables", "prefix": ["ip", "netns", "exec", host.name]} if host else {}
        daemon = RunningDaemon(folder, {jail: _keys(writer, jail, LASTING) for jail in JAILS}, **options)
        stack.callback(lambda: daemon.process and daemon.process.poll() is None and daemon.stop())
        daemon.start()
        writer.start()
        stack.callback(writer.over.set)
        disturb = Disturbance(daemon, writer, reference.events, host)
        disturb(seconds * TRIED, EVERY)
        writer.attack(None)
        _check_lasting(daemon, reference, host, say)
        _bans_end(daemon, writer)
        writer.attack(reference.brief)
        lived = seconds * (1 - TRIED)
        disturb(lived * WARM_UP, EVERY_LIVING)
        first, begun = _resources(daemon), (reference.lines, reference.events["reload"])
        disturb(lived * (1 - WARM_UP), EVERY_LIVING)
        last = _resources(daemon)
        between = f"{reference.lines - begun[0]} lines and {reference.events['reload'] - begun[1]} reloads"
        say(f"{reference.lines} lines written; {dict(reference.events)}")
        writer.attack(None)
        _check_brief(daemon, reference, host, say)
        _check_resources(first, last, between, say)
    return reference


def _keys(writer, jail, times):
    return {"filter": "freeswitch", "logpath": str(writer.log(jail)), "ipv6prefix": 128, **times}


def _bans_end(daemon, writer):
    """From now on bans last for some seconds only; those that are live keep their time."""
    for jail in JAILS:
        daemon.write_jail(jail, **_keys(writer, jail, BRIEF))
    daemon.sipguard("reload")


class Disturbance:
    """What a real server does, each in its turn."""

    def __init__(self, daemon, writer, events, host):
        self._daemon, self._writer, self._events, self._host = daemon, writer, events, host

    def __call__(self, seconds, every):
        """For so long; `every` tells how many seconds lie between two of a kind.

        A machine that is busy gets the time that it needs for as many of each as fit in.
        """
        begin = time.monotonic()
        pauses = {what: min(pause, seconds / 3.5) for what, pause in every.items()}
        due = {what: begin + pause for what, pause in pauses.items()}
        wanted = {what: self._events[what] + int(seconds / pause) for what, pause in pauses.items()}
        while time.monotonic() < begin + seconds or any(self._events[what] < few for what, few in wanted.items()):
            time.sleep(0.05)
            for what in [what for what, when in due.items() if time.monotonic() >= when]:
                due[what] += pauses[what]
                self._events[what] += 1
                _DO[what](self._daemon, self._writer, self._host)


def _rotate(_daemon, writer, _host):
    with writer.rotating:
        for jail in JAILS:
            log = writer.log(jail)
            names = [log, *(log.with_suffix(f".log.{number}") for number in range(1, KEPT + 1))]
            for newer, older in reversed(list(pairwise(names))):
                if newer.exists():
                    newer.replace(older)
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
    """(bytes of resident memory, open file descriptors): the least and the middle of some looks, for reloads come and go.

    While one lasts, the logs are closed: a busy machine needs long for it, so such looks do not count.
    """
    process = Path(f"/proc/{daemon.process.pid}")
    looks = []
    end = time.monotonic() + 60
    while len(looks) < 20:
        time.sleep(0.1)
        files = list(_open_files(process))
        if len({name.partition(".log")[0] for name in files if name.startswith("pbx")}) == len(JAILS):
            looks.append((int((process / "statm").read_text().split()[1]), len(files)))
        assert time.monotonic() < end, "the logs are not open"
    files = sorted(files for _, files in looks)
    return min(pages for pages, _ in looks) * os.sysconf("SC_PAGE_SIZE"), files[len(files) // 2]


def _open_files(process):
    """The names of what a process has open."""
    for link in (process / "fd").iterdir():
        with suppress(FileNotFoundError):  # closed meanwhile
            yield link.readlink().name


def _logged(daemon, verb):
    """How often the log says it, by what."""
    said = (line.partition("NOTICE  ")[2].strip() for line in daemon.logged().splitlines() if f"] {verb} " in line)
    return Counter(said)


def _check_lasting(daemon, reference, host, say):
    """Every address that is guilty is banned, nobody else is, and the kernel has as many."""
    begun = time.monotonic()
    for jail in JAILS:
        guilty = reference.lasting[jail]
        daemon.wait_for(
            lambda jail=jail, guilty=guilty: len(daemon.banned(jail)) >= len(guilty), f"every ban of {jail}"
        )
    time.sleep(1)  # what should not come must have had its time
    for jail in JAILS:
        guilty, banned = reference.lasting[jail], daemon.banned(jail)
        assert banned == guilty, f"{jail}: {len(guilty - banned)} lost, {len(banned - guilty)} without cause"
    made = _logged(daemon, "Ban")
    doubled = {line: times for line, times in made.items() if times > 1}
    assert not doubled, f"banned twice: {list(doubled)[:5]}"
    bans = sum(map(len, reference.lasting.values()))
    _check_kernel(host, bans)
    say(f"{bans} bans, none lost, none doubled; settled {time.monotonic() - begun:.1f} s after the last line")


def _check_brief(daemon, reference, host, say):
    """Every address that was guilty was banned once, and has been let through; the bans that last are as before."""
    wanted = {f"[{jail}] {{}} {address}" for jail in JAILS for address in reference.brief[jail]}
    lasting = {f"[{jail}] Ban {address}" for jail in JAILS for address in reference.lasting[jail]}
    end = time.monotonic() + 90
    while any(daemon.banned(jail) != reference.lasting[jail] for jail in JAILS):
        assert time.monotonic() < end, "bans do not end, or one that lasts has gone"
        time.sleep(0.5)
    made, ended = _logged(daemon, "Ban"), _logged(daemon, "Unban")
    _check_lines(made, {*(line.format("Ban") for line in wanted), *lasting})
    _check_lines(ended, {line.format("Unban") for line in wanted})
    _check_kernel(host, len(lasting))
    say(f"{len(wanted)} brief bans, none lost, none doubled, all ended")


def _check_lines(said, wanted):
    """Each of `wanted` was said once, and nothing else."""
    wrong = {line: said[line] for line in {*said, *wanted} if said[line] != (line in wanted)}
    assert not wrong, f"lost (0), doubled or without cause: {sorted(wrong.items())[:10]}"


def _check_kernel(host, bans):
    if host:
        kernel = host.run("nft", "list", "table", "inet", "sipguard")
        assert kernel.count(" expires ") == bans, f"{kernel.count(' expires ')} in the kernel instead of {bans}"


def _check_resources(first, last, between, say):
    say(
        f"memory: first {first[0] / 1e6:.1f} MB, last {last[0] / 1e6:.1f} MB; file descriptors: {first[1]}, {last[1]}; "
        f"between them {between}"
    )
    assert last[0] <= first[0] + GROWTH, "memory grows"
    assert last[1] <= first[1] + 2, "file descriptors grow"


if __name__ == "__main__":
    with tempfile.TemporaryDirectory() as made:
        soak(float(sys.argv[1]) if len(sys.argv) > 1 else 300.0, Path(made))
