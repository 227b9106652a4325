"""How a fleet grows: simulated nodes publish to a real Redis, and one more node reads it all.

python -m benchmarks.fleet [--nodes 100] [--bans 1000000]        (needs redis-server; prints one table)
"""

from __future__ import annotations

import argparse
import asyncio
import contextlib
import json
import os
import resource
import shutil
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Collection, Iterable, Iterator
from pathlib import Path

from sipguard.fleet.link import Link
from sipguard.fleet.messages import Beat, Event
from sipguard.fleet.node import Node
from sipguard.fleet.roster import FleetChange
from sipguard.model import Ban, Fleet

PORT = 16379
ROUNDS = 50
IDLE = 10.0


class Nobody:
    """A daemon without bans of its own, that notes when it hears of one."""

    def __init__(self, wanted: int) -> None:
        self.wanted = wanted
        self.done = asyncio.Event()
        self.heard: dict[str, float] = {}
        self.node: Node | None = None

    def bans(self, network: str) -> Collection[Ban]:  # noqa: ARG002 - it has none
        return []

    def networks(self) -> Iterable[str]:
        return []

    def is_complete(self) -> bool:
        return True

    def caught_up(self) -> None:
        pass

    def own_addresses(self) -> Iterable[str]:
        return []

    def release(self, network: str) -> None:
        pass

    def changed(self, changes: Iterable[FleetChange]) -> None:
        now = time.time()
        assert self.node is not None
        if self.done.is_set():
            self.heard |= {change.network: now for change in changes}
        elif len(self.node.roster.ends) >= self.wanted:
            self.done.set()


def memory() -> float:
    """Resident memory of this process in MiB."""
    pages = int(Path("/proc/self/statm").read_text().split()[1])
    return pages * os.sysconf("SC_PAGE_SIZE") / (1 << 20)


async def read(url: str, wanted: int) -> None:
    """Be the node that reads: prints what it took, then, for a line on standard input, when it has heard of what."""
    from redis.asyncio import Redis  # noqa: PLC0415, F401 - it belongs to the memory before

    local, before, begin, used = Nobody(wanted), memory(), time.perf_counter(), time.process_time()
    local.node = Node(Fleet(url, "reader"), local, clock=time.time)
    running = asyncio.create_task(local.node.run())
    await local.done.wait()
    told = {
        "seconds": time.perf_counter() - begin,
        "cpu": time.process_time() - used,
        "before": before,
        "after": memory(),
    }
    told["peak"] = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
    await asyncio.sleep(3)
    used = time.process_time()
    await asyncio.sleep(IDLE)
    print(json.dumps({**told, "idle": (time.process_time() - used) / IDLE}), flush=True)
    await asyncio.get_running_loop().run_in_executor(None, sys.stdin.readline)
    print(json.dumps(local.heard), flush=True)
    local.node.ending = True
    running.cancel()
    await asyncio.gather(running, return_exceptions=True)


async def publish(url: str, nodes: int, bans: int) -> float:
    """Be all the others: gives the seconds it took."""
    begin, each, until = time.perf_counter(), bans // nodes, time.time() + 86_400
    for number in range(nodes):
        name = f"node{number:03}"
        link = Link(Fleet(url, name), clock=time.time)
        await link.open()
        now = link.now()
        events = [
            Event(
                "ban",
                address(number * each + n),
                until + n,
                "proven",
                "sip",
                "5 failures within 600 s",
                now,
                "run",
                n + 1,
            )
            for n in range(each)
        ]
        await link.write(events)
        await link.tell(Beat(now, "run", each, each, "1"))
        await link.close()
    return time.perf_counter() - begin


