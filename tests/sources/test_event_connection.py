"""How often a server is asked that tells its events, and hangs up."""

from __future__ import annotations

import asyncio
import contextlib

import pytest

from sipguard.secret import Secret
from sipguard.sources import event_connection
from sipguard.sources.event_connection import EventConnection
from sipguard.sources.freeswitch_events import FreeSwitchDialogue

GREETING = b"Content-Type: auth/request\n\n"
ACCEPTED = b"Content-Type: command/reply\nReply-Text: +OK\n\n"


async def pauses_of(lasts, times, monkeypatch):
    """The pauses after connections that a server ends after so many seconds, as the loop's clock would have them."""
    pauses, clock = [], [0.0]

    async def serve(reader, writer):
        writer.write(GREETING)
        for _ in range(2):
            await reader.readuntil(b"\n\n")
            writer.write(ACCEPTED)
        await writer.drain()
        clock[0] += lasts
        writer.close()

    async def pause(seconds):
        pauses.append(seconds)
        if len(pauses) == times:
            raise asyncio.CancelledError

    server = await asyncio.start_server(serve, "127.0.0.1", 0)
    port = server.sockets[0].getsockname()[1]
    one = EventConnection(
        "127.0.0.1", port, lambda: FreeSwitchDialogue(Secret("x"), {}), deliver=lambda _: None, changed=lambda: None
    )
    loop = asyncio.get_running_loop()
    time = loop.time
    monkeypatch.setattr(event_connection.asyncio, "sleep", pause)
    monkeypatch.setattr(loop, "time", lambda: time() + clock[0])
    async with server:
        with contextlib.suppress(asyncio.CancelledError):
            await one.run()
    assert one.connections == times
    return pauses


@pytest.mark.parametrize(("lasts", "pauses"), [(6.0, [0.5] * 6), (0.0, [0.5, 1.0, 2.0, 4.0, 4.0, 4.0])])
def test_a_server_that_hangs_up(monkeypatch, lasts, pauses):
    """After a while: it is asked at once. Each time at once: it would fill the log with two lines every half second."""
    assert asyncio.run(pauses_of(lasts, 6, monkeypatch)) == pauses
