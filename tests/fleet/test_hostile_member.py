"""What one member of a fleet, or Redis itself, can do to the others: nobody else's bans are lost by it, nor heard less."""

from __future__ import annotations

import asyncio
import contextlib
import json
import time

import pytest

from sipguard.daemon.ban_ledger import shifted
from sipguard.fleet import link
from tests.fleet.in_process import Member, client_of, members, quickly, until

pytestmark = pytest.mark.root  # seconds each: not for `make test`
ADDRESS = [f"203.0.113.{n}" for n in range(1, 100)]


@pytest.fixture(autouse=True)
def _quick(monkeypatch):
    quickly(monkeypatch)


@pytest.fixture
def client(redis):
    with client_of(redis) as one:
        yield one


def beat(client, name, **told):
    values = {"at": time.time(), "run": "x", "number": 1, "bans": 1, "version": "1", "addresses": [], **told}
    client.sadd("sipguard:nodes", name)
    client.set(f"sipguard:{name}:node", json.dumps(values))


async def heard(sender, receiver, address):
    """A ban goes over, and so does its end."""
    sender.ban(address)
    await until(lambda: address in receiver.rejected, f"{address} is rejected")
    sender.unban(address)
    await until(lambda: address not in receiver.rejected, f"{address} is let through")


WRONG = {
    "a stream that is a string": ("SET", "sipguard:wild:stream", "x"),
    "a set that is a string": ("SET", "sipguard:wild:bans:proven", "x"),
    "unbans that are a list": ("LPUSH", "sipguard:wild:unbans", "x"),
    "a beat that is a set": ("SADD", "sipguard:wild:node", "x"),
}


@pytest.mark.parametrize("what", WRONG)
def test_keys_of_another_type(redis, client, what):
    """Only the node that has them is held; once they are right it is read."""

    async def play():
        async with members(redis.url, "pbx1", "pbx2") as (one, two):
            client.zadd("sipguard:wild:bans:proven", {"198.51.100.7": time.time() + 3600})
            beat(client, "wild")
            await until(lambda: "198.51.100.7" in two.rejected, "the third node")
            client.delete(WRONG[what][1])
            client.execute_command(*WRONG[what])
            for address in ADDRESS[:3]:
                await heard(one, two, address)
                if what != "a beat that is a set":
                    beat(client, "wild", run="y")
                await asyncio.sleep(0.4)
            replica = two.told("wild")
            wrong = "its keys are of another type"
            await until(lambda: replica.held == wrong or replica.refused["no beat"], "it is held")
            assert not two.node.problem
            client.delete(WRONG[what][1])
            client.zadd("sipguard:wild:bans:proven", {"198.51.100.8": time.time() + 3600})
            beat(client, "wild", run="z")
            await until(lambda: "198.51.100.8" in two.rejected, "it is read again")
            assert not replica.held

    asyncio.run(play())


def test_the_set_of_names_is_spoilt(redis, client):
    """Each node may write it: then those who know each other go on."""

    async def play():
        async with members(redis.url, "pbx1", "pbx2") as (one, two):
            client.set("sipguard:nodes", "x")
            await asyncio.sleep(1)
            await heard(one, two, ADDRESS[0])
            assert not one.node.problem + two.node.problem
            client.delete("sipguard:nodes")
            async with members(redis.url, "pbx3") as (three,):
                await until(lambda: three.knows("pbx1") and one.knows("pbx3"), "a third one")

    asyncio.run(play())


def test_names_without_end(redis, client, monkeypatch):
    """15,000 names, some of odd bytes, are read a part at a time; a node that comes later is found all the same."""
    asked = []
    beats = link.Link.beats

    async def noted(self, names):
        asked.append(len(list(names)))
        return await beats(self, names)

    monkeypatch.setattr(link.Link, "beats", noted)

    async def play():
        odd = [b"\xff\xfe", b"a:b", b"x\ny", b"", b"\x1b[31m", b"n" * 100_000, "ключ".encode(), b"pbx1 "]
        client.sadd("sipguard:nodes", *odd, *(f"name{n}" for n in range(15_000)))
        async with members(redis.url, "pbx1", "pbx2") as (one, two):
            await heard(one, two, ADDRESS[0])
        assert max(asked) < 2 * link.NAMES
        assert set(one.node.roster.replicas) == {"pbx2"}

    asyncio.run(play())


