"""Slips in `ignoreip` are told, and the rest of the list holds."""

from __future__ import annotations

import subprocess
import sys
import time

from running import append, running
from test_pending_lookups import tree_with

SLIPS = ("192.168.0.0.22", "192.0.2.1-192.0.2.9", "#")
FRIEND, LISTED, ATTACKER = "198.51.100.7", "198.51.100.9", "203.0.113.5"


def bad(host):
    """A failure of this host, now."""
    return time.strftime(f"%Y-%m-%d %H:%M:%S bad {host}\n")


def check(arguments):
    """What `check` says of the tree on standard error."""
    command = [sys.executable, "-m", "sipguard", "check", *map(str, arguments)]
    return subprocess.run(command, capture_output=True, text=True, check=False).stderr


def test_slips_are_told(tmp_path):
    """`check` and the log name each; a list in a file says how many of its words are none."""
    listed = tmp_path / "list"
    listed.write_text(f"{LISTED}\n198.51.100.300 # a slip\n10.0.0.1-10.0.0.9\n")
    jail = f"ignoreip = {' '.join(SLIPS)} office {FRIEND} file:{listed}\n"
    arguments, log = tree_with(tmp_path, jail)
    with running(tmp_path, {}, arguments=arguments) as daemon:
        told = check(arguments)
        for slip in SLIPS:
            wrong = f"jail demo: ignoreip: '{slip}' is not an address, network or host name; it protects nobody"
            assert f"warning: {wrong}\n" in told
            daemon.wait_logged(wrong)
        daemon.wait_logged(
            f"ignoreip file:{listed}: 2 of its 3 words are no addresses and protect nobody; the first is 198.51.100.300"
        )
        daemon.wait_logged("ignoreip office has no address; it protects nobody")
        append(log, (bad(FRIEND) + bad(LISTED) + bad(ATTACKER)) * 3)
        daemon.wait_logged(f"[demo] Ban {ATTACKER}")
        assert daemon.banned("demo") == {ATTACKER}
