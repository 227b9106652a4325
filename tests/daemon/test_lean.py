"""What the daemon does without: OpenSSL, as long as nothing in its configuration speaks TLS."""

from __future__ import annotations

import contextlib
import subprocess
import sys
from pathlib import Path

from running import ROOT, running

from tests.feeds.web_server import ListServer, make_certificates


def test_the_daemon_does_not_load_openssl(tmp_path):
    """It would take a seventh of its memory."""
    log = tmp_path / "log"
    log.touch()
    with running(tmp_path, {"freeswitch": {"logpath": str(log)}}, imported=True) as daemon:
        maps = Path(f"/proc/{daemon.process.pid}/maps").read_text()
    assert "libpython" in maps or "python3" in maps
    assert "libssl" not in maps
    assert "libcrypto" not in maps


FETCH = """
import sipguard.cli.lean
import asyncio, sys
assert asyncio.sslproto.ssl is None
from sipguard.feeds.web import Web
answer = asyncio.run(Web(ca_file=sys.argv[1]).get(sys.argv[2], seconds=30, size=1000))
print(answer.status, answer.body.decode())
"""


def test_tls_works_without_asyncios(tmp_path):
    """httpx brings its own: a feed is fetched over TLS, its certificate checked."""
    ca, pem = make_certificates(tmp_path)
    with contextlib.closing(ListServer(pem, b"192.0.2.1\n")) as server:
        command = [sys.executable, "-c", FETCH, str(ca), f"{server.url}/list"]
        done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False, timeout=90)
    assert (done.stdout, done.stderr) == ("200 192.0.2.1\n\n", "")


def test_fail2bans_ways_are_loaded_where_they_are_wanted():
    """Its socket, pid file and database file: their code takes a megabyte."""
    command = [
        sys.executable,
        "-c",
        "import sipguard.daemon.start, sys; print('sipguard.daemon.compat' in sys.modules)",
    ]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=True, timeout=90)
    assert done.stdout == "False\n"
