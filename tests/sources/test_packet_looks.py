"""When the NFLOG groups are read: seldom while packets come, at once for what is urgent, and never while nothing comes."""

from __future__ import annotations

import asyncio
import socket
import time

import pytest
from limits import PATIENCE
from raw_packets import ipv4, udp
from sip_packets import SERVER, answer, request

from sipguard.sources.packets import listener as listening
from sipguard.sources.packets.listener import PacketListener
from sipguard.sources.packets.nflog import COLLECTED_FOR


class Copies:
    """A group whose copies a test sends. `looks` counts how often it was read."""

    lost, overrun = 0, False

    def __init__(self, number):
        self.number, self.looks = number, 0
        self._ours, self._theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_DGRAM)
        self._ours.setblocking(False)
        self.fileno = self._ours.fileno

    def send(self, packet=b"", prefix=b""):
        """Let this be copied."""
        self._theirs.send(prefix.ljust(10) + packet)

    def read(self, most):
        """All that was sent."""
        self.looks += 1
        found = []
        while len(found) < most:
            try:
                copy = self._ours.recv(65_535)
            except BlockingIOError:
                return found, True
            found.append((copy[:10].strip(), copy[10:]))
        return found, False

    def close(self):
        """Both ends."""
        self._ours.close()
        self._theirs.close()


@pytest.fixture
def groups(monkeypatch):
    """Requests, answers, streams, and the urgent one."""
    made = [Copies(number) for number in range(1, 5)]
    monkeypatch.setattr(listening, "free_groups", lambda _first, count: made[:count])
    yield made
    for one in made:
        one.close()


CLIENT = "192.0.2.5"
ASKED = request(nonce="n")
REQUEST = ipv4(udp(ASKED), CLIENT, SERVER)
REFUSAL = ipv4(udp(answer(403, ASKED)), SERVER, CLIENT)
LATER = 1000.0
"""Seconds of a rest that no test waits for."""


def reading(test):
    """Run `test(delivered)` beside a listener that notes the payloads it delivers."""

    async def run():
        delivered = []
        listener = PacketListener(
            deliver=lambda packets: delivered.extend(one.payload for one in packets), blind=lambda *_: None
        )
        listener.start(1)
        try:
            await asyncio.wait_for(test(delivered), PATIENCE)
        finally:
            listener.stop()

    asyncio.run(run())


def _most(begun):
    """As many looks as are due since then; two where this test was kept from sending for a whole rest."""
    return 2 * ((time.monotonic() - begun) / COLLECTED_FOR + 1)


async def until(condition):
    """Let the listener go on until this is so."""
    while not condition():
        await asyncio.sleep(0.001)


def test_few_looks(groups):
    """Packets that come all the time are read together."""

    async def test(delivered):
        begun = time.monotonic()
        for _ in range(200):
            groups[0].send(REQUEST)
            groups[1].send(REFUSAL)
            await asyncio.sleep(0.001)
        await until(lambda: len(delivered) == 400)
        assert groups[0].looks <= _most(begun)

    reading(test)


def test_urgent_at_once(groups, monkeypatch):
    """What is urgent ends a rest, with the requests and answers before it, in their order."""
    monkeypatch.setattr(listening, "_REST", LATER)

    async def test(delivered):
        groups[0].send(REQUEST)
        await until(lambda: delivered)
        while len(delivered) < 11:
            before = len(delivered)
            groups[0].send(REQUEST)
            groups[1].send(REFUSAL, b"failed")
            groups[3].send()
            await until(lambda: len(delivered) == before + 2)  # noqa: B023 - it is awaited here
        assert [payload[:8] for payload in delivered[1:]] == [b"REGISTER", b"SIP/2.0 "] * 5

    reading(test)


def test_much_that_is_urgent(groups, monkeypatch):
    """It is read at once some times, and then together with the rest."""
    monkeypatch.setattr(listening, "_PROMPT", 0.0)

    async def test(delivered):
        begun = time.monotonic()
        for _ in range(200):
            groups[1].send(REFUSAL, b"failed")
            groups[3].send()
            await asyncio.sleep(0.002)
        await until(lambda: len(delivered) == 200)
        assert groups[0].looks <= listening._PROMPTS + _most(begun)

    reading(test)


def test_nothing_comes(groups):
    """No look is taken, until the next packet."""

    async def test(delivered):
        groups[0].send(REQUEST)
        await until(lambda: delivered and groups[0].looks >= 2)
        looks = groups[0].looks
        await asyncio.sleep(5 * COLLECTED_FOR)
        assert groups[0].looks == looks
        groups[2].send(b"x")
        await until(lambda: groups[0].looks > looks)

    reading(test)


def test_more_than_one_look(groups, monkeypatch):
    """What is left of many packets is read as soon as others had their turn."""
    monkeypatch.setattr(listening, "_REST", LATER)
    monkeypatch.setattr(listening, "_AT_ONCE", 10)

    async def test(delivered):
        for _ in range(95):
            groups[0].send(REQUEST)
        await until(lambda: len(delivered) == 95)
        assert groups[0].looks >= 10

    reading(test)
