"""When logs are read: at once when somebody tells of something new, at a pace of its own while a log is busy."""

from __future__ import annotations

import asyncio
import contextlib
import logging
import time

import pytest
from limits import PATIENCE

from sipguard.daemon import log_reader as module
from sipguard.daemon.jail_runner import JailRunner
from sipguard.daemon.log_reader import LogReader
from sipguard.daemon.state_writer import StateWriter
from sipguard.model import Chunk, Filter, Jail, LogPath, Position
from sipguard.policy.ignore import IgnoreList

LINE = b"failed from %s\n"


class Feed:
    """Logs that give what the test puts in."""

    def __init__(self, *, busy):
        self.busy = busy
        self.chunks = []
        self.looks = []
        self.error = None

    def read(self, _limit):
        self.looks.append(time.monotonic())
        if self.error:
            raise self.error
        chunks, self.chunks = self.chunks[:1], self.chunks[1:]
        return chunks

    @property
    def pending(self):
        return bool(self.chunks)

    def readers(self, _path):
        return ("sip",)

    def problems(self):
        return {}

    def rescan(self):
        pass

    def stop(self):
        pass


async def until(holds):
    """Wait until something holds."""
    async with asyncio.timeout(PATIENCE):
        while not holds():
            await asyncio.sleep(0.001)


def chunk(*addresses):
    data = b"".join(LINE % address.encode() for address in addresses)
    return Chunk("/log", data, Position("/log", 1, 1, "", 0, len(data)))


@contextlib.asynccontextmanager
async def running(tmp_path, *, busy):
    """The job, with one jail that bans at the third failure; what it decides is in `bans`."""
    bans = []
    jail = Jail("sip", Filter("x", (r"^failed from <ADDR>$",)), logpath=(LogPath("/log"),), maxretry=3)
    runner = JailRunner(jail, ignore=IgnoreList(()), clock=time.time, decide=bans.append, reinforce=lambda *_: None)
    store = StateWriter(tmp_path, clock=time.time)
    reading = LogReader({"sip": runner}, store, clock=time.time, check_clock=lambda: None)
    reading.logs = logs = Feed(busy=busy)
    job = asyncio.get_running_loop().create_task(reading.run())
    try:
        yield reading, logs, bans, job
    finally:
        reading.stop()
        job.cancel()
        await asyncio.gather(job, return_exceptions=True)
        store.close()


def test_every_slice_of_a_quiet_log(tmp_path, caplog):
    """One word is enough for all that there is; it is read and logged at once."""
    caplog.set_level(logging.INFO)

    async def check():
        async with running(tmp_path, busy=False) as (reading, logs, bans, _):
            logs.chunks = [chunk("203.0.113.5"), chunk("203.0.113.5"), chunk("203.0.113.5", "203.0.113.6")]
            reading.rescan()
            for _ in range(20):
                await asyncio.sleep(0)
            assert logs.chunks == []
            assert [ban.address for ban in bans] == ["203.0.113.5"]
            assert caplog.text.count("Found 203.0.113.") == 4

    asyncio.run(check())


def test_a_busy_log_is_looked_at_again_and_again(tmp_path, caplog):
    """Nobody tells of what is new; our own log waits a moment, but not with a ban, and nothing in it is lost."""
    caplog.set_level(logging.INFO)

    async def check():
        async with running(tmp_path, busy=True) as (reading, logs, bans, _):
            reading.rescan()
            await asyncio.sleep(0.02)
            first = len(caplog.records)
            logs.chunks = [chunk("203.0.113.5", "203.0.113.6")]
            await asyncio.sleep(0)
            while logs.chunks:
                await asyncio.sleep(0.001)
            logs.chunks = [chunk("203.0.113.7", "203.0.113.7", "203.0.113.7")]
            while not bans:
                await asyncio.sleep(0.001)
            assert [record.getMessage().count("Found") for record in caplog.records[first:]][-1] >= 3
            logs.chunks = [chunk("203.0.113.8")]
            looks = len(logs.looks)
            await until(lambda: "Found 203.0.113.8" in caplog.text)
            await until(lambda: len(logs.looks) > looks + 3)

    asyncio.run(check())


def test_what_is_told_last_is_told(tmp_path, caplog):
    """What waits is logged when the reading ends."""
    caplog.set_level(logging.INFO)

    async def check():
        async with running(tmp_path, busy=True) as (reading, logs, _, _):
            logs.chunks = [chunk("203.0.113.4")]
            reading.rescan()
            while logs.chunks:
                await asyncio.sleep(0.001)
            logs.chunks = [chunk("203.0.113.5")]
            while logs.chunks:
                await asyncio.sleep(0.001)

    asyncio.run(check())
    assert "Found 203.0.113.5" in caplog.text


def test_nothing_is_read_while_it_is_paused(tmp_path):
    """A reload keeps what is new for the new jails; afterwards it goes on by itself."""

    async def check():
        async with running(tmp_path, busy=True) as (reading, logs, _, _):
            reading.rescan()
            await asyncio.sleep(0.01)
            async with reading.paused:
                logs.chunks = [chunk("203.0.113.5")]
                await asyncio.sleep(5 * module.PULSE[1])
                assert logs.chunks
            await until(lambda: logs.chunks == [])

    asyncio.run(check())


def test_an_unforeseen_error_ends_the_job(tmp_path):
    """Also one that comes while nobody waits for it: the daemon stops, and is started again, rather than read no more."""

    async def check():
        async with running(tmp_path, busy=True) as (reading, logs, _, job):
            reading.rescan()
            await asyncio.sleep(0.01)
            logs.error = ZeroDivisionError("unforeseen")
            await asyncio.wait([job], timeout=PATIENCE)
            with pytest.raises(ZeroDivisionError, match="unforeseen"):
                job.result()

    asyncio.run(check())
