"""The state can be read only while the logs are being read again: what is in both counts once."""

from __future__ import annotations

import asyncio
import contextlib
import shutil
import sqlite3
import time
from collections import Counter
from dataclasses import replace

import pytest
from limits import PATIENCE
from running import append, failure

from sipguard.config.settings import load
from sipguard.daemon import log_reader
from sipguard.daemon.daemon import Daemon
from sipguard.firewall.memory import MemoryFirewall

ADDRESSES = [f"203.0.113.{number}" for number in range(1, 41)]
JAILS = {"records": 'filter = "freeswitch"', "lines": 'filter = "lines"'}


@contextlib.asynccontextmanager
async def no_sockets():
    """Nobody asks this daemon anything."""
    yield


@pytest.fixture
def settings(tmp_path, log):
    """Of two jails on one log: of its last record, one waits for more."""
    for name in ("jails.d", "filters.d"):
        (tmp_path / name).mkdir()
    (tmp_path / "filters.d" / "lines.conf").write_text("[Definition]\nfailregex = from ip <ADDR>$\n")
    for name, reading in JAILS.items():
        (tmp_path / "jails.d" / f"{name}.toml").write_text(
            f'enabled = true\n{reading}\nlogpath = "{log}"\nmaxretry = 9\nfindtime = "1h"\n'
        )
    (tmp_path / "sipguard.toml").write_text(f'state_dir = "{tmp_path}/state"\nlogtarget = "{tmp_path}/own.log"\n')
    return load(tmp_path / "sipguard.toml")


async def until(holds):
    """Wait until something holds."""
    async with asyncio.timeout(PATIENCE):
        while not holds():
            await asyncio.sleep(0.005)


def counted(daemon):
    """Jail → address → attempts."""
    return {
        name: {address: len(times) for address, times in runner.judge.window.times().items()}
        for name, runner in daemon.runners.items()
    }


@contextlib.asynccontextmanager
async def running(settings, after=lambda _daemon: None):
    """A daemon; `after` is called after each turn of its reading."""
    daemon = Daemon(settings, MemoryFirewall(clock=time.time))
    turn = daemon.reading._turn

    def turn_and_more():
        more = turn()
        after(daemon)
        return more

    daemon.reading._turn = turn_and_more
    job = asyncio.create_task(daemon.run(no_sockets))
    await daemon.ready.wait()
    try:
        yield daemon
    finally:
        daemon.stop()
        await job


@pytest.mark.parametrize("turns", [1, 2, 5, 10])
def test_while_the_log_is_read(settings, log, tmp_path, monkeypatch, turns):
    """Each attempt counts once, and so it does after the next start, if this run is killed at once or ends later."""
    append(log, "".join(map(failure, ADDRESSES)))
    once = dict.fromkeys(JAILS, dict.fromkeys(ADDRESSES, 1))
    again = {**dict.fromkeys(ADDRESSES, 1), "203.0.113.1": 2}

    async def runs():
        async with running(settings) as daemon:
            await until(lambda: counted(daemon) == once)
        monkeypatch.setattr(log_reader, "SLICE", 500)
        other = sqlite3.connect(tmp_path / "state" / "sipguard.db", isolation_level=None)
        other.execute("BEGIN EXCLUSIVE")
        read = Counter()

        def heal(daemon):
            read["turns"] += 1
            if read["turns"] == turns:
                other.close()
                assert daemon.store.save()
                shutil.copytree(settings.state_dir, tmp_path / "killed")

        async with running(settings, heal) as daemon:
            append(log, failure("203.0.113.1"))
            await until(lambda: counted(daemon)["records"]["203.0.113.1"] == 2)
            await until(lambda: not daemon.logs.pending)
            assert counted(daemon) == dict.fromkeys(JAILS, again)
        for state in (settings.state_dir, tmp_path / "killed"):
            async with running(replace(settings, state_dir=state)) as daemon:
                await until(lambda: counted(daemon)["lines"]["203.0.113.1"] == 2)
                await until(lambda: not daemon.reading._held.logs)
                assert counted(daemon) == dict.fromkeys(JAILS, again)

    asyncio.run(runs())
