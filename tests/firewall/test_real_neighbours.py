"""Other firewalls of Debian, the real ones, beside sipguard: every step of their lives and of ours.

Each test has two hosts on which the others do the same things; sipguard runs on one of them. After each step all that is not
sipguard's must be the same on both, byte for byte, and a banned address must be rejected again.
"""

from __future__ import annotations

import contextlib
import re
import signal
import sys
import time
from typing import NamedTuple

import pytest
from limits import within
from running import RunningDaemon

from sipguard.cli.client import ask
from tests.foreign import dump
from tests.neighbours import Host
from tests.netns import namespace
from tests.probe import BACK, BANNED, Probe, lay

pytestmark = [pytest.mark.root, pytest.mark.lab]

PYTHON = sys.executable
LAPI = """
import json, sys
from http.server import BaseHTTPRequestHandler, HTTPServer
class Lapi(BaseHTTPRequestHandler):
    def do_GET(self):
        new = [{"duration": "4h", "id": 1, "origin": "lists", "scenario": "x", "scope": "Ip"}]
        new[0] |= {"type": "ban", "value": "192.0.2.99"}
        body = json.dumps({"new": new if "startup=true" in self.path else None, "deleted": None}).encode()
        self.send_response(200)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)
    do_HEAD = do_GET
HTTPServer(("127.0.0.1", 8080), Lapi).serve_forever()
"""
BOUNCER = """\
mode: MODE
update_frequency: 1s
log_mode: stdout
log_level: info
api_url: http://127.0.0.1:8080/
api_key: key
disable_ipv6: false
deny_action: DROP
deny_log: false
supported_decisions_types: [ban]
blacklists_ipv4: crowdsec-blacklists
blacklists_ipv6: crowdsec6-blacklists
ipset_type: nethash
iptables_chains: [INPUT]
nftables:
  ipv4: {enabled: true, set-only: false, table: crowdsec, chain: crowdsec-chain}
  ipv6: {enabled: true, set-only: false, table: crowdsec6, chain: crowdsec6-chain}
"""
NFTABLES = """\
flush ruleset
table inet filter {
  chain input { type filter hook input priority filter; policy accept; ct state established accept; tcp dport 22 accept; }
  set known { type ipv4_addr; elements = { 192.0.2.9 } }
}
"""
_SEED = re.compile(r"initval \S+")
IN_BACKGROUND = "setsid {} >/run/{}.out 2>&1 & echo $! >/run/{}.pid; "
WAIT = "for i in $(seq 100); do {} && exit 0; sleep 0.1; done; cat /run/*.out; exit 1"


class Neighbour(NamedTuple):
    """Another firewall: its packages, what its installation does, what it does at boot, in its life, and at its end."""

    packages: tuple[str, ...]
    install: str
    boot: str
    steps: tuple[str, ...]
    end: str = "true"


def daemon(name, command):
    """A shell command that starts a program that goes on."""
    return IN_BACKGROUND.format(command, name, name)


def stop(*names):
    """A shell command that ends such programs and waits for it."""
    one = (
        "P=$(cat /run/{0}.pid) && rm /run/{0}.pid && kill $P && "
        "for i in $(seq 100); do grep -qs '^State:.[^Z]' /proc/$P/status || break; sleep 0.05; done"
    )
    return "; ".join(one.format(name) for name in names)


_REACHED = "python3 -c \"import socket; socket.create_connection(('127.0.0.1', 8080))\" 2>/dev/null"
_BOUNCER = daemon("bouncer", "crowdsec-firewall-bouncer -c /etc/bouncer.yaml") + WAIT.format(
    # Its rules and addresses outlive it: that they are there tells nothing of the new one.
    "grep -q 'decision added' /run/bouncer.out && (nft list ruleset; ipset list) | grep -q 192.0.2.99"
)


def crowdsec(mode):
    """The bouncer, with a LAPI that lists one address."""
    bouncer = BOUNCER.replace("MODE", mode)
    return Neighbour(
        ("crowdsec-firewall-bouncer",),
        f"cat >/etc/lapi.py <<'END'\n{LAPI}END\ncat >/etc/bouncer.yaml <<'END'\n{bouncer}END",
        f"{daemon('lapi', 'python3 /etc/lapi.py')}({WAIT.format(_REACHED)}); {_BOUNCER}",
        (stop("bouncer"), _BOUNCER),
        stop("bouncer", "lapi"),
    )


