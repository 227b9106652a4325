"""Plays a recorded conversation of a SIP server: its packets, as HEP copies, and its log, each at its time."""

from __future__ import annotations

import gzip
import io
import socket
import struct
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path

from demo.feeder import DATE, now_instead
from sipguard.sources.captures.reader import Capture
from sipguard.wire_model import Packet

SAMPLES = Path(__file__).parents[1] / "fixtures" / "wire"
LOG, CAPTURE = SAMPLES / "freeswitch-1.11.log.gz", SAMPLES / "freeswitch-1.11.pcap.gz"
SILENT = "198.51.100.7"
"""Whom lines accuse that no server has written: it has sent nothing."""
FORGED = 6
_PROTOCOLS = {"udp": 17, "tcp": 6, "tls": 22, "sctp": 132}


@dataclass(frozen=True)
class Recording:
    """Where it is played to: a log, and a HEP listener of this machine."""

    log: Path
    port: int
    key: str

    def play(self, *, going_on: Callable[[], bool]) -> int:
        """Play it until done, ten seconds, or until `going_on` says no. Gives the number of lines written."""
        begin = None
        written = 0
        start = time.time()
        with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as sock:
            for when, what in schedule():
                begin = when if begin is None else begin
                moved = start + when - begin
                if not going_on():
                    break
                time.sleep(max(0.0, moved - time.time()))
                if isinstance(what, Packet):
                    sock.sendto(hep(what._replace(time=moved), self.key), ("127.0.0.1", self.port))
                else:
                    with self.log.open("a") as log:
                        log.write(now_instead(what, datetime.fromtimestamp(moved)) + "\n")  # noqa: DTZ006 - local time
                    written += 1
        return written


def schedule() -> Iterator[tuple[float, Packet | str]]:
    """When, in POSIX seconds, and what: packets before the lines that tell of them, and at the end the forged lines."""
    capture = io.BytesIO(gzip.decompress(CAPTURE.read_bytes()))
    lines = list(_lines(gzip.decompress(LOG.read_bytes()).decode().splitlines()))
    events: list[tuple[float, int, int, Packet | str]] = [*lines]
    events += [(one.time, 0, number, one) for number, one in enumerate(Capture("").messages(capture))]
    for when, _, _, what in sorted(events, key=lambda one: one[:3]):
        yield when, what
    last = max(when for when, *_ in events) + 1
    for number in range(FORGED):
        yield last + number / 10, _forged(last + number / 10)


def _lines(lines: list[str]) -> Iterator[tuple[float, int, int, str]]:
    """The log with the times of its lines, which are UTC; one without belongs to the line before."""
    when = 0.0
    for number, line in enumerate(lines):
        if found := DATE.search(line):
            when = datetime.fromisoformat(f"{found[0]}+00:00").timestamp()
        yield when, 1, number, line


def _forged(when: float) -> str:
    date = datetime.fromtimestamp(when, UTC)
    return (
        f"{date:%Y-%m-%d %H:%M:%S.%f} 98.53% [WARNING] sofia_reg.c:1787 SIP auth failure (REGISTER) on sofia profile "
        f"'internal' for [1000@203.0.113.1] from ip {SILENT}"
    )


def hep(packet: Packet, key: str) -> bytes:
    """A SIP message as a server copies it: HEP, version 3."""
    six = ":" in packet.source
    family = socket.AF_INET6 if six else socket.AF_INET
    values = {
        1: bytes([family]),
        2: bytes([_PROTOCOLS[packet.transport]]),
        6 if six else 4: socket.inet_pton(family, packet.destination),
        5 if six else 3: socket.inet_pton(family, packet.source),
        7: struct.pack(">H", packet.source_port),
        8: struct.pack(">H", packet.destination_port),
        9: struct.pack(">I", int(packet.time)),
        10: struct.pack(">I", int(packet.time % 1 * 1e6)),
        11: b"\x01",
        14: key.encode(),
        15: packet.payload,
    }
    chunks = b"".join(struct.pack(">HHH", 0, kind, 6 + len(value)) + value for kind, value in values.items())
    return b"HEP3" + struct.pack(">H", 6 + len(chunks)) + chunks
