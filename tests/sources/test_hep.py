"""HEP packets: what is taken, and what is counted and dropped."""

from __future__ import annotations

import asyncio
import socket

import pytest
from hep_packets import chunk, hep, joined
from sip_packets import request

from sipguard.sources.hep import HepListener
from sipguard.sources.hep_packet import decode
from sipguard.wire_model import Packet

PACKET = Packet(1_000_000.25, "192.0.2.5", 5061, "203.0.113.1", 5060, "tls", request())
SIX = PACKET._replace(source="2001:db8::5", destination="2001:db8:113::1")


@pytest.mark.parametrize("packet", [PACKET, SIX], ids=["IPv4", "IPv6"])
def test_decoded(packet):
    """Addresses, ports, transport, time and message are those of the packet."""
    assert decode(hep(packet)) == packet


def test_mapped():
    """IPv4 inside IPv6 is IPv4."""
    mapped = PACKET._replace(source="::ffff:192.0.2.5", destination="::ffff:203.0.113.1")
    assert decode(hep(mapped)) == PACKET


def test_time():
    """A sender's clock that is far from ours is not believed."""
    assert decode(hep(PACKET), now=2_000_000.0).time == 2_000_000.0
    assert decode(hep(PACKET), now=1_000_010.0).time == 1_000_000.25


@pytest.mark.parametrize(
    ("data", "why"),
    [
        (b"", "damaged"),
        (b"HEP3", "damaged"),
        (b"HEP3\xff\xff" + b"x" * 20, "damaged"),
        (joined(chunk(11, b"\1"), b"\0\0\0\1\0\2"), "damaged"),
        (joined(chunk(11, b"\1")), "damaged"),
        (joined(*[chunk(number, b"x") for number in range(40)]), "damaged"),
        (hep(PACKET, kind=5), "not SIP"),
        (hep(PACKET, key="other"), "wrong key"),
        (hep(PACKET), "wrong key"),
        (hep(SIX._replace(source="::", destination="::"), key="key"), "impossible address"),
        (hep(SIX._replace(source="2001:db8::1", destination="2001:db8::1"), key="key"), "impossible address"),
    ],
)
def test_refused(data, why):
    """Each with its reason."""
    key = "key" if why in ("wrong key", "impossible address") else ""
    assert decode(data, key=key) == why


def test_listener():
    """It takes packets of those who may send, and counts the others."""

    async def run():
        taken = []
        listener = HepListener("127.0.0.1:0", key="key", senders=["127.0.0.0/30"], deliver=taken.extend)
        listener.start()
        with (
            socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as good,
            socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as stranger,
        ):
            stranger.bind(("127.0.0.9", 0))
            for sender, data in (
                (good, hep(PACKET, key="key")),
                (good, hep(PACKET)),
                (stranger, hep(PACKET, key="key")),
            ):
                sender.sendto(data, ("127.0.0.1", listener.port))
            while sum(listener.received.values()) < 3:
                await asyncio.sleep(0.01)
        listener.stop()
        return taken, dict(listener.received)

    taken, received = asyncio.run(asyncio.wait_for(run(), 30))
    assert [packet.payload for packet in taken] == [PACKET.payload]
    assert received == {"taken": 1, "wrong key": 1, "unknown sender": 1}
