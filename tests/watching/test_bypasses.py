"""Ways past a ban, each made in a namespace: named within 10 s of the ban by log, status and metric; what is ours is mended."""

from __future__ import annotations

import contextlib
import json
import re
import socket
import threading
import time
from datetime import datetime

import pytest
import toml
from limits import within
from ports import free_port
from running import RunningDaemon, append, failure
from virtual import on_kernel_with

from sipguard.cli.client import ask
from sipguard.firewall import foreign_rules
from sipguard.firewall.bypass import BypassSearch, Seen, find
from sipguard.firewall.foreign_rules import ForeignRule, ForeignRules
from sipguard.firewall.tracked import Tracked
from sipguard.model import PortRange, Rule
from sipguard.troubles import troubles
from tests.netns import link, namespace
from tests.watching.scraping import scrape

ATTACKER, HOST, PROXY, BEHIND = "203.0.113.66", "203.0.113.1", "203.0.113.9", "198.51.100.2"
JAIL = {"maxretry": 3, "bantime": "1h", "port": "5060"}


class Server:
    """Listens in a namespace, answers, and writes a failed login of `ATTACKER` for each datagram, whoever sent it."""

    def __init__(self, net, log, address, port=5060):
        self.heard = 0
        self._log, self._over, self._repeating = log, threading.Event(), None
        with net.inside():
            self._sock = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
        self._sock.bind((address, port))
        self._thread = threading.Thread(target=self._serve)
        self._thread.start()

    def _serve(self):
        while True:
            data, sender = self._sock.recvfrom(100)
            if data == b"end":
                return
            self.heard += 1
            append(self._log, failure(ATTACKER))
            with contextlib.suppress(OSError):
                self._sock.sendto(b"403", sender)

    def insist(self, client):
        """Answer ten times a second, asked or not, as servers repeat what is not acknowledged."""

        def repeat():
            while not self._over.wait(0.1):
                self._sock.sendto(b"403", client)

        self._repeating = threading.Thread(target=repeat)
        self._repeating.start()

    def close(self):
        """Told to itself: from its own address."""
        self._over.set()
        if self._repeating:
            self._repeating.join()
        self._sock.sendto(b"end", self._sock.getsockname())
        self._thread.join()
        self._sock.close()


class Caller:
    """Sends a datagram ten times a second, from one address and port."""

    def __init__(self, net, source, target):
        self.sent = 0
        self._over = threading.Event()
        with net.inside():
            self._sock = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
        self._sock.bind((source, 40_000))
        self._thread = threading.Thread(target=self._call, args=(target,))
        self._thread.start()

    def _call(self, target):
        while not self._over.wait(0.1):
            with contextlib.suppress(OSError):  # a refusal of the datagram before
                self._sock.sendto(b"REGISTER", target)
            self.sent += 1

    def close(self):
        self._over.set()
        self._thread.join()
        self._sock.close()


