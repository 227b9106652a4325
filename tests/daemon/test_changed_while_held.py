"""A client changes how a jail reads its log, just when the last record of that may go on: it counts as it was written."""

import asyncio
import contextlib
import time
from dataclasses import replace

import pytest
from limits import PATIENCE
from running import append, failure

from sipguard.config.settings import load
from sipguard.daemon.daemon import Daemon
from sipguard.daemon.operations import Operations
from sipguard.firewall.memory import MemoryFirewall

ATTACKER = "203.0.113.66"


@contextlib.asynccontextmanager
async def no_sockets():
    """Nobody asks this daemon anything."""
    yield


def changed(jail, what):
    """Another definition of the jail."""
    regexes = (*jail.filter.failregex, r"^odd <HOST>$")
    new = {"failregex": replace(jail, filter=replace(jail.filter, failregex=regexes)), "idle": replace(jail, idle=True)}
    return new.get(what) or replace(jail, encoding="latin-1")


@pytest.mark.parametrize("what", ["failregex", "encoding", "idle"])
def test_what_is_held_counts(tmp_path, log, what):
    """Once."""
    (tmp_path / "jails.d").mkdir()
    (tmp_path / "jails.d" / "pbx.toml").write_text(f'enabled = true\nfilter = "freeswitch"\nlogpath = "{log}"\n')
    (tmp_path / "sipguard.toml").write_text(f'state_dir = "{tmp_path}/state"\nlogtarget = "{tmp_path}/own.log"\n')

    async def story():
        daemon = Daemon(load(tmp_path / "sipguard.toml"), MemoryFirewall(clock=time.time))
        running = asyncio.create_task(daemon.run(no_sockets))
        await daemon.ready.wait()
        runner = daemon.runners["pbx"]
        append(log, failure(ATTACKER))
        end = time.monotonic() + PATIENCE
        while not daemon.reading._held.logs and time.monotonic() < end:
            daemon.reading.rescan()  # without the loop, which would go on
            daemon.reading._turn()
        assert runner.judge.window.times() == {}
        Operations(daemon).change(changed(runner.jail, what))
        async with asyncio.timeout(PATIENCE):
            while not runner.judge.window.times():
                await asyncio.sleep(0.01)
        await asyncio.sleep(0.1)
        daemon.stop()
        await running
        assert runner.judge.window.count(ATTACKER, time.time()) == 1

    asyncio.run(story())
