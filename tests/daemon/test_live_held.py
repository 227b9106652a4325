"""Whom others have slandered shows who he is, and is let through: after a restart too, and as one of a network."""

from __future__ import annotations

import contextlib
import signal
import sys
import uuid
from pathlib import Path

import pytest
from wire_lab import GOOD, GUESSER6, OTHER, PHONE, wire_lab

pytestmark = [pytest.mark.root, pytest.mark.timeout(120)]

SHORT = [sys.executable, str(Path(__file__).parent / "short_start.py")]
OTHER6, NEIGHBOUR6 = "2001:db8:0:20::20", "2001:db8:0:66::77"


def slandered(lab, honest, address):
    """The server's nonces are known, and failures that nothing proves tell of this address."""
    for _ in range(3):
        assert lab.client(honest).register(response=GOOD) == 200
    guesser = lab.client(address)
    guesser.socket.settimeout(0.3)
    for _ in range(3):
        with contextlib.suppress(OSError, TimeoutError):
            guesser.register(nonce=str(uuid.uuid4()))
    lab.daemon.wait_for(lambda: lab.wire()["metered"] == 1, "the meter")


def logs_in_and_goes_on(lab, address):
    """The requests that are left are enough for a login, and that lifts the meter."""
    phone = lab.client(address)
    assert phone.register(response=GOOD) == 200
    lab.daemon.wait_for(lambda: lab.wire()["metered"] == 0, "no meter")
    for _ in range(4):
        assert phone.register(response=GOOD) == 200


@pytest.mark.parametrize("how", [signal.SIGTERM, signal.SIGKILL])
def test_after_a_restart(tmp_path, how):
    """The kernel has held back all the while; the daemon knows it."""
    with wire_lab(tmp_path, prefix=SHORT) as lab:
        slandered(lab, OTHER, PHONE)
        lab.daemon.stop(how)
        lab.start()
        assert lab.wire()["metered"] == 1
        logs_in_and_goes_on(lab, PHONE)


def test_of_a_network(tmp_path):
    """A phone whose neighbour has guessed."""
    with wire_lab(tmp_path, prefix=SHORT) as lab:
        lab.net.run("ip", "address", "add", f"{NEIGHBOUR6}/32", "dev", "veth0", "nodad")
        slandered(lab, OTHER6, GUESSER6)
        assert "2001:db8:0:66::/64 is held back" in lab.daemon.logged()
        logs_in_and_goes_on(lab, NEIGHBOUR6)
