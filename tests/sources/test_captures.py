"""Captures in every form: what was on the wire is what is read."""

from __future__ import annotations

import io
import struct

import pytest
from hep_packets import hep
from raw_packets import cooked, cooked2, ethernet, ipv4, ipv6, pcap, pcapng, tcp, udp
from sip_packets import request

from sipguard.errors import SipguardError
from sipguard.sources.captures.reader import Capture
from sipguard.wire_model import Packet

CLIENT, SERVER = "192.0.2.5", "203.0.113.1"
CLIENT6, SERVER6 = "2001:db8::5", "2001:db8:113::1"


def read(capture):
    """The messages of a capture, and the reader."""
    reader = Capture("test")
    return list(reader.messages(io.BytesIO(capture))), reader


def payloads(frames, link=1):
    """What was read from these frames."""
    return [packet.payload for packet in read(pcap(frames, link=link))[0]]


@pytest.mark.parametrize("order", ["<", ">"])
@pytest.mark.parametrize("write", [pcap, pcapng, lambda frames, **more: pcap(frames, nanoseconds=True, **more)])
def test_files(write, order):
    """Both kinds of file, both byte orders, with their times."""
    frame = ethernet(ipv4(udp(b"hello", 4000, 5060), CLIENT, SERVER))
    (first, second), reader = read(write([frame, frame], order=order))
    assert first[1:7] == (CLIENT, 4000, SERVER, 5060, "udp", b"hello")
    assert (int(first.time), int(second.time)) == (1_000_000, 1_000_001)
    assert (reader.packets, reader.cut) == (2, 0)


@pytest.mark.parametrize(
    ("link", "wrap", "inbound"),
    [
        (1, ethernet, None),
        (1, lambda packet: ethernet(packet, tags=[0x8100]), None),
        (1, lambda packet: ethernet(packet, tags=[0x88A8, 0x8100]), None),
        (113, cooked, True),
        (113, lambda packet: cooked(packet, kind=4), False),
        (276, lambda packet: cooked2(packet, kind=4), False),
        (101, lambda packet: packet, None),
        (228, lambda packet: packet, None),
        (0, lambda packet: b"\2\0\0\0" + packet, None),
    ],
)
def test_link_layers(link, wrap, inbound):
    """Ethernet with and without VLAN, Linux cooked, raw IP, loopback of BSD."""
    (packet,), _ = read(pcap([wrap(ipv4(udp(b"hello"), CLIENT, SERVER))], link=link))
    assert (packet.payload, packet.inbound) == (b"hello", inbound)


def test_unknown_link_layer():
    """What cannot be read is told."""
    found, reader = read(pcap([b"x" * 60], link=147))
    assert (found, reader.unknown_links) == ([], {147})


class TestIp:
    """Fragments and extension headers."""

    @pytest.mark.parametrize("order", [(0, 1, 2), (2, 1, 0), (1, 0, 0, 2, 1)])
    def test_fragments(self, order):
        """In any order, doubled too."""
        whole = udp(b"x" * 50)
        pieces = [
            ipv4(whole[:24], CLIENT, SERVER, offset=0, more=True),
            ipv4(whole[24:48], CLIENT, SERVER, offset=24, more=True),
            ipv4(whole[48:], CLIENT, SERVER, offset=48),
        ]
        assert payloads([ethernet(pieces[number]) for number in order]) == [b"x" * 50]

    def test_overlapping_fragments(self):
        """Are dropped, as the kernel drops them: two readers could read two things."""
        whole = udp(b"x" * 50)
        pieces = [
            ipv4(whole[:24], CLIENT, SERVER, offset=0, more=True),
            ipv4(whole[16:48], CLIENT, SERVER, offset=16, more=True),
            ipv4(whole[48:], CLIENT, SERVER, offset=48),
        ]
        found, reader = read(pcap([ethernet(piece) for piece in pieces]))
        assert (found, reader.cut) == ([], 1)

    def test_dropped_fragments_are_forgotten(self):
        """A later packet with the same number is another one; it waits no longer than the one that was dropped would have."""
        whole = udp(b"x" * 50)
        first = ethernet(ipv4(whole[:24], CLIENT, SERVER, offset=0, more=True))
        rest = ethernet(ipv4(whole[24:], CLIENT, SERVER, offset=24))
        overlapping = ethernet(ipv4(whole[16:48], CLIENT, SERVER, offset=16, more=True))
        pause = [ethernet(ipv4(udp(b"hello"), CLIENT, SERVER))] * 31  # frames are a second apart
        found, reader = read(pcap([first, overlapping, rest, *pause, first, rest]))
        assert [packet.payload for packet in found if packet.payload != b"hello"] == [b"x" * 50]
        assert reader.cut == 1

    def test_extension_headers(self):
        """Hop-by-hop and destination options, then a fragment header."""
        whole = udp(b"hello, this is long enough")
        first, last = whole[:16], whole[16:]
        frames = []
        for data, offset, more in ((first, 0, 1), (last, 16, 0)):
            fragment = struct.pack(">BBHI", 17, 0, offset | more, 9) + data
            options = bytes([44, 0, 1, 4, 0, 0, 0, 0]) + fragment
            frames.append(ethernet(ipv6(bytes([60, 0, 1, 4, 0, 0, 0, 0]) + options, CLIENT6, SERVER6, header=0)))
        assert payloads(frames) == [b"hello, this is long enough"]

    def test_cut(self):
        """A packet that was recorded in part is not read, and told of."""
        found, reader = read(pcap([ethernet(ipv4(udp(b"hello" * 20), CLIENT, SERVER))[:60]]))
        assert (found, reader.cut) == ([], 1)


