"""A ban that ends while the configuration is read again stays ended: the state was read before."""

import asyncio
import contextlib
import time

import pytest
from limits import PATIENCE
from running import append, failure

from sipguard.config.settings import load
from sipguard.daemon.daemon import Daemon
from sipguard.firewall.memory import MemoryFirewall

ATTACKER = "203.0.113.66"


class SlowFirewall(MemoryFirewall):
    """One that takes its time at a reload."""

    seconds = 0.0

    def open(self, rules):
        time.sleep(self.seconds)
        super().open(rules)


@contextlib.asynccontextmanager
async def no_sockets():
    """Nobody asks this daemon anything."""
    yield


async def until(true):
    """Wait for a condition."""
    async with asyncio.timeout(PATIENCE):
        while not true():
            await asyncio.sleep(0.01)


@pytest.mark.parametrize("because", ["time", "hand"])
def test_it_does_not_come_back(tmp_path, log, because):
    """After the reload there is no ban, and none that ends; its own log begins there."""
    own_log, bantime = tmp_path / "own.log", "1s" if because == "time" else "1h"
    (tmp_path / "jails.d").mkdir()
    (tmp_path / "jails.d" / "pbx.toml").write_text(
        f'enabled = true\nfilter = "freeswitch"\nlogpath = "{log}"\nmaxretry = 2\nbantime = "{bantime}"\n'
    )
    (tmp_path / "sipguard.toml").write_text(f'state_dir = "{tmp_path}/state"\nlogtarget = "{own_log}"\n')

    async def run():
        def read():
            return load(tmp_path / "sipguard.toml")

        firewall = SlowFirewall(clock=time.time)
        daemon = Daemon(read(), firewall, reload=read)
        running = asyncio.create_task(daemon.run(no_sockets))
        await daemon.ready.wait()
        append(log, failure(ATTACKER) * 2)
        await until(lambda: list(daemon.bans.live))
        (ban,) = daemon.bans.live
        firewall.seconds = 2.0
        reloading = asyncio.create_task(daemon.reload())
        if because == "hand":
            await until(daemon.reading.paused.locked)
            await asyncio.sleep(0.5)
            daemon.bans.release([ban])
            assert daemon.store.save()
        await until(lambda: not list(daemon.bans.live))
        assert daemon.store.save()
        assert not reloading.done(), "it has ended too late for this test"
        await reloading
        assert not list(daemon.bans.live)
        assert daemon.store.save()
        assert not daemon.store.database.bans(0.0)
        await asyncio.sleep(0.3)
        daemon.stop()
        await running

    asyncio.run(run())
    assert "Unban" not in own_log.read_text(), "it has ended again after the reload"
