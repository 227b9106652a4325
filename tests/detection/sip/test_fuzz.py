"""Whatever comes in: no exception leaves the stage, nobody is accused but who is in the packets, memory stays bounded.

`make test` tries a few hundred of each; `make test-long` goes on for as long as SIPGUARD_FUZZ says (seconds, an hour by default).
"""

from __future__ import annotations

import contextlib
import io
import os
import random
import time

import pytest
from effort import examples
from hep_packets import hep
from hypothesis import HealthCheck, given
from hypothesis import strategies as st
from raw_packets import ethernet, ipv4, ipv6, pcap, pcapng, tcp, udp
from sip_packets import SERVER, answer, request, uuid

from sipguard.detection.sip.tracker import Tracker
from sipguard.errors import SipguardError
from sipguard.sources.captures.reader import Capture
from sipguard.sources.hep_packet import REFUSALS, decode
from sipguard.sources.wire.framing import Stream
from sipguard.sources.wire.ip import Reader
from sipguard.sources.wire.tcp import Connections
from sipguard.wire_model import Packet

CLIENTS = ["192.0.2.20", "198.51.100.66", "2001:db8::5"]
FUZZ = examples(60, suppress_health_check=list(HealthCheck))
WORDS = [
    b"SIP/2.0 401 x\r\n", b"SIP/2.0 403 x\r\n", b"SIP/2.0 200 OK\r\n", b"REGISTER sip:a SIP/2.0\r\n", b"v:", b"Via: ",
    b"SIP/2.0/UDP a;branch=z9", b";branch=", b'"', b"\\", b"\r\n", b"\r", b"\n", b" ", b"\t", b"\r\n ", b"i:1\r\n",
    b"Call-ID: 1\r\n", b"CSeq: 1 REGISTER\r\n", b"From: <sip:a@b>\r\n", b'Authorization: Digest username="a"', b', nonce="n"',
    b"nonce=", b"NONCE = x", b', response="r"', b"WWW-Authenticate: Digest ", b"stale=true", b"Content-Length: 5\r\n",
    b"l: 99999\r\n", b"\x00", b"\xff", b"HEP3", b"GET / HTTP/1.1\r\n\r\n",
]  # fmt: skip
messages = st.one_of(
    st.lists(st.one_of(st.sampled_from(WORDS), st.binary(max_size=12)), max_size=40).map(b"".join),
    st.builds(
        lambda method, number, cut: request(method, nonce=uuid(number), branch=f"z9{number % 3}")[:cut],
        st.sampled_from(["REGISTER", "INVITE", "ACK"]),
        st.integers(0, 5),
        st.one_of(st.none(), st.integers(0, 600)),
    ),
    st.builds(
        lambda status, number: answer(status, request(branch=f"z9{number % 3}"), nonce=uuid(number)),
        st.sampled_from([200, 401, 403, 404, 407, 480]),
        st.integers(0, 5),
    ),
)
ends = st.sampled_from([*CLIENTS, SERVER])
packets = st.builds(
    lambda time_, source, destination, transport, payload, inbound: Packet(
        float(time_), source, 5060, destination, 5060, transport, payload, inbound
    ),
    st.integers(0, 2000),
    ends,
    ends,
    st.sampled_from(["udp", "tcp"]),
    messages,
    st.sampled_from([None, True, False]),
)


@FUZZ
@given(st.lists(packets, max_size=30), st.sampled_from([0.0, 1.0]))
def test_tracker(sequence, patience):
    """Nobody is accused who is not at one end of some packet, and never the server."""
    tracker = Tracker(own={SERVER}, patience=patience)
    attempts = [attempt for packet in sequence for attempt in tracker.feed(packet)]
    attempts += tracker.expire(10_000.0)
    senders = {packet.source for packet in sequence if packet.inbound is not False}
    receivers = {packet.destination for packet in sequence}
    for attempt in attempts:
        assert attempt.address != SERVER
        assert attempt.address in senders | receivers
        if attempt.verdict in ("failure", "success", "stale", "again"):
            assert attempt.source in senders
        if attempt.evidence == "proven" and attempt.transport == "udp" and attempt.verdict == "failure":
            assert attempt.source in receivers  # it was sent the nonce
        assert "00000000-" not in repr(attempt)