class Place:
    """An attacker's and a server's namespace, one behind that, and a daemon in the server's."""

    def __init__(self, stack, folder):
        self.stack, self.folder = stack, folder
        self.outside, self.host, self.behind = (
            stack.enter_context(namespace("nft", "iptables", "ipset", "iptables-legacy")) for _ in range(3)
        )
        link(self.outside, [f"{ATTACKER}/24", f"{PROXY}/24"], self.host, [f"{HOST}/24"])
        link(self.host, ["198.51.100.1/24"], self.behind, [f"{BEHIND}/24"])
        self.outside.run("ip", "route", "add", "198.51.100.0/24", "via", HOST)
        self.behind.run("ip", "route", "add", "default", "via", "198.51.100.1")
        self.host.run("sysctl", "-qw", "net.ipv4.ip_forward=1")
        self.log = folder / "freeswitch.log"
        self.log.touch()
        self.daemon = self.server = self.caller = None
        self.metrics = f"127.0.0.1:{free_port()}"

    def begin(self, firewall, *, target=(HOST, 5060), source=ATTACKER, behind=False):
        """A server that listens, a daemon that watches, an attacker who calls."""
        inside = ("ip", "netns", "exec", self.host.name)
        self.daemon = RunningDaemon(
            self.folder, {"freeswitch": {"logpath": str(self.log), **JAIL}}, firewall=firewall, prefix=inside
        )
        settings = {"metrics": {"listen": self.metrics}}
        self.daemon.config.write_text(self.daemon.config.read_text() + "\n" + toml.dumps(settings))
        self.server = Server(self.behind if behind else self.host, self.log, BEHIND if behind else HOST)
        self.stack.callback(self.server.close)
        self.daemon.start()
        self.stack.callback(self.daemon.stop)
        self.caller = Caller(self.outside, source, target)
        self.stack.callback(self.caller.close)
        self.daemon.wait_logged(f"Ban {ATTACKER}")

    def named(self, cause, since=None):
        """What log, status and metric say of it, at most 10 s after the ban or `since`, by the log's times."""
        self.daemon.wait_logged(f"the ban of {ATTACKER} does not work ({cause})")
        logged = self.daemon.logged()
        banned, told = (_logged_at(logged, text) for text in (f"Ban {ATTACKER}", "does not work"))
        took = told - (since or banned)
        print(f"{cause}: named after {took:.1f} s")
        assert took <= within(10)
        why = ask(self.daemon.socket, "status")["unenforced"][ATTACKER]
        # The page shows what is made of this.
        assert any(why in one.text for one in troubles(ask(self.daemon.socket, "overview")))
        assert why in logged
        assert f"the ban of {ATTACKER} does not work: {why}" in self.daemon.sipguard("status", check=False).stdout
        with self.host.inside():
            assert f'sipguard_unenforced_bans{{cause="{cause}"}} 1.0' in scrape(self.metrics)
        return why

    def wait_silent(self):
        """The attacker goes on, and the server hears nothing."""

        def silent():
            heard, sent = self.server.heard, self.caller.sent
            self.daemon.wait_for(lambda: self.caller.sent >= sent + 10)
            return self.server.heard == heard

        self.daemon.wait_for(silent, "the server hears nothing more")


def _logged_at(text, words):
    line = next(line for line in text.splitlines() if words in line)
    return datetime.fromisoformat(re.match(r"[\d-]+ [\d:,]+", line)[0].replace(",", ".")).timestamp()


@pytest.fixture
def place(tmp_path):
    """Three namespaces; what runs in them ends first."""
    with contextlib.ExitStack() as stack:
        yield Place(stack, tmp_path)


@pytest.mark.timed
@pytest.mark.root
def test_translated_by_nft(place):
    """Another port leads to the server's: the ban names the server's alone."""
    place.host.run("nft", "-f", "-", script="""
        table ip office {
            chain in { type nat hook prerouting priority -100; udp dport 15060 redirect to :5060; }
        }""")  # fmt: skip
    before = place.host.run("nft", "list", "table", "ip", "office")
    place.begin("nftables", target=(HOST, 15060))
    why = place.named("translation")
    assert "port 15060, is translated" in why
    assert "by table ip office, chain in; the jail rejects 5060: add 15060" in why
    assert place.host.run("nft", "list", "table", "ip", "office") == before


@pytest.mark.timed
@pytest.mark.root
def test_translated_by_legacy_iptables(place):
    """Which nf_tables tells nothing of."""
    redirect = "-A PREROUTING -p udp -m udp --dport 15060 -j REDIRECT --to-ports 5060"
    place.host.run("iptables-legacy", "-t", "nat", *redirect.split())
    place.begin("nftables", target=(HOST, 15060))
    why = place.named("legacy")
    assert "by iptables-legacy, table nat, chain PREROUTING, beside nf_tables" in why
    assert redirect in place.host.run("iptables-legacy-save", "-t", "nat")


