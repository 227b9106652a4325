"""`sipguard replay` of a capture whose truth is known."""

from __future__ import annotations

import contextlib
import gzip
import io
import json
import os
import re
import struct
import subprocess
import sys
from collections import Counter
from pathlib import Path

import pytest
from click.testing import CliRunner
from hep_packets import hep
from raw_packets import ethernet, ipv4, pcap, udp
from screen import open_terminal

from sipguard.cli.replay import command
from sipguard.errors import SipguardError
from sipguard.sources.captures import files
from sipguard.sources.captures.reader import Capture

WIRE = Path(__file__).parents[2] / "fixtures" / "wire"
PROVEN = {66: 12, 67: 10, 68: 10, 69: 8, 70: 8, 71: 8, 72: 6, 74: 8, 75: 8, 79: 1, 80: 6, 81: 4, 21: 1, 30: 5}
UNPROVEN = {77: 6, 90: 6, 73: 6, 84: 10}
LENT = {78: 6}


def replay(*arguments):
    """What the command prints, as objects: addresses, and the summary."""
    result = CliRunner().invoke(command, ["--json", *map(str, arguments)])
    assert result.exit_code == 0, result.output
    *stories, summary = [json.loads(line) for line in result.stdout.splitlines()]
    return {story["address"]: story for story in stories}, summary


@pytest.fixture(scope="module", params=["pcap.gz", "pcap"])
def replayed(request, tmp_path_factory):
    """The recorded capture, compressed and not."""
    path = WIRE / "freeswitch-1.11.pcap.gz"
    if request.param == "pcap":
        plain = tmp_path_factory.mktemp("wire") / "sip.pcap"
        plain.write_bytes(gzip.decompress(path.read_bytes()))
        path = plain
    return replay("--jail", "sip", path)


@pytest.mark.parametrize(("kind", "truth"), [("proven", PROVEN), ("unproven", UNPROVEN), ("lent", LENT)])
def test_every_attempt(replayed, kind, truth):
    """Each source has what it did, class by class, and nobody else has any."""
    stories, _ = replayed
    wanted = {f"203.0.113.{last}": count for last, count in truth.items()}
    wanted |= {"2001:db8:113::66": 8} if kind == "proven" else {}
    assert {address: story[kind] for address, story in stories.items() if story[kind]} == wanted


def test_bans(replayed):
    """Who is proven five times is banned; phones, and those in whose name others sent, are not."""
    stories, summary = replayed
    banned = {address for address, story in stories.items() if story["banned_at"]}
    assert banned == {f"203.0.113.{last}" for last in (66, 67, 68, 69, 70, 71, 72, 74, 75, 78, 80)} | {
        "2001:db8:113::66"
    }
    assert stories["203.0.113.30"]["misconfigured"]
    assert (summary["packets"], summary["lines"]) == (863, 0)


def messages_of(name):
    """The SIP messages of a recorded capture."""
    data = gzip.decompress((WIRE / name).read_bytes())
    return list(Capture(name).messages(io.BytesIO(data)))


@pytest.mark.parametrize("tcp_is_known", [True, False])
def test_hep(tmp_path, tcp_is_known):
    """The same messages in HEP packets give the same answer, also from a server that calls TCP UDP; IPv6 apart."""
    frames = []
    for packet in messages_of("freeswitch-1.11.pcap.gz"):
        if ":" not in packet.source:
            sent = packet if tcp_is_known else packet._replace(transport="udp")
            frames.append(ethernet(ipv4(udp(hep(sent), 40000, 9060), "127.0.0.1", "127.0.0.1")))
    path = tmp_path / "hep.pcap"
    path.write_bytes(pcap(frames))
    stories, summary = replay("--jail", "sip", path)
    for kind, truth in (("proven", PROVEN), ("unproven", UNPROVEN), ("lent", LENT)):
        found = {address: story[kind] for address, story in stories.items() if story[kind]}
        assert found == {f"203.0.113.{last}": count for last, count in truth.items()}
    banned = {address for address, story in stories.items() if story["banned_at"]}
    assert banned == {f"203.0.113.{last}" for last in (66, 67, 68, 69, 70, 71, 72, 74, 75, 78, 80)}
    assert summary["packets"] == len(frames)


