"""A daemon with a HEP listener, and a recorded conversation to send it."""

from __future__ import annotations

import gzip
import io
import itertools
import json
import socket
import time
from pathlib import Path

import toml
from hep_packets import hep
from ports import free_udp_port
from running import RunningDaemon
from sip_packets import SERVER, answer, request, uuid

from sipguard.sources.captures.reader import Capture
from sipguard.wire_model import Packet

RECORDED = Path(__file__).parents[2] / "fixtures" / "wire" / "freeswitch-1.11.pcap.gz"
_numbers = itertools.count(1000)
KEY = "a key for tests"


def recorded_and_moved():
    """The messages of the capture, with times of now, and by how much those were moved."""
    packets = list(Capture("recorded").messages(io.BytesIO(gzip.decompress(RECORDED.read_bytes()))))
    shift = time.time() - packets[-1].time
    return [packet._replace(time=packet.time + shift) for packet in packets], shift


def recorded():
    """The messages of the capture, with times of now."""
    return recorded_and_moved()[0]


class Listening:
    """A daemon with a HEP listener."""

    def __init__(self, folder, *, key=KEY, name="sip", options=None, wire=None, **jail):
        """`options` are the daemon's, `wire` the keys of `[wire]`."""
        self.port = free_udp_port()
        # The laboratory's phones and attackers share one network: each address counts for itself.
        self.daemon = RunningDaemon(folder, {name: {"ipv6prefix": 128, **jail}}, **(options or {}))
        config = self.daemon.config
        options = {"listen": f"127.0.0.1:{self.port}"} | ({"key": key} if key else {})
        self.metrics_socket = folder / "metrics.sock"
        more = {"hep": options, "metrics": {"listen": str(self.metrics_socket)}}
        more |= {"wire": wire} if wire else {}
        config.write_text(config.read_text() + "\n" + toml.dumps(more))
        self.daemon.start()

    def send(self, packets, *, key=KEY):
        """As a server does."""
        with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as sock:
            for number, packet in enumerate(packets):
                sock.sendto(hep(packet, key=key), ("127.0.0.1", self.port))
                if number % 50 == 0:
                    time.sleep(0.01)

    def guess(self, address, *, times, key=KEY, nonce=None):
        """A client that is challenged and refused."""
        now = time.time()
        packets = []
        for number in itertools.islice(_numbers, times):  # no nonce is sent to two addresses
            first = request(call=f"a{number}")
            second = request(call=f"b{number}", nonce=nonce or uuid(number), response=f"{number:032x}")
            for source, destination, payload in (
                (address, SERVER, first),
                (SERVER, address, answer(401, first, nonce=uuid(number))),
                (address, SERVER, second),
                (SERVER, address, answer(403, second)),
            ):
                packets.append(Packet(now, source, 5060, destination, 5060, "udp", payload))
        self.send(packets, key=key)

    def metrics(self):
        """What Prometheus reads."""
        with socket.socket(socket.AF_UNIX) as sock:
            sock.connect(str(self.metrics_socket))
            sock.sendall(b"GET /metrics HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n")
            return sock.makefile("rb").read()

    def explained(self, address):
        """What `explain` tells of an address."""
        return json.loads(self.daemon.sipguard("explain", address, "--json", check=False).stdout)