async def tell_live(url: str, nodes: int, bans: int) -> dict[str, float]:
    """One more ban from each of some nodes, now and then: address → when it was written."""
    written = {}
    for n in range(ROUNDS):
        number = n * nodes // ROUNDS
        link = Link(Fleet(url, f"node{number:03}"), clock=time.time)
        await link.open()
        network, now = address(bans + n), link.now()
        count = bans // nodes + 1 + (n - number * ROUNDS // nodes if nodes < ROUNDS else 0)
        written[network] = time.time()
        await link.write([Event("ban", network, now + 3600, "proven", "sip", "live", now, "run", count)])
        await link.close()
        await asyncio.sleep(0.1)
    return written


def address(number: int) -> str:
    """One of 16 million addresses."""
    return f"198.{number >> 16 & 255}.{number >> 8 & 255}.{number & 255}"


@contextlib.contextmanager
def redis_server() -> Iterator[str]:
    """A Redis of its own, that writes nothing to disk."""
    with tempfile.TemporaryDirectory(prefix="sipguard-bench-") as folder:
        command = ["redis-server", "--port", str(PORT), "--bind", "127.0.0.1", "--save", "", "--dir", folder]
        server = subprocess.Popen(command, stdout=subprocess.DEVNULL)
        try:
            while "PONG" not in ask("ping"):
                time.sleep(0.05)
            yield f"redis://127.0.0.1:{PORT}"
        finally:
            server.terminate()
            server.wait()


def ask(*words: str) -> str:
    """What redis-cli prints."""
    return subprocess.run(["redis-cli", "-p", str(PORT), *words], capture_output=True, text=True, check=False).stdout


def main() -> int:
    """Measure."""
    arguments = argparse.ArgumentParser(prog="benchmarks.fleet", description=__doc__)
    arguments.add_argument("--nodes", type=int, default=100)
    arguments.add_argument("--bans", type=int, default=1_000_000)
    arguments.add_argument("--read", metavar="URL", help=argparse.SUPPRESS)
    given = arguments.parse_args()
    if given.read:
        asyncio.run(read(given.read, given.bans))
        return 0
    if shutil.which("redis-server") is None:
        sys.stderr.write("Debian's package redis-server is needed: apt install redis-server\n")
        return 2
    with redis_server() as url:
        wrote = asyncio.run(publish(url, given.nodes, given.bans))
        used = next(line for line in ask("info", "memory").splitlines() if line.startswith("used_memory:"))
        command = [sys.executable, "-m", "benchmarks.fleet", "--read", url, "--bans", str(given.bans)]
        reader = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
        assert reader.stdin is not None
        assert reader.stdout is not None
        told = json.loads(reader.stdout.readline())
        written = asyncio.run(tell_live(url, given.nodes, given.bans))
        time.sleep(1)
        reader.stdin.write("\n")
        reader.stdin.flush()
        heard = json.loads(reader.stdout.readline())
        reader.wait()
    report(
        given.nodes, given.bans, wrote, int(used.split(":")[1]), told, [heard[one] - at for one, at in written.items()]
    )
    return 0


def report(nodes: int, bans: int, wrote: float, redis: int, told: dict[str, float], lags: list[float]) -> None:
    """Print the table."""
    grown = told["after"] - told["before"]
    print(f"{nodes} nodes, {bans:,} live bans")
    print(f"  published in                    {wrote:8.1f} s   ({bans / wrote:,.0f}/s, one after another)")
    print(f"  Redis's memory                  {redis / (1 << 20):8.0f} MiB ({redis / bans:.0f} bytes per ban)")
    print(f"  a new node has read it all in   {told['seconds']:8.1f} s   ({told['cpu']:.1f} s of CPU)")
    print(f"  its memory: before              {told['before']:8.0f} MiB")
    print(f"              for the bans        {grown:8.0f} MiB ({grown * (1 << 20) / bans:.0f} bytes per ban)")
    print(f"              peak                {told['peak']:8.0f} MiB")
    print(f"  CPU while nothing happens       {told['idle']:8.2%}")
    print(f"  a ban written there, known here {statistics.median(lags) * 1000:8.1f} ms  (median of {len(lags)})")


if __name__ == "__main__":
    sys.exit(main())
