"""The clock is set while the daemon runs: nobody is let through early, and no attacker starts anew."""

import asyncio
import contextlib
import time

import pytest
from running import append, failure

from sipguard.config.settings import load
from sipguard.daemon.clock_jump import ClockJumps
from sipguard.daemon.daemon import Daemon
from sipguard.firewall.memory import MemoryFirewall

ATTACKER, SECOND = "203.0.113.66", "203.0.113.67"
HOUR = 3600.0


class World:
    """A clock that can be set."""

    def __init__(self):
        self.offset = 0.0

    def clock(self):
        return time.time() + self.offset


@pytest.fixture
def folder(tmp_path):
    """A configuration with one jail."""
    (tmp_path / "jails.d").mkdir()
    (tmp_path / "sipguard.toml").write_text(f'state_dir = "{tmp_path}/state"\nlogtarget = "{tmp_path}/sg.log"\n')
    (tmp_path / "jails.d/freeswitch.toml").write_text(
        f'enabled = true\nlogpath = "{tmp_path}/fs.log"\nbantime = "30m"\nfindtime = "10m"\n'
    )
    (tmp_path / "fs.log").touch()
    return tmp_path


@contextlib.asynccontextmanager
async def _daemon(folder, world):
    """One in this process, by the clock of this world."""
    firewall = MemoryFirewall(clock=lambda: world.clock() - world.offset)  # the kernel counts for itself
    daemon = Daemon(load(folder / "sipguard.toml"), firewall, clock=world.clock)
    running = asyncio.create_task(daemon.run(_nothing))
    ready = asyncio.create_task(daemon.ready.wait())
    await asyncio.wait([ready, running], return_when=asyncio.FIRST_COMPLETED)
    if running.done():
        running.result()
    try:
        yield daemon
    finally:
        daemon.stop()
        await running


@contextlib.asynccontextmanager
async def _nothing():
    yield


async def _until(condition):
    end = time.monotonic() + 45
    while not condition():
        assert time.monotonic() < end
        await asyncio.sleep(0.02)


@pytest.mark.parametrize("step", [HOUR, -HOUR], ids=["forward", "back"])
def test_clock_set_while_running(folder, step):
    """A ban has as much time left as before; four failures before and one after are five."""

    async def story():
        world = World()
        log = folder / "fs.log"
        async with _daemon(folder, world) as daemon:
            append(log, failure(ATTACKER) * 5 + failure(SECOND) * 4)
            await _until(lambda: daemon.bans.live.get("freeswitch", ATTACKER))
            await _until(lambda: daemon.runners["freeswitch"].judge.window.count(SECOND, world.clock()) == 4)
            left = daemon.bans.live.get("freeswitch", ATTACKER).until - world.clock()
            then = time.monotonic()
            world.offset += step
            append(log, failure(SECOND, when=world.clock()))
            await _until(lambda: daemon.bans.live.get("freeswitch", SECOND))
            ban = daemon.bans.live.get("freeswitch", ATTACKER)
            assert ban is not None
            assert ban.until - world.clock() == pytest.approx(left - (time.monotonic() - then), abs=5)
            daemon.bans.end_due()
            assert len(daemon.bans.live) == 2
        async with _daemon(folder, world) as daemon:
            assert {ban.address for ban in daemon.bans.live} == {ATTACKER, SECOND}
            ends = [ban.until - world.clock() for ban in daemon.bans.live]
            assert all(1700 < left <= 1800 for left in ends), ends

    asyncio.run(story())


def test_clock_set_back_while_stopped(folder):
    """A ban that lies in the future lasts no longer than it was meant to; attempts count on."""

    async def story():
        world = World()
        async with _daemon(folder, world) as daemon:
            append(folder / "fs.log", failure(ATTACKER) * 5 + failure(SECOND) * 4)
            await _until(lambda: daemon.bans.live.get("freeswitch", ATTACKER))
        world.offset -= HOUR
        async with _daemon(folder, world) as daemon:
            ban = daemon.bans.live.get("freeswitch", ATTACKER)
            assert 1700 < ban.until - world.clock() <= 1800
            append(folder / "fs.log", failure(SECOND, when=world.clock()))
            await _until(lambda: daemon.bans.live.get("freeswitch", SECOND))

    asyncio.run(story())


def test_a_clock_that_is_right_only_after_the_start(folder):
    """A machine without one of its own, until NTP tells: earlier attempts do not come to lie in the future, to count for ever."""

    async def story():
        world = World()
        async with _daemon(folder, world) as daemon:
            append(folder / "fs.log", failure(SECOND) * 4)
            await _until(lambda: daemon.runners["freeswitch"].judge.window.count(SECOND, world.clock()) == 4)
        world.offset -= 24 * HOUR
        async with _daemon(folder, world) as daemon:
            world.offset += 24 * HOUR
            daemon._steps.check()
        world.offset += HOUR
        async with _daemon(folder, world) as daemon:
            assert not daemon.runners["freeswitch"].judge.window.count(SECOND, world.clock())

    asyncio.run(story())


def test_a_steered_clock_is_no_step():
    """NTP moves a clock by fractions of a second; only a jump is one."""
    now, told = [1000.0, 0.0], []
    steps = ClockJumps(lambda: now[0], told.append, lambda: now[1])
    for _ in range(10):
        now[0] += 5.5
        now[1] += 5.0
        steps.check()
        assert told == []
    now[0] -= 600
    steps.check()
    steps.check()
    assert told == [pytest.approx(-600)]
