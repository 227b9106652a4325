"""What is measured on running daemons: the way to the kernel, bursts, memory, and the cost of a busy log."""

from __future__ import annotations

import os
import select
import socket
import statistics
import time
from collections.abc import Iterator
from pathlib import Path

from benchmarks import logs
from benchmarks.report import Row
from benchmarks.servers import PORT, Fail2ban, Server, Sipguard, both


def live(folder: Path, times: int) -> Iterator[Row]:
    """All of it, on one pair of daemons."""
    with both(folder) as (fail2ban, sipguard):
        time.sleep(2)
        memory = fail2ban.memory(), sipguard.memory()
        yield Row("memory of the daemon, two jails", "MB", memory[1], memory[0], "≤ Fail2ban's", more_is_better=False)
        yield from _latency(fail2ban, sipguard, max(times, 5))
        yield from _busy(fail2ban, sipguard, 12.0 * times)
        yield from _bursts(fail2ban, sipguard)


def _latency(fail2ban: Fail2ban, sipguard: Sipguard, times: int) -> Iterator[Row]:
    found: dict[Server, list[float]] = {fail2ban: [], sipguard: []}
    before = sipguard.released()
    for number in range(times):
        for server, seconds in found.items():
            seconds.append(_fifth_failure(server, f"198.51.100.{number + 1}") * 1000)
    ours = statistics.median(found[sipguard])
    theirs = statistics.median(found[fail2ban])
    wanted = "≤ 20 ms, 10 ×"
    by_header, at_end = (after - old for after, old in zip(sipguard.released(), before, strict=True))
    note = f"of {2 * times} last records {at_end} by the log's end, {by_header} by the next header"
    yield Row("fifth failure written → packet rejected", "ms", ours, theirs, wanted, more_is_better=False, note=note)


def _fifth_failure(server: Server, address: str) -> float:
    """Seconds from the write of the fifth line until a packet of that address is answered by a rejection."""
    line = logs.dated(logs.FREESWITCH.format(user="1000", address=address), time.time()) + "\n"
    with server.freeswitch.open("a") as log:
        log.write(line * 4)
    time.sleep(1.5)
    with server.space.inside():
        listener = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
        listener.bind(("198.51.100.254", PORT))
    with server.attacker.inside():
        probe = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
        probe.bind((address, 0))
        probe.connect(("198.51.100.254", PORT))
    with listener, probe:
        descriptor = os.open(server.freeswitch, os.O_WRONLY | os.O_APPEND)
        begun = time.monotonic()
        os.write(descriptor, line.encode())
        os.close(descriptor)
        while time.monotonic() - begun < 30:
            try:
                probe.send(b"x")
                # An ICMP rejection makes the socket readable; nothing else is ever sent back.
                if select.select([probe], [], [], 0.0005)[0]:
                    probe.recv(1)
            except ConnectionRefusedError:
                return time.monotonic() - begun
    raise RuntimeError(f"{type(server).__name__} never rejected {address}")


def _bursts(fail2ban: Fail2ban, sipguard: Sipguard) -> Iterator[Row]:
    theirs = _burst(fail2ban, range(2000, 2300))
    ours = statistics.median([_burst(sipguard, range(2000 + 1000 * n, 2300 + 1000 * n)) for n in range(3)])
    yield Row("300 addresses in one burst", "s", ours, theirs, "50 ×", more_is_better=False)
    many = _burst(sipguard, range(10_000, 20_000))
    yield Row("10,000 addresses in one burst", "s", many, None, "< 1 s", more_is_better=False)


def _burst(server: Server, numbers: range) -> float:
    """Seconds from one write with five failures of each address until the kernel has them all."""
    now = time.time()
    lines = [logs.attack_line(logs.FREESWITCH, number, now) for number in numbers]
    text = "".join(f"{line}\n" * 5 for line in lines).encode()
    before = server.banned()
    since = server.log.stat().st_size
    begun = time.monotonic()
    with server.freeswitch.open("ab") as log:
        log.write(text)
    # The log says when it may be time to ask the kernel, which takes long to list so many.
    server.wait("] Ban ", len(numbers), since=since)
    said = time.monotonic() - begun
    while server.banned() < before + len(numbers):
        if time.monotonic() - begun > 120:
            raise RuntimeError(f"{type(server).__name__} has {server.banned() - before} of {len(numbers)}")
        time.sleep(0.02)
        said = time.monotonic() - begun
    return said


def _busy(fail2ban: Fail2ban, sipguard: Sipguard, seconds: float) -> Iterator[Row]:
    """5,000 lines per second, 2 % attack, written line by line to one and then the other; per cent of one core, user and system.

    Nobody is banned meanwhile: that has rows of its own.
    """
    used: dict[Server, float] = {}
    for server in (fail2ban, sipguard):
        before = server.seconds()
        rate = _write(server, seconds) / seconds
        time.sleep(0.5)
        used[server] = 100 * (server.seconds() - before) / seconds
    yield Row(
        "processor at 5,000 lines/s, 2 % attack",
        "% of a core",
        used[sipguard],
        used[fail2ban],
        "< 3 %",
        more_is_better=False,
        note=f"{rate:,.0f} lines/s over {seconds:.0f} s each",
    )


def _write(server: Server, seconds: float) -> int:
    """Write to a daemon's log for so long, in a minute no address more than three times; the number of lines."""
    quiet = logs.quiet_lines("freeswitch-normal-debug.log")
    count = 0
    begun = time.monotonic()
    descriptor = os.open(server.freeswitch, os.O_WRONLY | os.O_APPEND)
    while (passed := time.monotonic() - begun) < seconds:
        now = time.time()
        while count < passed * logs.RATE:
            if count % 50:
                line = logs.dated(quiet[count % len(quiet)], now)
            else:
                line = logs.attack_line(logs.FREESWITCH, 100_000 + (count // 50) % 2000, now)
            os.write(descriptor, line.encode() + b"\n")
            count += 1
        time.sleep(0.001)
    os.close(descriptor)
    return count
