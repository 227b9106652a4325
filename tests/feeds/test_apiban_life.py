"""APIBAN over days and deaths: killed while paging, entries that end and are renewed, local copies, feeds that are held."""

from __future__ import annotations

import asyncio
import os
import signal
import subprocess
import sys
from dataclasses import replace

import pytest
from effort import WHOLE

from sipguard.feeds.pace import Limiter, Pace
from sipguard.feeds.store import FeedStore
from sipguard.firewall.memory import MemoryFirewall
from tests.feeds.conftest import KEY, PACE, Sink, apiban, entries, managing
from tests.feeds.web_server import ApibanServer

DAY = 86_400.0
START = 1_795_000_000.0

FETCHER = """
import asyncio, sys, time
from pathlib import Path
from sipguard.feeds.manager import Manager
from sipguard.firewall.memory import MemoryFirewall
from tests.feeds.conftest import PACE, Sink, apiban
class Server: url = sys.argv[1]
async def main():
    sink = Sink(MemoryFirewall(clock=time.time))
    manager = Manager([apiban(Server, sys.argv[2])], Path(sys.argv[3]), sink, lambda: (), clock=time.time, pace=PACE)
    await manager.start()
    while manager.jobs["apiban"].state.next_at < time.time() + 30:
        await asyncio.sleep(0.01)
    print(*sorted(sink.addresses()))
    await manager.close()
asyncio.run(main())
"""


class DeadlyServer(ApibanServer):
    """Kills the client at its nth request: before it answers, or when the answer has been sent."""

    victim = None
    deaths = ()

    def answer(self, handler):
        number = len(self.requests)
        if (number, "before") in self.deaths:
            os.kill(self.victim.pid, signal.SIGKILL)
        super().answer(handler)
        if (number, "after") in self.deaths:
            handler.wfile.flush()
            os.kill(self.victim.pid, signal.SIGKILL)


@pytest.mark.more
@pytest.mark.parametrize("when", ["before", "after"] if WHOLE else ["after"])
def test_killed_while_paging(certificates, ca_file, tmp_path, when):
    """`kill -9` at the 4th, 9th and 13th request: each run goes on at the right ID, within the limit, and nothing is missing."""
    server = DeadlyServer(certificates[1], key=KEY, entries=entries(3000), window=PACE.window)
    server.deaths = [(number, when) for number in (4, 9, 13)]
    for _ in server.deaths:
        assert fetcher(server, ca_file, tmp_path).returncode == -signal.SIGKILL
    last = fetcher(server, ca_file, tmp_path)
    server.close()
    assert (last.returncode, last.stderr) == (0, "")
    assert set(last.stdout.split()) == {address for _, address in server.entries}
    assert server.good_ids == sorted(server.good_ids), "an ID was asked for that lies behind"
    assert len(set(server.good_ids)) == 13
    assert len(server.good_ids) <= 13 + len(server.deaths)
    assert server.exceeded == 0


def fetcher(server, ca_file, folder):
    command = [sys.executable, "-c", FETCHER, server.url, ca_file, str(folder)]
    server.victim = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
    out, err = server.victim.communicate(timeout=120)
    return subprocess.CompletedProcess(command, server.victim.returncode, out, err)


class Time:
    """A clock that moves when it is told to, or when somebody sleeps."""

    def __init__(self):
        self.now = START

    def __call__(self):
        return self.now

    async def sleep(self, seconds):
        self.now += seconds


@pytest.fixture
def clock():
    return Time()


@pytest.fixture
def aged(clock):
    return Sink(MemoryFirewall(clock=clock))


@pytest.fixture
def server(certificates):
    # The server's limit is tested elsewhere; here its clock is not ours.
    server = ApibanServer(certificates[1], key=KEY, entries=[], limit=10_000)
    yield server
    server.close()


def test_seven_days(server, ca_file, tmp_path, aged, clock):
    """Entries leave after 7 days; one that is listed anew on day 5 stays until day 12; then the full list is asked for."""
    server.entries = [(1000, "198.51.100.1"), (1001, "198.51.100.2"), (1002, "2001:db8::1")]

    async def run():
        async with managing([apiban(server, ca_file)], tmp_path, aged, clock=clock, sleep=clock.sleep) as manager:
            seen = []
            for day, new in (
                (0, None),
                (5, (2000, "198.51.100.2")),
                (6.9, None),
                (7.1, None),
                (11.9, None),
                (12.1, None),
            ):
                clock.now = START + day * DAY
                server.entries += [new] if new else []
                await manager.refresh("apiban")
                seen.append((day, sorted(aged.addresses())))
                if day == 7.1:
                    # What the server no longer lists itself.
                    server.entries = [(2000, "198.51.100.2")]
            return seen

    every = ["198.51.100.1", "198.51.100.2", "2001:db8::1"]
    renewed = ["198.51.100.2"]
    seen = asyncio.run(run())
    assert seen == [(0, every), (5, every), (6.9, every), (7.1, renewed), (11.9, renewed), (12.1, renewed)]
    # On day 12 nothing was left, so the list began anew; until then only news were asked for.
    assert server.good_ids[:2] == [100, 1002]
    assert server.good_ids.count(100) == 2