@FUZZ
@given(st.binary(max_size=400), st.lists(st.integers(0, 399), max_size=5), st.binary(max_size=3))
def test_hep(junk, places, bytes_):
    """Damaged packets are refused, in words that are known."""
    whole = bytearray(hep(Packet(1.0, "192.0.2.5", 5060, SERVER, 5060, "udp", request())))
    for place, byte in zip(places, bytes_, strict=False):
        whole[place % len(whole)] = byte
    for data in (junk, b"HEP3" + junk, bytes(whole), bytes(whole[: len(junk)])):
        found = decode(data)
        assert isinstance(found, Packet) or found in REFUSALS


@FUZZ
@given(
    st.lists(st.binary(max_size=120), max_size=10),
    st.sampled_from([pcap, pcapng]),
    st.binary(max_size=20),
    st.integers(0, 400),
)
def test_captures(frames, write, junk, place):
    """A damaged capture ends with one line."""
    data = bytearray(write(frames))
    data[place % len(data) : place % len(data)] = junk
    for capture in (bytes(data), bytes(data[: place + 4])):
        with contextlib.suppress(SipguardError):
            list(Capture("x").messages(io.BytesIO(capture)))


@FUZZ
@given(
    st.lists(
        st.one_of(
            st.binary(max_size=90), st.binary(max_size=60).map(lambda data: b"\x45\0\0" + bytes([len(data) + 4]) + data)
        ),
        max_size=20,
    )
)
def test_ip(raw):
    """Any bytes as IP packets."""
    reader = Reader()
    for number, packet in enumerate(raw):
        reader.read(packet, float(number))
        reader.read(ipv4(packet, "192.0.2.5", SERVER, offset=(number % 3) * 8, more=bool(number % 2)), float(number))
        reader.read(
            ipv6(packet, "2001:db8::5", "2001:db8::1", header=(0, 43, 44, 51, 60, 17, 6)[number % 7]), float(number)
        )


segments = st.lists(
    st.tuples(
        st.booleans(), st.integers(-50, 400), st.integers(-50, 400), st.sampled_from([0, 1, 2, 4, 16, 18, 24]), messages
    ),
    max_size=40,
)


@FUZZ
@given(segments)
def test_tcp(sequence):
    """Any segments, in any order: whoever gets a message has sent it, and little is kept."""
    connections, reader = Connections(), Reader()
    sent = {True: b"", False: b""}
    for number, (client, place, taken, flags, data) in enumerate(sequence):
        source, destination = ("192.0.2.5", SERVER) if client else (SERVER, "192.0.2.5")
        ports = (40000, 5060) if client else (5060, 40000)
        packet = ipv4(
            tcp(data, *ports, sequence=place, acknowledged=taken, flags=flags), source, destination, protocol=6
        )
        sent[client] += data
        for message in connections.feed(reader.read(packet, 1.0), float(number)):
            assert message.source in ("192.0.2.5", SERVER)
    assert len(connections) <= 2  # either may play the server
    assert connections._bytes <= 300_000


@FUZZ
@given(st.lists(messages, max_size=30))
def test_stream(pieces):
    """A stream keeps at most one message."""
    stream = Stream()
    for piece in pieces:
        stream.add(piece)
        assert len(stream) <= 65_536


