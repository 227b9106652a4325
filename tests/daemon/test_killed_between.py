"""Killed between reading and counting: nothing is lost, nothing counts twice. In this process: the moment is always the same."""

from __future__ import annotations

import asyncio
import contextlib
import time

import pytest
from event_server import EventServer
from running import chunk, failure

from sipguard.config.filters import read_filter_file
from sipguard.config.paths import packaged
from sipguard.daemon.event_reader import EventReader
from sipguard.daemon.jail_runner import JailRunner
from sipguard.daemon.state_writer import StateWriter
from sipguard.model import Jail
from sipguard.policy.ignore import IgnoreList

ATTACKER = "203.0.113.66"


class Run:
    """One run of what reads a jail's log and its server's events, on a state that outlives it."""

    def __init__(self, folder, jail):
        self.store = StateWriter(folder, clock=time.time)
        self.store.read(time.time())
        self.runner = JailRunner(
            jail,
            ignore=IgnoreList(()),
            clock=time.time,
            decide=lambda _ban: None,
            reinforce=lambda _jail, _address: None,
        )
        self.events = EventReader({jail.name: self.runner}, self.store, clock=time.time, paused=asyncio.Lock())
        self.events.start()

    async def speaking(self):
        """The server's events are heard."""
        while not self.events.speaks("pbx"):
            await asyncio.sleep(0.01)

    async def heard(self, number):
        """So many events have been read."""
        while self.events.status("pbx")["events"] < number:
            await asyncio.sleep(0.01)

    def line(self):
        """One line of the log is read, and whole. Its time has whole seconds: it is not to be before the events' beginning."""
        text = failure(ATTACKER, when=time.time() + 1)
        self.runner.take(chunk(text.encode(), live=True), self.store.changes)
        self.runner.take(chunk(b"", idle=1.0), self.store.changes)

    async def kill(self):
        """What is written stays; what is not is gone. Gives how many attempts are stored."""
        self.store.save()
        attempts = sum(one.attempts for one in self.store.database.attempts())
        self.store.database.close()
        await self.events.stop()
        return attempts


@pytest.fixture
def killed(tmp_path):
    """Runs what reads, writes and kills; gives the attempts that are stored after the next run has read a line, or none."""
    server = EventServer("freeswitch").start()
    secret = tmp_path / "password"
    secret.write_text(server.password)
    secret.chmod(0o600)
    jail = Jail(
        name="pbx",
        filter=read_filter_file(packaged("filters") / "freeswitch.conf"),
        logpath=("log",),
        events=server.url,
        events_password_file=str(secret),
        maxretry=100,
    )

    async def twice(first, line):
        run = Run(tmp_path / "state", jail)
        await run.speaking()
        await first(run, server)
        await run.kill()
        run = Run(tmp_path / "state", jail)
        if line:
            run.line()
        counted = await run.kill()
        with contextlib.closing(StateWriter(tmp_path / "state", clock=time.time)) as store:
            assert not store.waiting(("silenced",))
        return counted

    (tmp_path / "state").mkdir()
    yield lambda first, *, line: asyncio.run(twice(first, line))
    server.stop()


def test_a_silent_line_whose_event_was_not_read(killed):
    """Nobody tells of it again: it counts."""

    async def first(run, server):
        server.tell(ATTACKER)
        run.line()  # the loop is not asked meanwhile: the event stays where it is

    assert killed(first, line=False) == 1


def test_an_event_whose_line_was_not_read(killed):
    """It has counted: the line does not."""

    async def first(run, server):
        server.tell(ATTACKER)
        await run.heard(1)

    assert killed(first, line=True) == 1


@pytest.mark.parametrize("event_first", [True, False])
@pytest.mark.parametrize("line", [True, False])
def test_a_line_and_its_event(killed, event_first, line):
    """Both were read: they are one attempt, and the next line, of the same moment, is another."""

    async def first(run, server):
        server.tell(ATTACKER)
        if event_first:
            await run.heard(1)
        run.line()
        await run.heard(1)

    assert killed(first, line=line) == 1 + line