class Connection:
    """A TCP connection, as frames."""

    def __init__(self, *, handshake=True):
        self.frames = []
        self.mine, self.its = 1000, 2**32 - 20
        if handshake:
            self.client(flags=2)
            self.mine += 1
            self.server(flags=18)
            self.its += 1
            self.client()

    def client(self, data=b"", *, flags=16, at=0):
        """A segment of the client, `at` bytes ahead."""
        segment = tcp(data, sequence=self.mine + at, acknowledged=self.its, flags=flags)
        self.frames.append(ethernet(ipv4(segment, CLIENT, SERVER, protocol=6)))

    def server(self, data=b"", *, flags=16, taken=0):
        """A segment of the server, which acknowledges so many bytes more."""
        self.mine += taken
        segment = tcp(data, 5060, 40000, sequence=self.its, acknowledged=self.mine, flags=flags)
        self.frames.append(ethernet(ipv4(segment, SERVER, CLIENT, protocol=6)))
        self.its += len(data)

    @property
    def read(self):
        """The messages in it."""
        return payloads(self.frames)


class TestTcp:
    """Only what the server has taken, of connections whose beginning was seen."""

    def test_messages(self):
        """Two in one segment, one in two, with keep-alives between, both ways; sequence numbers wrap."""
        one, two, three = request(call="1"), request(call="2", body="body"), request(call="3")
        talk = Connection()
        talk.client(one + b"\r\n\r\n" + two + three[:50])
        talk.server(taken=len(one + two) + 54)
        talk.client(three[50:])
        talk.server(b"SIP/2.0 200 OK\r\nl: 2\r\n\r\nhi", taken=len(three) - 50)
        assert talk.read == [one, two, three, b"SIP/2.0 200 OK\r\nl: 2\r\n\r\nhi"]

    def test_not_acknowledged(self):
        """What the server has not taken is not read."""
        talk = Connection()
        talk.client(request())
        assert talk.read == []

    def test_no_handshake(self):
        """What nobody has begun is nobody's."""
        talk = Connection(handshake=False)
        talk.client(request())
        talk.server(taken=len(request()))
        assert talk.read == []

    def test_out_of_order(self):
        """Segments that overtake each other, and one sent again with other content: the first counts."""
        message = request()
        talk = Connection()
        talk.client(message[40:], at=40)
        talk.client(message[:40])
        talk.client(b"X" * 40)
        talk.server(taken=len(message))
        assert talk.read == [message]

    def test_small_pieces(self):
        """A head in pieces of ten bytes."""
        message = request()
        talk = Connection()
        for begin in range(0, len(message), 10):
            talk.client(message[begin : begin + 10])
            talk.server(taken=len(message[begin : begin + 10]))
        assert talk.read == [message]

    def test_websocket(self):
        """After the upgrade, frames: masked from the client, plain from the server."""
        message, answer = request(), b"SIP/2.0 200 OK\r\n\r\n"
        hello = b"GET / HTTP/1.1\r\nUpgrade: websocket\r\n\r\n"
        mask = b"\1\2\3\4"
        masked = bytes(byte ^ mask[number % 4] for number, byte in enumerate(message))
        frame = b"\x81\xfe" + struct.pack(">H", len(message)) + mask + masked
        talk = Connection()
        talk.client(hello)
        talk.server(b"HTTP/1.1 101 Switching Protocols\r\n\r\n", taken=len(hello))
        talk.client(frame)
        talk.server(b"\x82" + bytes([len(answer)]) + answer, taken=len(frame))
        assert talk.read == [message, answer]
        assert [packet.transport for packet in read(pcap(talk.frames))[0]] == ["ws", "ws"]

    def test_tls(self):
        """What is no SIP is followed no further."""
        talk = Connection()
        talk.client(b"\x16\x03\x01" + b"x" * 500)
        talk.server(b"\x16\x03\x03" + b"y" * 500, taken=503)
        talk.client(request())
        talk.server(taken=len(request()))
        assert talk.read == []


def test_hep():
    """HEP packets are unpacked; in a capture that begins with SIP they are not, as anybody may have sent them."""
    packet = Packet(1_000_000.5, CLIENT, 5060, SERVER, 5060, "tcp", request())
    carried = ethernet(ipv4(udp(hep(packet), 9999, 9060), "127.0.0.1", "127.0.0.1"))
    sip = ethernet(ipv4(udp(b"OPTIONS sip:x SIP/2.0\r\n\r\n"), CLIENT, SERVER))
    assert read(pcap([carried]))[0] == [packet]
    assert [one.payload[:4] for one in read(pcap([sip, carried]))[0]] == [b"OPTI", b"HEP3"]


@pytest.mark.parametrize(
    ("data", "wrong"),
    [
        (b"", "not a capture"),
        (b"a log", "not a capture"),
        (pcap([b"x" * 60])[:-5], "in the middle"),
        (pcapng([b"x" * 60])[:-5], "in the middle"),
        (pcap([])[:24] + struct.pack("<IIII", 1, 1, 2**30, 2**30), "damaged"),
        (pcapng([])[:28] + struct.pack("<II", 6, 3), "damaged"),
    ],
)
def test_damaged(data, wrong):
    """A damaged file is told in one line."""
    with pytest.raises(SipguardError, match=wrong):
        read(data)