@pytest.mark.parametrize(
    "payload",
    [
        b'REGISTER sip:x SIP/2.0\r\nVia: "' + b'\\"' * 30_000 + b"\r\n\r\n",
        b"REGISTER sip:x SIP/2.0\r\nAuthorization: " + b'username="\\"' * 5_000 + b" nonce=x\r\n\r\n",
        b"REGISTER sip:x SIP/2.0\r\nAuthorization: " + b"nonce =" * 9_000 + b"\r\n\r\n",
        b"REGISTER sip:x SIP/2.0\r\n" + b"Authorization: nonce=x\r\n" * 2_500 + b"\r\n",
        b"REGISTER " + b"x" * 60_000,
        b"\r\n" * 32_000,
        b"SIP/2.0 401 x\r\nVia: x" + b";branch" * 9_000,
        b"SIP/2.0 401 x\r\nVia: " + b"x" * 64_000,
        b"SIP/2.0 401 x\r\n" + b"a:\r\n " * 12_000,
        b"SIP/2.0 401 x\r\n" + b"WWW-Authenticate: nonce=y\r\n" * 2_400,
    ],
    ids=range(10),
)
def test_long_messages(payload):
    """64 KB of the worst take some milliseconds: work grows with the length, not with its square."""
    packet = Packet(1.0, "192.0.2.5", 5060, SERVER, 5060, "udp", payload)
    back = Packet(1.0, SERVER, 5060, "192.0.2.5", 5060, "udp", payload)
    begun = time.process_time()
    tracker = Tracker()
    for _ in range(3):
        tracker.feed(packet)
        tracker.feed(back)
    assert time.process_time() - begun < 1.5


def _damaged(rng, data):
    """A copy with a few bytes changed, cut, doubled."""
    data = bytearray(data)
    for _ in range(rng.randrange(6)):
        place = rng.randrange(len(data) + 1)
        match rng.randrange(4):
            case 0:
                data[place:place] = rng.choice(WORDS)
            case 1:
                del data[place : place + rng.randrange(30)]
            case 2:
                data[place : place + 1] = bytes([rng.randrange(256)])
            case _:
                data[place:place] = data[max(0, place - rng.randrange(60)) : place]
    return bytes(data)


@pytest.mark.long
@pytest.mark.timeout(0)
def test_for_an_hour():
    """Damaged conversations, segments and captures without end: nothing raises, nothing grows."""
    end = time.monotonic() + float(os.environ.get("SIPGUARD_FUZZ", "3600"))
    seed = int(os.environ.get("SIPGUARD_FUZZ_SEED", time.time()))
    print(f"SIPGUARD_FUZZ_SEED={seed}")
    rng = random.Random(seed)
    tracker, connections, reader = Tracker(own={SERVER}, patience=1.0), Connections(), Reader()
    rounds = 0
    while time.monotonic() < end:
        rounds += 1
        client, when = rng.choice(CLIENTS), float(rounds // 100)
        asked = request(
            rng.choice(["REGISTER", "INVITE"]), nonce=uuid(rng.randrange(50)), branch=f"z{rng.randrange(20)}"
        )
        replied = answer(
            rng.choice([200, 401, 403, 404]), asked, nonce=uuid(rng.randrange(50)), stale=rng.random() < 0.1
        )
        for source, destination, payload in ((client, SERVER, asked), (SERVER, client, replied)):
            packet = Packet(when, source, 5060, destination, 5060, rng.choice(["udp", "tcp"]), _damaged(rng, payload))
            for attempt in tracker.feed(packet):
                assert attempt.address in CLIENTS
            # HEP has one family for both addresses.
            peer = "192.0.2.1" if ":" not in source else "2001:db8::1"
            decode(_damaged(rng, hep(packet._replace(destination=peer))))
            ports = (40000 + rng.randrange(5), 5060)
            if ":" not in client:
                numbers = {
                    "sequence": rng.randrange(2000),
                    "acknowledged": rng.randrange(2000),
                    "flags": rng.choice([2, 16, 18, 24]),
                }
                raw = _damaged(rng, ipv4(tcp(payload, *ports, **numbers), source, destination, protocol=6))
                if (segment := reader.read(raw, when)) is not None:
                    connections.feed(segment, when)
        if rounds % 100 == 0:
            frames = [ethernet(_damaged(rng, ipv4(udp(asked), "192.0.2.5", SERVER))) for _ in range(5)]
            with contextlib.suppress(SipguardError):
                list(Capture("x").messages(io.BytesIO(_damaged(rng, rng.choice([pcap, pcapng])(frames)))))
    print(f"{rounds} rounds")
    assert rounds > 0
    assert len(tracker._transactions) <= 50_000
    assert len(tracker.nonces) <= 200_000
    assert connections._bytes <= 16 << 20