NEIGHBOURS = {
    "nftables.service": Neighbour(
        (),
        f"cat >/etc/nftables.conf <<'END'\n{NFTABLES}END",
        "nft -f /etc/nftables.conf",
        (
            "nft -f /etc/nftables.conf",
            "nft flush ruleset",
            "nft -f /etc/nftables.conf",
            "nft flush ruleset; nft -f /etc/nftables.conf",
            "nft add element inet filter known '{ 192.0.2.10 }'",
        ),
        "nft flush ruleset",
    ),
    "netfilter-persistent": Neighbour(
        ("netfilter-persistent", "iptables-persistent"),
        "iptables -A INPUT -s 192.0.2.7/32 -j DROP; ip6tables -A INPUT -s 2001:db8::7/128 -j DROP; netfilter-persistent save",
        "netfilter-persistent start",
        (
            "netfilter-persistent save",
            "netfilter-persistent reload",
            "netfilter-persistent flush",
            "netfilter-persistent start",
        ),
    ),
    "ufw": Neighbour(
        ("ufw",),
        "mkdir -p /etc/ufw && cp /usr/share/ufw/iptables/*.rules /usr/share/ufw/user*.rules /usr/share/ufw/*.init "
        "/usr/share/ufw/ufw.conf /etc/ufw/ && chmod 640 /etc/ufw/*.rules; mkdir -p /run/lock; ufw --force enable",
        "/lib/ufw/ufw-init start",
        (
            "ufw allow 22/tcp",
            "ufw allow 5060/udp",
            "ufw deny from 192.0.2.77",
            "ufw reload",
            "ufw logging off",
            "ufw delete deny from 192.0.2.77",
            "ufw disable",
            "ufw --force enable",
            "/lib/ufw/ufw-init restart || /lib/ufw/ufw-init start",
        ),
        "ufw disable",
    ),
    "firewalld": Neighbour(
        ("firewalld", "python3-firewall", "python3-nftables", "python3-cap-ng"),
        "mkdir -p /run/dbus /run/firewalld; true",
        "rm -f /run/dbus/pid; mkdir -p /run/dbus; "
        + daemon("dbus", "dbus-daemon --system --nofork --nopidfile")
        + "sleep 0.5; "
        + daemon("firewalld", "/usr/bin/python3 /usr/sbin/firewalld --nofork --nopid")
        + WAIT.format("firewall-cmd --state >/dev/null 2>&1"),
        (
            "firewall-cmd --add-port=5060/udp",
            "firewall-cmd --permanent --add-rich-rule='rule family=ipv4 source address=192.0.2.0/24 drop'",
            "firewall-cmd --reload",
            "firewall-cmd --complete-reload",
            "firewall-cmd --panic-on; firewall-cmd --panic-off",
        ),
        stop("firewalld", "dbus"),
    ),
    "crowdsec": crowdsec("nftables"),
    "crowdsec with iptables": crowdsec("iptables"),
}
CASES = [
    *(pytest.param(name, "nftables", id=f"{name}-nftables") for name in NEIGHBOURS),
    *(pytest.param(name, "ipset", id=f"{name}-ipset") for name in NEIGHBOURS if name != "netfilter-persistent"),
    *(
        pytest.param(name, "iptables", id=f"{name}-iptables")
        for name in ("netfilter-persistent", "ufw", "crowdsec with iptables")
    ),
]


class Pair:
    """The host with sipguard and the one without."""

    def __init__(self, neighbour, nets, folder, *, legacy):
        self.neighbour = neighbour
        self.hosts = [
            Host(net, folder / name, *neighbour.packages, legacy=legacy)
            for net, name in zip(nets, ("with", "without"), strict=True)
        ]
        for host in self.hosts:
            lay(host.net)

    def both(self, command):
        """Let the other firewall do something on both; gives when that was done on ours."""
        self.hosts[1].run(command)
        self.hosts[0].run(command)
        done = time.monotonic()
        self.same(command)
        return done

    def same(self, what):
        """What is not sipguard's is the same on both."""
        found = []
        for host in self.hosts:
            with host.net.inside():
                # A set's seed is the kernel's own on each host.
                found.append({kind: [_SEED.sub("", line) for line in lines] for kind, lines in dump().items()})
        assert found[0] == found[1], what