@pytest.mark.timed
@pytest.mark.root
@pytest.mark.parametrize("tracked", [True, False])
def test_a_proxy(place, tracked):
    """No packet has the address that the log names. Where flows are tracked, who speaks to the server is named."""
    if tracked:
        place.host.run(
            "nft", "-f", "-", script="table ip t { chain c { type filter hook input priority 0; ct state new; }; }"
        )
    place.begin("nftables", source=PROXY)
    why = place.named("proxy")
    assert "none of its packets has met the rule" in why
    assert (f"{PROXY} speaks to its ports" in why) is tracked


@pytest.mark.timed
@pytest.mark.root
def test_forwarded(place):
    """Chains of iptables in INPUT see nothing of what goes on to a server behind: FORWARD leads to ours as well then."""
    rule = f"-A PREROUTING -d {HOST}/32 -p udp -m udp --dport 5060 -j DNAT --to-destination {BEHIND}"
    place.host.run("iptables", "-t", "nat", *rule.split())
    place.begin("ipset", behind=True)
    why = place.named("forward")
    assert f"is sent on to {BEHIND}, port 5060 by table ip nat, chain PREROUTING, past INPUT" in why
    place.wait_silent()
    assert place.host.run("iptables", "-S", "FORWARD").splitlines() == ["-P FORWARD ACCEPT", "-A FORWARD -j sipguard"]
    assert rule in place.host.run("iptables-save", "-t", "nat")


@pytest.mark.timed
@pytest.mark.root
def test_a_rule_before_ours(place):
    """Another program puts its rule first again and again; when it stops, ours is the first, and its are all there."""
    rule = ["INPUT", "-m", "conntrack", "--ctstate", "NEW,ESTABLISHED", "-j", "ACCEPT"]
    place.begin("ipset")
    inserted = 0
    end = time.monotonic() + 60
    while "does not work" not in place.daemon.logged():
        place.host.run("iptables", "-I", *rule)
        inserted += 1
        assert time.monotonic() < end
    place.named("established")
    assert (
        "comes after a rule of others in INPUT (-m conntrack --ctstate NEW,ESTABLISHED -j ACCEPT)"
        in place.daemon.logged()
    )
    place.wait_silent()
    rules = place.host.run("iptables", "-S", "INPUT").splitlines()[1:]
    assert rules[0] == "-A INPUT -j sipguard"
    assert rules[1:] == ["-A " + " ".join(rule)] * inserted


@pytest.mark.timed
@pytest.mark.root
def test_rules_before_ours_in_nf_tables(place):
    """In another table, however early, one shields nobody; in ours it is taken out, and the log says so within 10 s."""
    place.host.run("nft", "-f", "-", script="""
        table inet office {
            chain early { type filter hook prerouting priority -400; accept; }
            chain in { type filter hook input priority 0; ct state established,new accept; }
        }""")  # fmt: skip
    place.begin("nftables")
    place.wait_silent()
    assert ask(place.daemon.socket, "status")["unenforced"] == {}
    begun = time.monotonic()
    place.host.run("nft", "insert", "rule", "inet", "sipguard", "banned", "accept")
    place.daemon.wait_logged("rule banned of table inet sipguard")
    assert time.monotonic() - begun <= within(10)
    place.wait_silent()
    assert "accept\n" not in place.host.run("nft", "list", "chain", "inet", "sipguard", "banned")


@pytest.mark.timed
@pytest.mark.root
def test_a_port_that_the_jail_does_not_name(place):
    """Connection tracking knows where its packets go."""
    place.host.run(
        "nft", "-f", "-", script="table ip t { chain c { type filter hook input priority 0; ct state new; }; }"
    )
    other = Server(place.host, place.log, HOST, 5080)
    place.stack.callback(other.close)
    place.begin("nftables", target=(HOST, 5080))
    assert "port 5080, is let through: the jail rejects 5060 alone; add 5080" in place.named("port")