def test_a_huge_beat(redis, client):
    """Fifty megabytes: four kilobytes of it are read."""

    async def play():
        async with members(redis.url, "pbx1", "pbx2") as (one, two):
            beat(client, "wild", version="x" * 50_000_000)
            await until(lambda: "wild" in two.node.roster.replicas and two.told("wild").refused["no beat"], "refused")
            await heard(one, two, ADDRESS[0])

    asyncio.run(play())


def test_two_nodes_of_one_name(redis, caplog, monkeypatch):
    """The second says so and shares nothing: it takes back none of the first one's bans. Renamed, or alone, it goes on."""
    quickly(monkeypatch, 2.0)  # on a busy machine a beat comes late; who is waited for must not seem dead by that

    async def play():
        async with members(redis.url, "pbx1", "pbx2") as (one, two):
            one.ban(ADDRESS[0])
            await until(lambda: ADDRESS[0] in two.rejected, "the ban")
            twin = Member(redis.url, "pbx1")
            twin.ban(ADDRESS[1])
            twin.task = asyncio.create_task(twin.node.run())
            try:
                await until(lambda: "is named pbx1 too" in twin.node.problem, "the second one says so")
                await asyncio.sleep(1)
                assert set(two.rejected) == {ADDRESS[0]}
                assert not one.node.problem
                await heard(one, two, ADDRESS[2])
                one.node.ending = True
                one.task.cancel()
                await until(lambda: ADDRESS[1] in two.rejected, "the first one is gone")
            finally:
                twin.node.ending = True
                twin.task.cancel()
                await asyncio.gather(twin.task, return_exceptions=True)

    asyncio.run(play())
    assert "give each a name = … of its own in [fleet]" in caplog.text


def test_redis_takes_nothing(redis, client, caplog):
    """Its memory is full: others are heard all the same, and what was not told is told when there is room."""

    async def play():
        async with members(redis.url, "pbx1", "pbx2") as (one, two):
            one.ban(ADDRESS[0])
            await until(lambda: ADDRESS[0] in two.rejected, "the first ban")
            client.config_set("maxmemory", 1)
            one.ban(ADDRESS[1])
            one.unban(ADDRESS[0])
            await until(lambda: one.node.untold and two.node.untold, "both notice")
            assert not one.node.problem + two.node.problem
            assert ADDRESS[0] in two.rejected
            client.config_set("maxmemory", 0)
            await until(lambda: set(two.rejected) == {ADDRESS[1]}, "all is told")
            await until(lambda: not one.node.untold, "it says so")
            await heard(one, two, ADDRESS[2])

    asyncio.run(play())
    assert caplog.text.count("Redis takes nothing") == 2


def test_redis_becomes_a_replica(redis, client):
    """A failover has made another one the first: this one takes nothing, until it is asked to."""

    async def play():
        async with members(redis.url, "pbx1", "pbx2") as (one, two):
            one.ban(ADDRESS[0])
            await until(lambda: ADDRESS[0] in two.rejected, "the first ban")
            client.config_set("replica-read-only", "yes")
            client.execute_command("REPLICAOF", "127.0.0.1", "1")
            one.ban(ADDRESS[1])
            await until(lambda: one.node.untold, "it notices")
            client.execute_command("REPLICAOF", "NO", "ONE")
            await until(lambda: ADDRESS[1] in two.rejected, "it is told")

    asyncio.run(play())


def test_redis_is_flushed(redis, client):
    """In the middle: both sides publish again, bans and what was taken back; nobody is let through meanwhile."""

    async def play():
        async with members(redis.url, "pbx1", "pbx2") as (one, two):
            for address in ADDRESS[:20]:
                one.ban(address)
            await until(lambda: len(two.rejected) == 20, "the bans")
            client.flushall()
            one.unban(ADDRESS[0])
            one.ban(ADDRESS[20])
            await until(lambda: set(two.rejected) == set(ADDRESS[1:21]), "the same as before")
            await until(lambda: client.zcard("sipguard:pbx1:bans:proven") >= 20, "published again")
            await heard(one, two, ADDRESS[30])

    asyncio.run(play())


