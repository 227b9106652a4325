"""What is over is forgotten: a daemon runs for years."""

import asyncio
import contextlib
import ctypes
import gc
import subprocess
import sys
import time
import tracemalloc
from dataclasses import replace

import pytest
from annotations import FILTERS
from limits import PATIENCE
from running import chunk, failure

from sipguard.config.filters import read_filter
from sipguard.daemon.ban_ledger import BanLedger
from sipguard.daemon.firewall_worker import FirewallWorker
from sipguard.daemon.jail_runner import JailRunner
from sipguard.detection.detector import Detector
from sipguard.detection.record_rule import FOLDED_SETTLES
from sipguard.firewall.memory import MemoryFirewall
from sipguard.model import Ban, Failure, Jail, Rule
from sipguard.policy.attempts import Attempts
from sipguard.policy.ignore import IgnoreList
from sipguard.state.changes import Changes

NOW = 1795292280.0
FREESWITCH = Jail("freeswitch", read_filter("freeswitch", [FILTERS]))


@contextlib.contextmanager
def bounded(most):
    """Fails when more bytes than that stay after the block."""
    tracemalloc.start()
    try:
        yield
        gc.collect()
        kept = tracemalloc.get_traced_memory()[0]
    finally:
        tracemalloc.stop()
    assert kept <= most, f"{kept} bytes stay, {most} may"


def guard_of(jail=FREESWITCH):
    """A jail whose bans lead to nothing."""
    return JailRunner(
        jail,
        ignore=IgnoreList([]),
        clock=lambda: NOW,
        decide=lambda _ban: None,
        reinforce=lambda _jail, _address: None,
    )


def over(bans, now):
    """The bans that have ended at `now`, ended."""
    gone = bans.ended(now)
    for one in gone:
        bans.end(one.jail, one.address)
    return gone


def test_bans_restored_again_and_again():
    """A reload gives every live ban anew."""
    live = [Ban(f"203.0.113.{n}", "asterisk", NOW, NOW + 86_400 + n) for n in range(200)]
    bans = BanLedger()
    with bounded(100_000):
        for _ in range(200):
            for ban in live:
                bans.add(ban)
    assert len(over(bans, NOW + 2 * 86_400)) == 200


def test_ends_that_move():
    """An end that has moved is not kept until its time, which may be a year away."""
    bans = BanLedger()
    with bounded(100_000):
        for move in range(200):
            for n in range(200):
                bans.add(Ban(f"203.0.113.{n}", "asterisk", NOW, NOW + 86_400 + move))
    assert len(over(bans, NOW + 2 * 86_400)) == 200


def test_bans_that_are_released():
    """So are those of bans that an operator has ended."""
    bans = BanLedger()
    with bounded(100_000):
        for n in range(20_000):
            bans.add(Ban(f"2001:db8::{n:x}", "asterisk", NOW, NOW + 86_400))
            bans.end("asterisk", f"2001:db8::{n:x}")
    assert bans.next_end() is None


def test_an_address_that_guesses():
    """What is remembered of one address to tell attempts from lines takes a kilobyte: thousands may guess at once."""
    attempts = Attempts(FREESWITCH.filter)
    with bounded(1000 * 1100):
        for n in range(1000):
            attempts.new(f"2001:db8::{n:x}", Failure("", NOW, tags={"answer": "x"}), NOW)


def read(runner, path):
    """A failure, the last that its log has."""
    runner.take(chunk(failure("203.0.113.66", when=NOW).encode(), path), Changes())
    runner.take(chunk(b"", path, idle=FOLDED_SETTLES), Changes())


def test_logs_that_come_and_go():
    """Each log has a detector, as long as it is there; what was counted in it stays counted."""
    runner = guard_of()
    before = sum(isinstance(one, Detector) for one in gc.get_objects())
    for day in range(5):
        path = f"freeswitch-{day}.log"
        read(runner, path)
        runner.leave({path})
    gc.collect()
    assert sum(isinstance(one, Detector) for one in gc.get_objects()) - before <= 1
    assert runner.counts.lines == runner.counts.failures == 5
    runner.leave(())
    read(runner, "freeswitch-9.log")
    assert runner.counts.lines == 6


def test_counts_go_on_with_another_filter():
    """A client that adds a regex changes the detector, not what was counted, of however many logs."""
    runner = guard_of()
    for path in ("one.log", "other.log"):
        read(runner, path)
    found = runner.jail.filter
    runner.reconfigure(replace(runner.jail, filter=replace(found, failregex=(*found.failregex, r"^\s*odd <HOST>$"))))
    read(runner, "one.log")
    assert runner.counts.lines == runner.counts.failures == 3


def test_orders_that_are_carried_out():
    """The last of them are not kept until the next come."""

    async def carry_out():
        ban = Ban("203.0.113.66", "asterisk", NOW, NOW + 600)
        firewall_worker = FirewallWorker(MemoryFirewall(clock=lambda: NOW), lambda _bans: None, list, BanLedger())
        running = asyncio.create_task(firewall_worker.run())
        await firewall_worker.open([Rule("asterisk")])
        references = sys.getrefcount(ban)
        firewall_worker.order("unban", [ban])
        await firewall_worker.idle.wait()
        deadline = time.monotonic() + PATIENCE
        # The thread that carried them out lets go of them a moment after it has said that they are.
        while sys.getrefcount(ban) > references and time.monotonic() < deadline:
            await asyncio.sleep(0.001)
        after = sys.getrefcount(ban)
        running.cancel()
        firewall_worker.stop()
        return after - references

    assert asyncio.run(carry_out()) == 0


@pytest.mark.skipif(not hasattr(ctypes.CDLL(None), "mallinfo2"), reason="needs glibc 2.33 or later, to ask its malloc")
def test_large_blocks_go_back_to_the_kernel():
    """Also after others of their size were freed, which by itself would keep glibc from it; in a process of its own."""
    program = """
import ctypes
from sipguard.daemon.memory import LARGE, frugal
names = "arena ordblks smblks hblks hblkhd usmblks fsmblks uordblks fordblks keepcost"
class Info(ctypes.Structure):
    _fields_ = [(name, ctypes.c_size_t) for name in names.split()]
mallinfo2 = ctypes.CDLL(None).mallinfo2
mallinfo2.restype = Info
frugal()
for _ in range(3):
    block = bytearray(8 * LARGE)
    del block
block = bytearray(4 * LARGE)
print(mallinfo2().hblkhd >= 4 * LARGE)
"""
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True)
    assert done.stdout == "True\n"