def test_between_fetches_the_kernel_ends_entries(server, ca_file, tmp_path, aged, clock):
    """No fetch succeeds for days: entries end at their time all the same."""
    server.entries = [(1000, "198.51.100.1")]

    async def run():
        async with managing([apiban(server, ca_file)], tmp_path, aged, clock=clock, sleep=clock.sleep) as manager:
            await manager.refresh("apiban")
            server.faults = ["server_error"] * 10
            clock.now += 6.99 * DAY
            await manager.refresh("apiban")
            before = aged.addresses()
            clock.now += 0.02 * DAY
            return before, aged.addresses()

    assert asyncio.run(run()) == ({"198.51.100.1"}, set())


def test_the_story_of_the_two_programs(server, ca_file, tmp_path, aged, clock):
    """Two programs shared a firewall; one flushed the other's chain, and with it the list: here it comes back, unasked."""
    server.entries = entries(700)

    async def run():
        async with managing([apiban(server, ca_file)], tmp_path, aged, clock=clock, sleep=clock.sleep) as manager:
            await manager.refresh("apiban")
            asked = len(server.requests)
            aged.firewall.flush()
            lost = aged.addresses()
            await manager.check()
            return lost, len(server.requests) - asked

    assert asyncio.run(run()) == (set(), 0)
    assert aged.addresses() == {address for _, address in server.entries}


def test_restart_without_network(server, ca_file, tmp_path, aged, clock):
    """After a restart the local copy is in the firewall before anything is asked, and what is not configured goes."""
    server.entries = entries(300)

    async def run(feeds, sink):
        async with managing(feeds, tmp_path, sink, clock=clock, sleep=clock.sleep) as manager:
            if not sink.addresses():
                await manager.refresh("apiban")

    feed = apiban(server, ca_file)
    asyncio.run(run([feed], aged))
    server.close()
    again = Sink(MemoryFirewall(clock=clock))
    again.firewall.feeds.set("old", [("198.51.100.7", START + 5000)])

    async def restart():
        async with managing([feed], tmp_path, again, clock=clock, sleep=clock.sleep):
            pass

    asyncio.run(restart())
    assert again.addresses() == {address for _, address in server.entries}
    assert again.firewall.feeds.names() == ["apiban"]


def test_ignoreip_wins(server, ca_file, tmp_path, aged, clock):
    """An address in `ignoreip` is not rejected though it is listed, and is let through at once when it becomes one."""
    server.entries = [(1000 + i, f"198.51.100.{i}") for i in range(256)] + [(2000, "10.0.0.5"), (2001, "127.0.0.1")]
    protected = ["198.51.100.7"]

    async def run():
        async with managing(
            [apiban(server, ca_file)], tmp_path, aged, protected=protected, clock=clock, sleep=clock.sleep
        ) as manager:
            status = await manager.refresh("apiban")
            first = aged.addresses()
            protected.append("198.51.100.64/26")
            await manager.check()
            return status, first, await manager.holding("198.51.100.7"), await manager.holding("198.51.100.9")

    status, first, let_through, rejected = asyncio.run(run())
    every = {f"198.51.100.{i}" for i in range(256)}
    assert first == every - {"198.51.100.7"}
    assert aged.addresses() == first - {f"198.51.100.{i}" for i in range(64, 128)}
    assert status["refused"] == 2
    assert [(one["feed"], one["rejected"]) for one in let_through + rejected] == [("apiban", False), ("apiban", True)]


