"""An hour of fuzzing that is guided by coverage, from a corpus of real messages."""

from __future__ import annotations

import importlib.util
import os
import subprocess
import sys
from pathlib import Path

import pytest
from hep_packets import hep
from raw_packets import ethernet, ipv4, pcap, pcapng, tcp, udp
from sip_packets import SERVER, answer, request, uuid

from sipguard.wire_model import Packet

HARNESS = Path(__file__).parents[2] / "fuzz_wire.py"
NEXT = b"\xfe\xed"


def corpus():
    """Inputs to begin with, of every kind."""
    asked = request(nonce=uuid(1), branch="z9hG4bK1")
    talk = NEXT.join([request(), answer(401, request(), nonce=uuid(1)), asked, answer(403, asked)])
    handshake = [
        ipv4(tcp(flags=2), "192.0.2.5", SERVER, protocol=6),
        ipv4(tcp(b"", 5060, 40000, acknowledged=1, flags=18), SERVER, "192.0.2.5", protocol=6),
        ipv4(tcp(asked, sequence=1, acknowledged=1), "192.0.2.5", SERVER, protocol=6),
        ipv4(tcp(b"", 5060, 40000, sequence=1, acknowledged=1 + len(asked)), SERVER, "192.0.2.5", protocol=6),
    ]
    frame = ethernet(ipv4(udp(asked), "192.0.2.5", SERVER))
    packet = Packet(1.0, "192.0.2.5", 5060, SERVER, 5060, "udp", asked)
    yield from (b"\x00" + talk, b"\x60" + hep(packet, key="k"), b"\xff" + NEXT.join(handshake))
    yield from (b"\x90" + write([frame, frame]) for write in (pcap, pcapng))


@pytest.mark.long
@pytest.mark.timeout(0)
@pytest.mark.skipif(importlib.util.find_spec("atheris") is None, reason="atheris is not installed: pip install atheris")
def test_nothing_leaves_the_stages(tmp_path):
    """SIPGUARD_FUZZ says for how many seconds; an hour otherwise."""
    for number, data in enumerate(corpus()):
        (tmp_path / str(number)).write_bytes(data)
    seconds = os.environ.get("SIPGUARD_FUZZ", "3600")
    line = [sys.executable, HARNESS, tmp_path, f"-max_total_time={seconds}"]
    done = subprocess.run(list(map(str, line)), capture_output=True, text=True, check=False, cwd=tmp_path)
    assert done.returncode == 0, done.stderr[-4000:]
    print(done.stderr[-300:])
