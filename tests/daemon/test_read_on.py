"""Logs are read on from where each jail was: what one of them holds back, another may have counted."""

from __future__ import annotations

import asyncio
import contextlib
import time
from collections import Counter
from dataclasses import replace
from functools import partial

import pytest
from annotations import FILTERS
from limits import PATIENCE
from running import append, failure

from sipguard.config.filters import read_filter
from sipguard.daemon.jail_runner import JailRunner
from sipguard.daemon.log_reader import LogReader
from sipguard.daemon.state_writer import StateWriter
from sipguard.model import Filter, Jail, LogPath
from sipguard.policy.ignore import IgnoreList

LINES = Filter("lines", (r"SIP auth failure .* from ip <ADDR>$",))


class Run:
    """One run of what reads a log for a jail that knows records, and for one that knows lines only."""

    def __init__(self, folder, log):
        self.log = log
        self.store = StateWriter(folder, clock=time.time)
        self.store.read(time.time())
        self.runners = {
            name: JailRunner(
                Jail(name, reading, logpath=(LogPath(str(log)),), maxretry=9),
                ignore=IgnoreList(()),
                clock=time.time,
                decide=lambda _ban: None,
                reinforce=lambda _jail, _address: None,
            )
            for name, reading in (("records", read_filter("freeswitch", [FILTERS])), ("lines", LINES))
        }
        self.reading = LogReader(self.runners, self.store, clock=time.time, check_clock=lambda: None)
        self.reading.follow()
        self.job = asyncio.get_running_loop().create_task(self.reading.run())

    async def until(self, **found):
        """Each jail has found so many failures."""
        async with asyncio.timeout(PATIENCE):
            while any(self.runners[jail].totals.failures < number for jail, number in found.items()):
                await asyncio.sleep(0.005)

    async def kill(self):
        """What is written stays. Gives how many attempts of each jail are stored."""
        self.store.save()
        stored = self.store.database.attempts()
        self.store.database.close()
        self.job.cancel()
        await asyncio.gather(self.job, return_exceptions=True)
        self.reading.logs.stop()
        return Counter(one.jail for one in stored)


async def begun(folder, log):
    """A run that has read two failures, of which one jail holds the second back."""
    append(log, failure("203.0.113.5") + failure("203.0.113.6") + time.strftime("%Y-%m-%d %H"))
    run = Run(folder, log)
    await run.until(lines=2, records=1)
    return run


@pytest.mark.parametrize("again", ["killed", "followed anew"])
def test_a_record_that_one_jail_holds_back(tmp_path, again):
    """Neither loses it, and neither counts it twice, whichever way the log is read on."""
    log = tmp_path / "freeswitch.log"

    async def runs():
        run = await begun(tmp_path / "state", log)
        if again == "killed":
            assert await run.kill() == {"lines": 2, "records": 1}
            run = Run(tmp_path / "state", log)
        else:
            run.reading.follow()
        append(log, ":00:00.000000 98.53% [DEBUG] switch_core.c:1 nothing\n" + failure("203.0.113.7"))
        await run.until(lines=1, records=2)
        await asyncio.sleep(0.1)
        counted = await run.kill()
        with contextlib.closing(StateWriter(tmp_path / "state", clock=time.time)):
            return counted

    (tmp_path / "state").mkdir()
    assert asyncio.run(runs()) == {"lines": 3, "records": 3}


@pytest.mark.parametrize("way", ["removed", "removed when followed", "truncated"])
def test_another_file_is_read_from_its_beginning(tmp_path, way):
    """Also by a jail that had read on in the file before, which is gone with what the other had held back."""
    log = tmp_path / "freeswitch.log"

    async def runs():
        run = await begun(tmp_path / "state", log)
        assert await run.kill() == {"lines": 2, "records": 1}
        follow = partial(Run, tmp_path / "state", log)
        run = follow() if way == "removed when followed" else None
        if way != "truncated":
            log.rename(tmp_path / "state" / "gone")  # not removed: the other file would have its inode
        log.write_text(failure("203.0.113.7") + failure("203.0.113.8"))
        run = run or follow()
        await run.until(records=2)
        return await run.kill()

    (tmp_path / "state").mkdir()
    assert asyncio.run(runs()) == {"lines": 4, "records": 3}


def test_a_jail_that_is_idle(tmp_path):
    """It reads no log, though another jail reads the same."""
    log = tmp_path / "freeswitch.log"
    log.touch()

    async def runs():
        run = Run(tmp_path / "state", log)
        idle = run.runners["lines"]
        idle.reconfigure(replace(idle.jail, idle=True))
        run.reading.follow()
        append(log, failure("203.0.113.5") + failure("203.0.113.6") + failure("203.0.113.7"))
        await run.until(records=2)
        return await run.kill()

    (tmp_path / "state").mkdir()
    assert "lines" not in asyncio.run(runs())