FAST = """
    table inet fast {
        flowtable f { hook ingress priority 0; devices = { veth0, veth1 }; }
        chain forward { type filter hook forward priority 0; meta l4proto { tcp, udp } flow add @f; }
    }
"""


@pytest.mark.timed
@pytest.mark.root
@on_kernel_with("flowtable")
def test_offloaded_by_a_flowtable(place):
    """Forwarded past every rule: a ban ends the flow; where the server's answers bring it back, the advice ends it."""
    place.host.run("nft", "-f", "-", script=FAST)
    place.begin("nftables", target=(BEHIND, 5060), behind=True)
    place.wait_silent()
    begun = time.time()
    place.server.insist((ATTACKER, 40_000))
    why = place.named("offload", since=begun)
    assert f"to {BEHIND}, port 5060, is offloaded (flowtable) by table inet fast, chain forward: no rule sees" in why
    advice = re.search(r"\((meta .*) before `flow add`\)", why)[1]
    rules = f"flush chain inet fast forward\nadd rule inet fast forward {advice} flow add @f"
    place.host.run("nft", "-f", "-", script=rules)
    place.wait_silent()
    assert not re.search(rf"{ATTACKER}.*OFFLOAD", place.host.run("conntrack", "-L"))


OFFLOADS = {
    "nftables": [
        {"flowtable": {"family": "inet", "name": "f", "table": "fast", "handle": 2, "hook": "ingress", "prio": 0, "dev": "eth0"}},
        {"chain": {"family": "inet", "table": "fast", "name": "forward", "handle": 1, "type": "filter"}},
        {"rule": {"family": "inet", "table": "fast", "chain": "forward", "handle": 3, "expr": [
            {"match": {"op": "==", "left": {"meta": {"key": "l4proto"}}, "right": "udp"}},
            {"flow": {"op": "add", "flowtable": "@f"}}]}},
    ]
}  # fmt: skip
"""As libnftables-json(5) writes a flowtable."""


class Known:
    """Connection tracking that a test knows."""

    def __init__(self, *flows):
        self.flows = list(flows)

    def of(self, _addresses):
        return self.flows

    def heard(self):
        return self.flows


def test_offloaded(monkeypatch):
    """The flow says so, and the rule that did it is named."""
    monkeypatch.setattr(foreign_rules.NftRunner, "query", lambda *_, **__: json.dumps(OFFLOADS))
    flow = Tracked("udp", ATTACKER, "192.0.2.1", 5060, "192.0.2.1", 5060, offloaded=True)
    rule = Rule("freeswitch", (PortRange(5060, 5061),))
    found = BypassSearch(before_translation=True, tracking=Known(flow)).look(ATTACKER, rule, 0)
    assert (found.cause, found.ours) == ("offload", True)
    assert "by table inet fast, chain forward: no rule sees its packets" in found.why
    told = Known(flow._replace(offloaded=False))
    assert BypassSearch(before_translation=True, tracking=told).look(ATTACKER, rule, 0).cause == "established"


def test_rules_that_cannot_be_read():
    """A translation that no readable rule makes is of legacy tables, which root alone may read."""
    flow = Tracked("udp", ATTACKER, "192.0.2.1", 15060, "192.0.2.1", 5060)
    rule = Rule("freeswitch", (PortRange(5060, 5060),), ("udp",))
    hidden = ForeignRules(hidden=("legacy tables (iptables-legacy-save)",))
    found = find(Seen(rule, 0, [flow], foreign=hidden))
    assert found.cause == "legacy"
    assert "legacy tables (iptables-legacy-save)" in found.why
    assert find(Seen(rule, 0, [flow])).cause == "translation"
    two = ForeignRules(translate=(ForeignRule("a", "150600"), ForeignRule("b", "dport 15060")))
    assert "by b;" in find(Seen(rule, 0, [flow], foreign=two)).why
