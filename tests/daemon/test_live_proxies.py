"""`[wire] proxies`: a proxy is never accused, its nonces prove nobody, and who is behind it is judged by the log."""

from __future__ import annotations

import re
import sys
from pathlib import Path

import pytest
from running import failure, sipguard
from sip_packets import request
from wire_lab import GUESSER, OTHER, wire_lab

pytestmark = pytest.mark.root

SHORT = [sys.executable, str(Path(__file__).parent / "short_start.py")]
PROXY, BEHIND = "198.51.100.20", "203.0.113.7"
VIA = "Via: SIP/2.0/UDP 203.0.113.7:5060;branch=z9hG4bKclient"


def proxied(tmp_path, **wire):
    """A lab whose server writes a log."""
    log = tmp_path / "freeswitch.log"
    log.touch()
    jails = {"freeswitch": {"logpath": str(log), "maxretry": 5, "bantime": 600}, "sip": {"maxretry": 5, "bantime": 600}}
    return log, wire_lab(tmp_path / "lab", jails=jails, prefix=SHORT, wire=wire)


def write(log, address, times=1):
    """Lines about an address."""
    with log.open("a") as file:
        file.write(failure(address) * times)


def test_never_accused_and_lines_behind_it_are_reported(tmp_path):
    """Twenty refusals at the proxy ban nobody; five lines that name the client behind it ban him, as without the wire."""
    log, made = proxied(tmp_path, proxies=[PROXY])
    with made as lab:
        other, proxy = lab.client(OTHER), lab.client(PROXY)
        for _ in range(3):  # the log is sighted, and could contradict
            assert other.register() == 403
            write(log, OTHER)
        lab.daemon.wait_for(lambda: lab.daemon.status("freeswitch")["corroboration"]["sighted"] == {str(log): True})
        assert [proxy.register(extra=VIA) for _ in range(20)] == [403] * 20
        write(log, BEHIND, 5)
        lab.daemon.wait_for(lambda: lab.daemon.banned("freeswitch") == {BEHIND}, "the ban of who is behind the proxy")
        (ban,) = lab.daemon.status("freeswitch")["banned"]
        assert ban["evidence"] == "reported"
        assert lab.banned() == set()
        assert lab.doubts(PROXY) == []
        assert lab.wire()["metered"] == 0
        assert "it may be about somebody behind a proxy" in lab.daemon.status("freeswitch")["corroboration"]["reasons"]
        assert proxy.register(response="a" * 32) == 200


def test_its_nonces_prove_nobody(tmp_path):
    """Who sends back what the proxy was sent is unproven, and the proxy is not charged as a lender."""
    _, made = proxied(tmp_path, proxies=[PROXY])
    with made as lab:
        proxy, guesser = lab.client(PROXY), lab.client(GUESSER)
        for _ in range(3):
            nonce = re.search(rb'nonce="([^"]+)"', proxy.ask(request(extra=VIA)))[1].decode()
            assert guesser.register(nonce=nonce) == 403
        lab.daemon.wait_for(lambda: len(lab.doubts(GUESSER)) == 6, "three doubts in two jails")
        assert lab.banned() == lab.daemon.banned("freeswitch") == set()
        assert lab.doubts(PROXY) == []


def test_a_relay_is_proposed(tmp_path):
    """Ten users log in by way of an address that nobody has named: `check` and `status` propose it, until it is named."""
    _, made = proxied(tmp_path)
    with made as lab:
        proxy = lab.client(PROXY)
        for number in range(10):
            assert lab.wire()["relays"] == []
            assert proxy.register(user=str(1000 + number), response="a" * 32, extra=VIA) == 200
        lab.daemon.wait_for(lambda: lab.wire()["relays"] == [PROXY], "the relay")
        config = lab.daemon.config
        proposal = f"{PROXY} relays for many users: if it is a SIP proxy of yours, name it in proxies below [wire]"
        said = sipguard("check", "--config", config)
        assert proposal in " ".join((said.stdout + said.stderr).split())
        config.write_text(config.read_text().replace("[wire]\n", f'[wire]\nproxies = ["{PROXY}"]\n'))
        lab.daemon.sipguard("reload")
        assert lab.wire()["relays"] == []
