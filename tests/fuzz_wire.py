"""Fuzzes the wire's stages with coverage as its guide (atheris, libFuzzer): `python tests/fuzz_wire.py -max_total_time=60`.

Ends with a status other than 0 when an exception leaves a stage, somebody is accused who is in no packet, or an input takes
longer than ten seconds (of a busy machine). `tests/detection/sip/test_atheris.py` runs it.
"""

from __future__ import annotations

import contextlib
import io
import sys
from pathlib import Path

import atheris

sys.path[:0] = [str(Path(__file__).parents[1]), str(Path(__file__).parent / "fixtures")]

with atheris.instrument_imports(include=["sipguard"]):
    from sipguard.detection.sip.tracker import Tracker
    from sipguard.errors import SipguardError
    from sipguard.sources.captures.reader import Capture
    from sipguard.sources.hep_packet import decode
    from sipguard.sources.wire.ip import Reader
    from sipguard.sources.wire.tcp import Connections
    from sipguard.wire_model import Packet

CLIENT, SERVER = "192.0.2.5", "203.0.113.1"


def fuzz(data: bytes) -> None:
    """One input: its first byte says what it is."""
    kind, data = data[:1], data[1:]
    if kind < b"\x60":
        _conversation(data)
    elif kind < b"\x90":
        decode(data)
    elif kind < b"\xc0":
        with contextlib.suppress(SipguardError):
            list(Capture("fuzzed").messages(io.BytesIO(data)))
    else:
        reader, connections = Reader(), Connections()
        for number, packet in enumerate(data.split(b"\xfe\xed")):
            if (segment := reader.read(packet, float(number))) is not None:
                connections.feed(segment, float(number))


def _conversation(data: bytes) -> None:
    tracker = Tracker(own={SERVER}, patience=1.0)
    attempts = []
    for number, payload in enumerate(data.split(b"\xfe\xed")):
        ends = (CLIENT, 5060, SERVER, 5060) if number % 2 == 0 else (SERVER, 5060, CLIENT, 5060)
        attempts += tracker.feed(Packet(number / 4, *ends, "udp", payload))
    for attempt in attempts + tracker.expire(1e6):
        if attempt.address != CLIENT:
            raise AssertionError(attempt)


if __name__ == "__main__":
    atheris.Setup([*sys.argv, "-timeout=10", "-max_len=8192"], fuzz)
    atheris.Fuzz()
