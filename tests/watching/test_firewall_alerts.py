"""Debian's Prometheus and faults of a real firewall: the alerts about bans fire by them, and end with them."""

from __future__ import annotations

import contextlib
import shutil
import subprocess

import pytest

from tests.watching.test_bypasses import ATTACKER, HOST, JAIL, Place
from tests.watching.test_prometheus import Prometheus

pytestmark = pytest.mark.root
REDIRECT = (
    "table ip office { chain in { type nat hook prerouting priority -100; udp dport 15060 redirect to :5060; }; }"
)
AGAIN_AND_AGAIN = "while :; do nft delete element inet sipguard {} '{{ {} }}' 2>/dev/null; sleep 0.02; done"


@pytest.fixture
def place(tmp_path):
    """Three namespaces; what runs in them ends first."""
    if shutil.which("prometheus") is None or shutil.which("promtool") is None:
        pytest.skip("needs the programs prometheus and promtool (apt install prometheus)")
    with contextlib.ExitStack() as stack:
        yield Place(stack, tmp_path)


def watched(place):
    """A Prometheus beside the daemon, that has read it."""
    prometheus = Prometheus(place.folder, place.metrics, place.host)
    place.stack.callback(prometheus.process.communicate)
    place.stack.callback(prometheus.process.kill)
    prometheus.wait(lambda: (prometheus.ask("query", query="up") or {}).get("data", {}).get("result"), "a scrape")
    return prometheus


def test_a_ban_does_not_work(place):
    """A translation leads past the ban; the port is added to the jail, as the cause says."""
    place.host.run("nft", "-f", "-", script=REDIRECT)
    place.begin("nftables", target=(HOST, 15060))
    prometheus = watched(place)
    prometheus.wait_fires("SipguardBanDoesNotWork")
    told = prometheus.ask("alerts")["data"]["alerts"]
    assert {one["labels"]["cause"] for one in told if one["labels"]["alertname"] == "SipguardBanDoesNotWork"} == {
        "translation"
    }
    place.daemon.write_jail("freeswitch", logpath=str(place.log), **{**JAIL, "port": "5060,15060"})
    place.daemon.sipguard("reload")
    prometheus.wait_fires("SipguardBanDoesNotWork", holds=False)
    place.wait_silent()
    assert "SipguardBanDoesNotWork" not in prometheus.firing()


def test_the_firewall_drifts(place):
    """Another program takes a ban out again and again, faster than it is put back."""
    place.begin("nftables")
    prometheus = watched(place)
    assert "SipguardFirewallDrift" not in prometheus.firing()
    table = place.host.run("nft", "list", "table", "inet", "sipguard")
    name = next(block.split()[0] for block in table.split("\tset ")[1:] if ATTACKER in block)
    loop = ["ip", "netns", "exec", place.host.name, "sh", "-c", AGAIN_AND_AGAIN.format(name, ATTACKER)]
    with subprocess.Popen(loop) as other:
        try:
            prometheus.wait_fires("SipguardFirewallDrift")
        finally:
            other.kill()
    prometheus.wait_fires("SipguardFirewallDrift", holds=False)
    place.wait_silent()
