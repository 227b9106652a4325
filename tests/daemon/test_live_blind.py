"""Where the wire does not see: said, and nobody is accused by what is missing. Killed at any moment, nothing counts twice."""

from __future__ import annotations

import signal
import subprocess
import time
from collections import Counter

import pytest
from wire_lab import FLOOD, GUESSER, Client, Server, wire_lab

from tests.netns import link, namespace

pytestmark = pytest.mark.root


def found(lab, address):
    """How many attempts of an address the log tells of."""
    return lab.daemon.logged().count(f"Found {address} ")


def test_overrun(tmp_path):
    """The daemon stands still while more comes than the kernel keeps: that is lost, known to be lost, and said."""
    quiet = "198.51.100.90"
    addresses = [quiet, *(f"198.51.100.{last}" for last in range(20, 80))]
    with wire_lab(tmp_path, addresses=addresses, wire={"rate": 10_000}) as lab:
        for net in (lab.server_net, lab.net):
            net.run("ip", "link", "set", "veth0", "mtu", "65000")
        lab.daemon.process.send_signal(signal.SIGSTOP)
        lab.run_client(FLOOD)
        lab.daemon.process.send_signal(signal.SIGCONT)
        lab.daemon.wait_logged("[wire] packets were lost")
        wire = lab.wire()
        assert any("were lost" in one["reason"] for one in wire["blind_times"])
        lab.client(quiet).register()  # the gap in the numbers is seen at the next packet
        lab.daemon.wait_for(lambda: lab.wire()["packets"].get("lost", 0) > 0, "the number of lost packets")


def test_unlisted_port(tmp_path):
    """Guesses at a port that is not watched are not seen."""
    with wire_lab(tmp_path, wire={"ports": [5070]}) as lab:
        server = Server(lab.server_net, port=6000)
        try:
            client = lab.client(GUESSER, port=6000)
            for _ in range(6):
                assert client.register() == 403
        finally:
            server.close()
        time.sleep(0.3)
        assert (lab.banned(), found(lab, GUESSER)) == (set(), 0)
        assert lab.wire()["ports"] == "5060-5061, 5070, 5080-5081"


def test_a_server_that_listens_is_watched(tmp_path):
    """A port that no jail names, at which a SIP server listens."""
    with wire_lab(tmp_path) as lab:
        server = Server(lab.server_net, port=5090)
        try:
            lab.daemon.sipguard("reload")
            assert lab.wire()["ports"] == "5060-5061, 5080-5081, 5090"
            client = lab.client(GUESSER, port=5090)
            for _ in range(5):
                assert client.register() == 403
            lab.daemon.wait_for(lambda: lab.banned() == {GUESSER}, "the ban")
        finally:
            server.close()


def test_macvlan(tmp_path):
    """A server with an interface of its own is not seen; the host's own server is."""
    with wire_lab(tmp_path) as lab, namespace("nft") as inner:
        link(inner, ["203.0.113.2/24"], lab.server_net, ["203.0.113.1/24"])
        lab.server_net.run("ip", "link", "add", "mv0", "link", "veth0", "type", "macvlan", "mode", "bridge")
        lab.server_net.run("ip", "link", "set", "mv0", "netns", inner.name)
        subprocess.run(["ip", "-n", inner.name, "address", "add", "198.51.100.9/24", "dev", "mv0"], check=True)
        subprocess.run(["ip", "-n", inner.name, "link", "set", "mv0", "up"], check=True)
        server = Server(inner, ["198.51.100.9"])
        try:
            client = lab.client(GUESSER, server="198.51.100.9")
            deadline = time.monotonic() + 10
            while time.monotonic() < deadline:
                try:
                    assert client.register() == 403
                    break
                except (TimeoutError, OSError):
                    continue
            for _ in range(6):
                assert client.register() == 403
        finally:
            server.close()
        time.sleep(0.3)
        assert (lab.banned(), found(lab, GUESSER)) == (set(), 0)


@pytest.mark.long
@pytest.mark.timeout(300)
def test_killed_again_and_again(tmp_path):
    """20 times kill -9 between guesses: what was seen counts once, so five guesses are a ban and four are none."""
    guilty = [f"198.51.100.{last}" for last in range(20, 40)]
    innocent = [f"198.51.100.{last}" for last in range(50, 70)]
    with wire_lab(tmp_path, addresses=guilty + innocent) as lab:

        def guess(address, times):
            client = Client(lab.net, address)
            with client.socket:
                for _ in range(times):
                    assert client.register() == 403

        for number, (bad, good) in enumerate(zip(guilty, innocent, strict=True)):
            before = number % 4 + 1
            guess(bad, before)
            guess(good, before)
            lab.daemon.wait_for(lambda b=bad, g=good, n=before: found(lab, b) == found(lab, g) == n, "the attempts")
            time.sleep(0.3)  # what was counted is on disk
            lab.daemon.stop(signal.SIGKILL)
            lab.start()
            guess(bad, 5 - before)
            guess(good, 4 - before)
            lab.daemon.wait_for(lambda b=bad: b in lab.banned(), f"the ban of {bad}")
        assert lab.banned() == set(guilty)
        made = Counter(line.split()[-1] for line in lab.daemon.logged().splitlines() if "] Ban " in line)
        assert set(made.values()) == {1}
