"""`make run`: the recorded packets beside their log."""

from __future__ import annotations

import signal
import subprocess
import sys
from pathlib import Path

import psutil
import pytest
from limits import PATIENCE

from demo.recorded import FORGED, SILENT, hep, schedule
from sipguard.sources.hep_packet import decode
from sipguard.wire_model import Packet

ROOT = Path(__file__).parents[2]


def test_schedule():
    """In the order of their times, within seconds; what is forged comes last."""
    told = list(schedule())
    times = [when for when, _ in told]
    assert times == sorted(times)
    assert times[-1] - times[0] < 15
    packets = [what for _, what in told if isinstance(what, Packet)]
    lines = [what for _, what in told if isinstance(what, str)]
    assert (len(packets), len(lines)) == (807, 2467 + FORGED)
    assert [SILENT in line for line in lines] == [False] * 2467 + [True] * FORGED


def test_copies():
    """Each is read as the packet that it is a copy of; with another key none is."""
    packets = [what for _, what in schedule() if isinstance(what, Packet)]
    for packet in packets:
        found = decode(hep(packet, "a key"), key="a key")
        assert (found[1:5], found.payload) == (packet[1:5], packet.payload)
        assert found.time == pytest.approx(packet.time, abs=1e-5)
    assert decode(hep(packets[0], "a key"), key="another") == "wrong key"


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_ended_early(number):
    """By a signal, as by `make` that is ended or by Ctrl-C: nothing that it has started is left, and there is no traceback."""
    demo = subprocess.Popen(
        [sys.executable, "-m", "demo"], cwd=ROOT, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
    )
    with demo:
        while " Ban " not in demo.stdout.readline():
            assert demo.poll() is None
        started = psutil.Process(demo.pid).children(recursive=True)
        demo.send_signal(number)
        _, said = demo.communicate(timeout=PATIENCE)
    assert started
    _, left = psutil.wait_procs(started, timeout=PATIENCE)
    for process in left:
        process.kill()
    assert not left
    assert said == ""


@pytest.mark.long
@pytest.mark.timeout(120)
def test_run():
    """The whole, as a stranger sees it: who is cleared is not banned, and it says so."""
    done = subprocess.run([sys.executable, "-m", "demo"], cwd=ROOT, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout[-3000:]
    assert f"{SILENT} is accused by {FORGED} lines that no server has written" in done.stdout