def test_the_recorded_hep_is_half():
    """FreeSWITCH, with nobody listening, has sent every second message: 403 of 807; of 93 nonces used, two challenges.

    Its socket is told by ICMP that nobody listens, and the next message is lost with that error. No right answer is in there.
    """
    whole = Counter(packet.payload for packet in messages_of("freeswitch-1.11.pcap.gz"))
    data = gzip.decompress((WIRE / "freeswitch-1.11-hep.pcap.gz").read_bytes())
    half = Counter()
    for frame in files.frames(io.BytesIO(data), "half"):
        at = frame.data.index(b"HEP3")
        half[frame.data[at:].partition(struct.pack(">HH", 0, 15))[2][2:]] += 1
    assert (half.total(), whole.total()) == (403, 807)
    assert not half - whole
    nonce = re.compile(rb'[ ,]nonce="([^"]+)"')
    sent, used = (
        {value for one in half if mark in one for value in nonce.findall(one)}
        for mark in (b"-Authenticate: ", b"uthorization: ")
    )
    assert len(used) == 93
    assert len(sent & used) == 2


def test_half_a_conversation():
    """Of a capture that lacks every second message nobody is accused with proof, and it says what is missing."""
    result = CliRunner().invoke(command, ["--jail", "sip", str(WIRE / "freeswitch-1.11-hep.pcap.gz")])
    assert result.exit_code == 0
    assert "0 addresses banned" in result.stdout
    assert " proven" not in result.stdout
    assert "packets are missing" in result.stderr


@pytest.mark.parametrize(
    ("jail", "content", "wrong"),
    [
        (
            "asterisk",
            gzip.decompress((WIRE / "freeswitch-1.11.pcap.gz").read_bytes())[:1000],
            "a capture, but jail asterisk",
        ),
        ("sip", b"a line of log\n", "not a capture; jail sip reads captures"),
        ("sip", gzip.decompress((WIRE / "freeswitch-1.11.pcap.gz").read_bytes())[:1000], "in the middle of a packet"),
    ],
)
def test_wrong_file(tmp_path, jail, content, wrong):
    """One line says what is wrong."""
    path = tmp_path / "file"
    path.write_bytes(content)
    result = CliRunner().invoke(command, ["--jail", jail, str(path)])
    assert isinstance(result.exception, SipguardError)
    assert wrong in str(result.exception)


def test_progress(tmp_path):
    """Large files on a terminal: a bar for each, on standard error, gone at the end; none for JSON."""
    plain = gzip.decompress((WIRE / "freeswitch-1.11.pcap.gz").read_bytes())
    paths = [tmp_path / "large.pcap", tmp_path / "large.pcap.gz"]
    paths[0].write_bytes(plain)
    paths[1].write_bytes(gzip.compress(plain))
    command_line = (
        "import sys; sys.argv[0] = 'sipguard'; import sipguard.cli.open_files as files; files.BIG = 1000; "
        "from sipguard.cli.main import main; main()"
    )
    told = []
    for more in ([], ["--json"]):
        main, end = open_terminal()
        done = subprocess.run(
            [sys.executable, "-c", command_line, "replay", "--jail", "sip", *more, *map(str, paths)],
            stdout=subprocess.PIPE, stderr=end, check=False, env={**os.environ, "TERM": "xterm", "COLUMNS": "100"},
        )  # fmt: skip
        os.close(end)
        assert done.returncode == 0
        told.append(_all_of(main))
    assert b"large.pcap.gz" in told[0]
    assert b"100%" in told[0]
    assert b"large" not in told[1]


def _all_of(terminal):
    """What was written to it."""
    found = b""
    with contextlib.suppress(OSError):  # EIO: the other end is closed
        while piece := os.read(terminal, 65_536):
            found += piece
    os.close(terminal)
    return found
