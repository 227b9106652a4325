"""APIBAN over real HTTPS: whatever the server does in the middle, in the end the firewall has what it lists, within its limit."""

from __future__ import annotations

import asyncio
import logging
import time
import traceback

import pytest

from sipguard.errors import FeedError
from sipguard.feeds.web import Web
from tests.feeds.conftest import KEY, PACE, apiban, entries, managing
from tests.feeds.web_server import ApibanServer

FAULTS = sorted(name.removeprefix("fault_") for name in vars(ApibanServer) if name.startswith("fault_"))


@pytest.fixture
def server(certificates):
    server = ApibanServer(certificates[1], key=KEY, entries=entries(3000), window=PACE.window)
    yield server
    server.close()


async def until_whole(manager, seconds=120.0):
    """Let the feed run by itself until its list is complete."""
    job = manager.jobs["apiban"]
    async with asyncio.timeout(seconds):
        while job.state.next_at < time.time() + 30:
            await asyncio.sleep(0.01)


def listed(server):
    return {address for _, address in server.entries}


@pytest.mark.parametrize("fault", FAULTS)
def test_a_fault_in_the_middle(server, ca_file, tmp_path, sink, fault, caplog):
    """3,000 entries in batches of 250 under the limit, one answer wrong: all of them arrive, and the key is told to nobody."""
    caplog.set_level(logging.DEBUG)
    server.faults = [None] * 5 + [fault]

    async def run():
        async with managing([apiban(server, ca_file)], tmp_path, sink) as manager:
            await manager.start()
            await until_whole(manager)
            return manager.status()

    (status,) = asyncio.run(run())
    assert sink.addresses() == listed(server)
    assert server.exceeded == 0
    assert len(set(server.good_ids)) == len(server.good_ids) == 13
    assert status["problem"] is None
    assert KEY not in caplog.text + repr(status)


@pytest.mark.parametrize("end_status", [200, 400])
def test_no_new_bans_is_the_end(certificates, ca_file, tmp_path, sink, end_status):
    """`no new bans` ends the list with status 400 as with 200, and the next fetch asks for what is new alone."""
    server = ApibanServer(certificates[1], key=KEY, entries=entries(300), window=PACE.window, end_status=end_status)

    async def run():
        async with managing([apiban(server, ca_file)], tmp_path, sink) as manager:
            first = await manager.refresh("apiban")
            server.entries = entries(310)
            return first, await manager.refresh("apiban")

    first, second = asyncio.run(run())
    server.close()
    assert (first["entries"], second["entries"]) == (300, 310)
    assert sink.addresses() == listed(server)
    assert len(server.requests) == 5


def test_wrong_key_keeps_the_list(server, ca_file, tmp_path, sink, caplog):
    """The key is withdrawn: what was fetched stays, that is said once, and the pauses grow."""
    server.entries = entries(300)
    now = time.time()

    async def run():
        async with managing([apiban(server, ca_file)], tmp_path, sink, clock=lambda: now) as manager:
            await manager.refresh("apiban")
            server.key = "another"
            waits = []
            for _ in range(3):
                status = await manager.refresh("apiban")
                waits.append(status["next"] - now)
            return status, waits

    status, waits = asyncio.run(run())
    assert "rejects the key" in status["problem"]
    assert waits[0] < waits[1] < waits[2] <= PACE.longest_pause
    assert sink.addresses() == listed(server)
    assert [record.levelname for record in caplog.records].count("WARNING") == 1


def test_unknown_certificate(server, tmp_path, sink, ca_file):
    """A certificate that no trusted CA has signed is refused before the key is sent."""

    async def run():
        async with managing([apiban(server, "")], tmp_path, sink) as manager:
            return await manager.refresh("apiban")

    assert "CERTIFICATE_VERIFY_FAILED" in asyncio.run(run())["problem"]
    assert server.requests == []


@pytest.mark.parametrize("fault", ["redirect", "cut", "drip", "reset", "huge"])
def test_errors_hold_no_key(server, ca_file, fault):
    """Neither the error, nor what it was made from, nor its traceback holds the URL."""
    server.faults = [fault]
    web = Web(ca_file=ca_file, secret=KEY, silence=0.3)
    with pytest.raises(FeedError) as caught:
        asyncio.run(web.get(f"{server.url}/api/{KEY}/banned/100", seconds=0.5, size=1 << 20))
    assert KEY not in str(caught.value) + "".join(traceback.format_exception(caught.value))
    assert caught.value.__context__ is None
    assert caught.value.__cause__ is None


def test_another_client_uses_up_the_limit(server, ca_file, tmp_path, sink):
    """Who shares the key takes the server's patience: what was read is applied meanwhile, and the rest comes later."""
    server.entries = entries(600)
    server.faults = [None, "rate_limit", "rate_limit"]

    async def run():
        async with managing([apiban(server, ca_file)], tmp_path, sink) as manager:
            task = asyncio.create_task(manager.refresh("apiban"))
            while not sink.calls:
                await asyncio.sleep(0.01)
            early = len(sink.addresses())
            return early, await task

    early, status = asyncio.run(run())
    assert early == 250
    assert status["entries"] == 600
    assert sink.addresses() == listed(server)