def test_a_stream_that_begins_anew_with_earlier_numbers(redis, client):
    """Another Redis whose clock is slow has taken over: its events come with IDs that were read long ago."""

    async def play():
        async with members(redis.url, "pbx1", "pbx2") as (one, two):
            one.ban(ADDRESS[0])
            await until(lambda: ADDRESS[0] in two.rejected, "the first ban")
            events = client.xrange("sipguard:pbx1:stream")
            client.delete("sipguard:pbx1:stream")
            for number, (_, fields) in enumerate(events, 1):
                client.xadd("sipguard:pbx1:stream", fields, id=f"{number}-1")
            number = int(events[-1][1][b"q"]) + 1
            fields = {"e": "ban", "n": ADDRESS[1], "u": time.time() + 3600, "c": "proven", "a": time.time()}
            run = one.node.publisher.run
            client.xadd("sipguard:pbx1:stream", {**fields, "i": run, "q": number}, id="1000-1")
            client.zadd("sipguard:pbx1:bans:proven", {ADDRESS[1]: time.time() + 3600})
            one.node.publisher.number = number
            await until(lambda: ADDRESS[1] in two.rejected, "heard over the sets")

    asyncio.run(play())


def test_a_stream_trimmed_while_away(redis, client):
    """Half of the events that a node has missed are gone: the sets have all."""

    async def play():
        async with members(redis.url, "pbx1") as (one,):
            async with members(redis.url, "pbx2") as (two,):
                await until(lambda: two.knows("pbx1"), "the other one")
            for address in ADDRESS:
                one.ban(address)
            await until(lambda: client.xlen("sipguard:pbx1:stream") == len(ADDRESS), "told")
            for address in ADDRESS[:50]:
                one.unban(address)
            await until(lambda: client.xlen("sipguard:pbx1:stream") == len(ADDRESS) + 50, "told")
            client.xtrim("sipguard:pbx1:stream", maxlen=10, approximate=False)
            two.task = asyncio.create_task(two.node.run())
            two.node.ending = False
            try:
                await until(lambda: set(two.rejected) == set(ADDRESS[50:]), "all of it")
            finally:
                two.node.ending = True
                two.task.cancel()
                await asyncio.gather(two.task, return_exceptions=True)

    asyncio.run(play())


@pytest.mark.parametrize("step", [-3600.0, 3600.0, 86_400.0 * 365])
def test_a_clock_that_is_set(redis, step):
    """Of one node, in the middle: what it tells and hears goes on by Redis's clock."""

    async def play():
        async with members(redis.url, "pbx1", "pbx2") as (one, two):
            one.ban(ADDRESS[0])
            await until(lambda: ADDRESS[0] in two.rejected, "the ban")
            one.offset += step
            one.node.shift(step)  # as the daemon does once it sees it
            one.live = {address: shifted(ban, step) for address, ban in one.live.items()}
            await asyncio.sleep(1)
            one.ban(ADDRESS[1])
            await until(lambda: ADDRESS[1] in two.rejected, "a later one")
            now = time.time()
            assert all(3500 < end - now < 3700 for end in two.rejected.values())
            one.unban(ADDRESS[0])
            await until(lambda: set(two.rejected) == {ADDRESS[1]}, "its end")
            two.ban(ADDRESS[2])
            await until(lambda: ADDRESS[2] in one.rejected, "the other way")

    asyncio.run(play())


def test_an_unban_races_a_ban(redis):
    """Hundreds of bans and unbans of one address without a pause: what was last is what the others do."""

    async def play():
        async with members(redis.url, "pbx1", "pbx2") as (one, two):
            for turn in range(200):
                one.ban(ADDRESS[0], seconds=3600 + turn % 7 * 100)
                if turn % 3 == 0:
                    await asyncio.sleep(0)
                one.unban(ADDRESS[0])
                if turn % 5 == 0:
                    await asyncio.sleep(0.001)
            one.ban(ADDRESS[1])  # what is told later is heard later
            await until(lambda: set(two.rejected) == {ADDRESS[1]}, "the last unban")
            one.ban(ADDRESS[0], seconds=600)
            await until(lambda: ADDRESS[0] in two.rejected, "the last ban, though it ends sooner")
            assert two.rejected[ADDRESS[0]] - time.time() <= 3600 + 700

    asyncio.run(play())


def test_a_redis_that_fails_at_once_is_not_asked_without_end(redis, client, monkeypatch):
    """Every session ends as soon as it has begun: the pauses grow."""
    opened = []
    compare = link.Link.compare_clocks

    async def noted(self):
        opened.append(time.monotonic())
        await compare(self)
        raise link.LinkError("it hangs up")

    monkeypatch.setattr(link.Link, "compare_clocks", noted)

    async def play():
        lone = Member(redis.url, "pbx1")
        lone.task = asyncio.create_task(lone.node.run())
        await until(lambda: len(opened) >= 2, "another session")
        await asyncio.sleep(2)
        lone.node.ending = True
        lone.task.cancel()
        with contextlib.suppress(asyncio.CancelledError):
            await lone.task

    asyncio.run(play())
    assert len(opened) <= 5