def test_growth_is_held(server, ca_file, tmp_path, aged, clock, caplog):
    """A list that grows from 200 to 3,000 at once is held, said once, survives a restart as held, and is applied on demand."""
    server.entries = entries(200)
    feed = apiban(server, ca_file)

    async def run():
        async with managing([feed], tmp_path, aged, clock=clock, sleep=clock.sleep) as manager:
            await manager.refresh("apiban")
            small = aged.addresses()
            server.entries = entries(3000)
            held = [await manager.refresh("apiban"), await manager.refresh("apiban")]
            aged.firewall.flush()
        async with managing([feed], tmp_path, aged, clock=clock, sleep=clock.sleep) as manager:
            same = aged.addresses() == small
            return held, same, await manager.refresh("apiban", accept=True)

    held, same, accepted = asyncio.run(run())
    assert "it grew from 200 to 3,000 entries" in held[0]["held"]
    assert held[1]["held"] == held[0]["held"]
    assert same
    assert accepted["held"] is None
    assert aged.addresses() == {address for _, address in server.entries}
    assert sum("is held" in record.getMessage() for record in caplog.records) == 1


def test_registered_address_is_held(server, ca_file, tmp_path, aged, clock):
    """A feed that lists who has registered successfully is held for days; the operator's word releases it."""
    server.entries = [(1000, "198.51.100.1"), (1001, "198.51.100.2")]

    async def run():
        async with managing([apiban(server, ca_file)], tmp_path, aged, clock=clock, sleep=clock.sleep) as manager:
            await manager.refresh("apiban")
            server.entries.append((1002, "198.51.100.50"))
            manager.registered(["198.51.100.50"])
            await manager.check()
            held = await manager.refresh("apiban")
            kept = aged.addresses()
            await manager.refresh("apiban", accept=True)
            return held, kept, await manager.refresh("apiban")

    held, kept, after = asyncio.run(run())
    assert "198.51.100.50" in held["held"]
    assert kept == {"198.51.100.1", "198.51.100.2"}
    assert after["held"] is None
    assert aged.addresses() == kept | {"198.51.100.50"}


def test_limit_holds_whatever_the_clock_does():
    """11 requests in 2 minutes, counted from the answers; those of a future that was none count as made now."""
    now = [1000.0]
    saved = []

    async def save(times):
        saved[:] = times

    async def run():
        limiter = Limiter(Pace(), [5000.0], save, lambda: now[0])
        sent = []
        for _ in range(40):
            now[0] += limiter.wait()
            sent.append(now[0])
            await limiter.sending()
            now[0] += 0.5
            await limiter.answered()
        return sent

    sent = asyncio.run(run())
    assert max(sum(begin <= when < begin + 120 for when in sent) for begin in sent) == 11
    assert max(sum(begin <= when < begin + 120 for when in saved) for begin in saved) <= 11
    assert sent[-1] - sent[0] < 4 * 125


def test_disk_full_moves_no_id(server, ca_file, tmp_path, aged, clock, monkeypatch):
    """A page that could not be stored is asked for again."""
    server.entries = entries(600)
    original = FeedStore.add_page
    refusals = [1]

    def add_page(self, state, networks, until):
        if state.next_id == str(server.entries[499][0]) and refusals:
            refusals.pop()
            from sipguard.errors import StateError

            raise StateError("disk full")
        original(self, state, networks, until)

    monkeypatch.setattr(FeedStore, "add_page", add_page)

    async def run():
        async with managing([apiban(server, ca_file)], tmp_path, aged, clock=clock, sleep=clock.sleep) as manager:
            return await manager.refresh("apiban"), await manager.refresh("apiban")

    first, second = asyncio.run(run())
    assert "disk full" in first["problem"]
    assert second["problem"] is None
    assert aged.addresses() == {address for _, address in server.entries}


def test_the_key_is_no_part_of_what_is_shown(ca_file, server):
    """Neither a feed nor what holds it shows the key."""
    feed = replace(apiban(server, ca_file), priority=1)
    assert KEY not in repr(feed)


def test_a_data_set(certificates, ca_file, tmp_path, sink):
    """Newer clients name a data set, and the key in a header; another data set is another list, fetched from its beginning."""
    web = ApibanServer(certificates[1], key=KEY, entries=entries(300), limit=1000)

    async def run(dataset):
        async with managing([apiban(web, ca_file, dataset=dataset)], tmp_path, sink) as manager:
            return await manager.refresh("apiban")

    try:
        assert asyncio.run(run("sip"))["entries"] == 300
        asyncio.run(run("sip"))
        assert web.good_ids.count(100) == 1
        status = asyncio.run(run("all"))
    finally:
        web.close()
    assert (status["entries"], status["problem"]) == (300, None)
    assert web.good_ids.count(100) == 2
    assert set(web.datasets) == {"sip", "all"}
    assert {path for _, path in web.requests} == {"/api/get"}