@contextlib.contextmanager
def two_hosts(name, folder, backend):
    """A pair with the neighbour installed; its programs are ended at last."""
    with namespace("nft", "iptables", "ipset", "iptables-legacy") as ours, namespace() as theirs:
        pair = Pair(NEIGHBOURS[name], (ours, theirs), folder, legacy=backend == "iptables")
        try:
            yield pair
        finally:
            for host in pair.hosts:
                host.try_(pair.neighbour.end)


def sipguard_on(host, folder, backend):
    """A daemon of ours there."""
    (folder / "log").touch()
    jails = {"asterisk": {"logpath": str(folder / "log"), "bantime": 3600, "ignoreself": False}}
    return RunningDaemon(folder, jails, firewall=backend, prefix=host.prefix)


@pytest.mark.timed
@pytest.mark.parametrize(("name", "backend"), CASES)
def test_side_by_side(tmp_path, name, backend):
    """They are installed, live, and end while sipguard runs; sipguard starts, bans, reloads, is killed, and is removed."""
    with two_hosts(name, tmp_path, backend) as pair:
        neighbour, host = pair.neighbour, pair.hosts[0]
        pair.both(neighbour.install)
        pair.both(neighbour.boot)
        daemon = sipguard_on(host, tmp_path, backend).start()
        try:
            ask(
                daemon.socket,
                "ban",
                jail="asterisk",
                addresses=[BANNED, "2001:db8::5", *(f"203.0.113.{n}" for n in range(10, 60))],
            )
            pair.same("start and bans")
            with host.net.inside():
                probe = Probe()
            with probe:
                for step in (*neighbour.steps, neighbour.end, neighbour.boot):
                    time.sleep(0.2)
                    done = pair.both(step)
                    settled = done + BACK[backend]
                    daemon.wait_for(lambda settled=settled: time.monotonic() > max(settled, probe.through) + 1, step)
                    print(f"{step}: {max(0.0, probe.through - done):.3f} s")
                    assert probe.through < done + within(BACK[backend]), step
                    assert daemon.sipguard("firewall", "verify").stdout == "all there\n", step
                    assert len(daemon.banned("asterisk")) == 52
                    pair.same(f"{step}, and what sipguard put back")
            for number, ours in enumerate(("unban 203.0.113.10", "ban 203.0.113.10", "reload")):
                daemon.sipguard(*ours.split())
                pair.same(f"{number} {ours}")
            daemon.stop(signal.SIGKILL)
            pair.same("kill -9")
            pair.both(neighbour.boot if "start" in neighbour.boot else "true")
            daemon.start()
            pair.same("start after kill -9")
            daemon.sipguard("flush", "--yes")
            daemon.stop()
        finally:
            if daemon.process.poll() is None:
                daemon.stop()
        assert backend in host.run(f"{PYTHON} -m sipguard flush --yes --kernel -c {daemon.config}")
        pair.same("removal")


@pytest.mark.timed
@pytest.mark.parametrize("first", ["theirs", "ours"])
@pytest.mark.parametrize(("name", "backend"), CASES)
def test_boot(tmp_path, name, backend, first):
    """The next boot, in either order: they come up as they do alone, and the ban of before the boot is enforced."""
    with namespace() as ours, namespace() as theirs, two_hosts(name, tmp_path, backend) as pair:
        pair.both(pair.neighbour.install)
        daemon = sipguard_on(pair.hosts[0], tmp_path, backend).start()
        ask(daemon.socket, "ban", jail="asterisk", addresses=[BANNED])
        if name == "netfilter-persistent":
            pair.both("netfilter-persistent save")
        daemon.stop()
        for host, net in zip(pair.hosts, (ours, theirs), strict=True):
            host.boot(net)
            lay(net)
        daemon = sipguard_on(pair.hosts[0], tmp_path, backend)
        try:
            if first == "ours":
                daemon.start()
            done = pair.both(pair.neighbour.boot)
            if first == "theirs":
                done = time.monotonic()
                daemon.start()
            with ours.inside():
                probe = Probe()
            with probe:
                settled = done + BACK[backend]
                daemon.wait_for(lambda: time.monotonic() > max(settled, probe.through) + 1, "the ban")
            assert probe.through < done + within(BACK[backend]) + (within(2.0) if first == "theirs" else 0)
            assert daemon.sipguard("firewall", "verify").stdout == "all there\n"
            assert daemon.banned("asterisk") == {BANNED}
            pair.same("boot")
        finally:
            if daemon.process is not None and daemon.process.poll() is None:
                daemon.stop()
