"""What of the NFLOG groups is known to be read."""

from __future__ import annotations

import asyncio
import os
import time
from collections import deque

import pytest
from limits import PATIENCE
from raw_packets import ipv4, udp
from sip_packets import SERVER, request

from sipguard.sources.packets import listener as listening
from sipguard.sources.packets.listener import PacketListener
from sipguard.sources.packets.nflog import COLLECTED_FOR


class Copies:
    """A group whose copies a test sends. `looks` counts how often it was read."""

    lost, overrun, emptied = 0, False, True

    def __init__(self, number):
        self.number, self.looks = number, 0
        self._copies = deque()
        self._event = os.eventfd(0, os.EFD_NONBLOCK)

    def fileno(self):
        """Readable while there is a copy."""
        return self._event

    def send(self, packet=b"", prefix=b""):
        """Let this be copied."""
        self._copies.append((prefix, packet))
        os.eventfd_write(self._event, 1)

    def read(self, most):
        """At most so many, and whether that was all."""
        self.looks += 1
        found = [self._copies.popleft() for _ in range(min(most, len(self._copies)))]
        if found and not self._copies:
            os.eventfd_read(self._event)
        self.emptied = not self._copies
        return found, self.emptied

    def close(self):
        """Let go of it."""
        if self._event >= 0:
            os.close(self._event)
        self._event = -1


@pytest.fixture
def groups(monkeypatch):
    """Requests, answers, streams."""
    made = [Copies(number) for number in range(1, 4)]
    monkeypatch.setattr(listening, "free_groups", lambda _first, count: made[:count])
    yield made
    for one in made:
        one.close()


CLIENT = "192.0.2.5"
ASKED = request(nonce="n")
REQUEST = ipv4(udp(ASKED), CLIENT, SERVER)


def reading(test, *, blind=lambda *_: None):
    """Run `test(delivered, listener)` beside a listener that notes the payloads it delivers."""

    async def run():
        delivered = []
        listener = PacketListener(deliver=lambda packets: delivered.extend(one.payload for one in packets), blind=blind)
        listener.start(1)
        try:
            await asyncio.wait_for(test(delivered, listener), PATIENCE)
        finally:
            listener.stop()

    asyncio.run(run())


async def until(condition):
    """Let the listener go on until this is so."""
    while not condition():
        await asyncio.sleep(0.001)


def test_read_until(groups, monkeypatch):
    """What is still to be read is said not to be read, and what came just before a look may not have been here yet."""
    monkeypatch.setattr(listening, "_AT_ONCE", 100)

    async def test(delivered, listener):
        begun = listener.read_until
        for _ in range(150):
            groups[0].send(REQUEST)
        listener.look()
        assert (len(delivered), listener.read_until) == (100, begun)
        before = time.time()
        listener.look()
        assert len(delivered) == 150
        assert before - 2 * COLLECTED_FOR <= listener.read_until <= time.time() - 2 * COLLECTED_FOR
        known = listener.read_until
        groups[2].send(b"x")
        await until(lambda: listener.read_until > known)

    reading(test)


def test_many(groups, monkeypatch):
    """While packets are many, looks are few, and all is read."""
    monkeypatch.setattr(listening, "_MANY", 20)

    async def test(delivered, listener):
        for _ in range(5):  # it begins with looks at once
            groups[0].send(REQUEST)
            listener.look()
        begun, looks = time.monotonic(), groups[0].looks
        for _ in range(400):
            groups[0].send(REQUEST)
            await asyncio.sleep(0.001)
        took = time.monotonic() - begun
        assert groups[0].looks - looks <= took / listening._LONG_REST + 2
        await until(lambda: len(delivered) == 405)

    reading(test)
