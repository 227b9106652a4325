"""The readers of the servers' events under an hour of fuzzing that is guided by coverage, from recorded sessions."""

from __future__ import annotations

import gzip
import importlib.util
import os
import subprocess
import sys
from pathlib import Path

import pytest
from server_events import ACCEPTED, BANNER, HOSTILE, block

ROOT = Path(__file__).parents[2]
HARNESS = ROOT / "tests/fuzz_events.py"
RECORDED = gzip.decompress((ROOT / "fixtures/wire/freeswitch-1.11-events.raw.gz").read_bytes())
NOT_YET, LOGGED_IN = b"\x00", b"\x40"
"""First bytes of an input: what follows begins with the greeting, or behind the login."""


def corpus(server):
    """Inputs to begin with."""
    if server == "freeswitch":
        begin = RECORDED.index(b"Content-Length: ")
        return [NOT_YET + RECORDED[: begin + 3000], LOGGED_IN + RECORDED[begin : begin + 6000]]
    hostile = b"".join(block(account=value[:36]) for value in HOSTILE if value.isascii())
    return [NOT_YET + ACCEPTED, NOT_YET + BANNER + block(), LOGGED_IN + block() * 3, LOGGED_IN + hostile]


@pytest.mark.long
@pytest.mark.timeout(0)
@pytest.mark.skipif(importlib.util.find_spec("atheris") is None, reason="atheris is not installed: pip install atheris")
@pytest.mark.parametrize("server", ["freeswitch", "asterisk"])
def test_nothing_but_refusals_leaves_a_reader(tmp_path, server):
    """SIPGUARD_FUZZ says for how many seconds; an hour otherwise."""
    for number, data in enumerate(corpus(server)):
        (tmp_path / str(number)).write_bytes(data)
    line = [sys.executable, str(HARNESS), str(tmp_path), f"-max_total_time={os.environ.get('SIPGUARD_FUZZ', '3600')}"]
    environment = {**os.environ, "EVENTS": server}
    done = subprocess.run(line, capture_output=True, text=True, check=False, cwd=tmp_path, env=environment)
    assert done.returncode == 0, done.stderr[-4000:]
    print(done.stderr[-300:])
