"""A node gone wild, or taken over: what it writes is held or refused, and nothing of it is rejected that must not be."""

from __future__ import annotations

import contextlib
import ipaddress
import json
import subprocess
import time

import psutil
import pytest
import redis as redis_library
from needs import needs
from running import append

from sipguard.cli.client import ask
from tests.fleet.conftest import need_redis, serving
from tests.fleet.test_daemons import node
from tests.netns import namespace

OWN, OTHERS_OWN, CUSTOMER, PHONE = "198.51.100.2", "198.51.100.3", "203.0.113.77", "203.0.113.88"
LOGIN = (
    '[{date}] SECURITY[1]: res_security_log.c: SecurityEvent="SuccessfulAuth",EventTV="{date}T00:00:00.000+0000",'
    'Severity="Informational",Service="PJSIP",EventVersion="1",AccountID="1000",SessionID="abc",'
    'LocalAddress="IPV4/UDP/198.51.100.2/5060",RemoteAddress="IPV4/UDP/{address}/5060",UsingPassword="1"\n'
)


class Wild:
    """Writes what it likes below its own name, as the ACL lets it."""

    def __init__(self, client, name):
        self.client, self.name, self.number = client, name, 0

    def key(self, what):
        return f"sipguard:{self.name}:{what}"

    def beat(self, bans, **more):
        told = {"at": time.time(), "run": "wild", "number": self.number, "bans": bans, "version": "1", "addresses": []}
        self.client.sadd("sipguard:nodes", self.name)
        self.client.set(self.key("node"), json.dumps({**told, **more}))

    def put(self, what, networks, until):
        with self.client.pipeline(transaction=False) as pipe:
            for network in networks:
                pipe.zadd(self.key(what), {network: until})
            pipe.execute()

    def say(self, events):
        with self.client.pipeline(transaction=False) as pipe:
            for kind, network, until, at in events:
                self.number += 1
                fields = {"e": kind, "n": network, "u": until, "c": "reported", "j": "x", "r": "\x1b[31mred", "a": at}
                pipe.xadd(self.key("stream"), {**fields, "i": "wild", "q": self.number})
            pipe.execute()


@pytest.fixture
@needs("root")
def lab(tmp_path):
    """A daemon with an address of its own, a good node, and a client for wild ones."""
    need_redis()
    with namespace() as net, contextlib.ExitStack() as stack:
        for address in (OWN, OTHERS_OWN):
            subprocess.run(["ip", "-n", net.name, "address", "add", f"{address}/32", "dev", "lo"], check=True)
        inside = ("ip", "netns", "exec", net.name)
        server = stack.enter_context(serving(tmp_path / "redis", port=6379, prefix=inside))
        home = {"prefix": inside, "defaults": {"ignoreip": [CUSTOMER]}}
        daemon = stack.enter_context(node(tmp_path, server.url, "pbx1", **home))
        with net.inside():
            client = redis_library.Redis(port=6379, protocol=2)
            client.ping()
        stack.enter_context(contextlib.closing(client))
        daemon.rejected = lambda: {
            line.split()[2]
            for line in ask(daemon.socket, "firewall", what="show").splitlines()
            if line.startswith("feed fleet.")
        }
        daemon.node = lambda name: next((one for one in daemon.told()["nodes"] if one["name"] == name), None)
        yield daemon, client


def many(count):
    first = int(ipaddress.ip_address("198.18.0.0"))
    return [str(ipaddress.ip_address(first + n)) for n in range(count)]


def wait_working(daemon, condition, most=120.0):
    """Wait for what takes the daemon up to `most` seconds of processor time, however long a busy machine takes for those."""
    process = psutil.Process(daemon.process.pid)
    end = sum(process.cpu_times()[:2]) + most
    while not condition():
        assert sum(process.cpu_times()[:2]) < end, daemon.logged()[-3000:]
        time.sleep(1)


@pytest.mark.timeout(900)
def test_a_hundred_thousand_addresses(lab):
    """At once: nothing of it is read. One by one: it is held, and what came before is taken back. An operator may accept it."""
    daemon, client = lab
    until = time.time() + 3600
    wild = Wild(client, "wild")
    wild.put("bans:reported", many(100_000), until)
    wild.beat(100_000)
    daemon.wait_logged("Fleet: node wild is held: it publishes 100,000 bans, more than 50,000")
    drip = Wild(client, "drip")
    drip.beat(0)
    daemon.wait_for(lambda: daemon.node("drip"), "the second node")
    time.sleep(3)
    drip.say(("ban", address, until, time.time()) for address in many(10_000))  # more than 6,000
    daemon.wait_logged("Fleet: node drip is held: its bans grew from 0 to more than 6,000 within an hour")
    daemon.wait_for(lambda: not daemon.rejected(), "what came before is taken back")
    told = daemon.node("drip")
    assert told["refused"]["the node is held"] > 0
    assert "sipguard fleet accept wild" in daemon.sipguard("fleet").stdout
    daemon.sipguard("fleet", "accept", "wild")
    wait_working(daemon, lambda: daemon.told()["rejected"] == 100_000 == len(daemon.rejected()))


def test_what_must_not_be_rejected(lab):
    """Carriers, private networks, own addresses, other nodes' own, ignored ones, phones that have logged in, times to come."""
    daemon, client = lab
    log = daemon.folder / "asterisk.log"
    log.touch()
    daemon.write_jail("asterisk", logpath=str(log))
    daemon.sipguard("reload")
    append(log, LOGIN.format(date=time.strftime("%Y-%m-%d %H:%M:%S"), address=PHONE))
    good = Wild(client, "good")
    now = time.time()
    hour, year = now + 3600, now + 365 * 86_400
    good.put("bans:reported", ["203.0.113.200", "203.0.113.201"], hour)
    good.beat(2, addresses=[OTHERS_OWN])
    wild = Wild(client, "wild")
    good_ones = {"203.0.113.5", "203.0.113.128/26", "2001:db8:5::/64"}
    bad = [
        "203.0.0.0/8", "0.0.0.0/0", "::/0", "2001:db8::/32", "10.1.2.3", "127.0.0.1", "192.168.0.0/24", "nonsense", "",
        "203.0.113.5; flush ruleset", OWN, f"{OWN}/24", OTHERS_OWN, CUSTOMER, "203.0.113.64/24", PHONE, f"{PHONE}/29",
    ]  # fmt: skip
    wild.put("bans:reported", ["203.0.113.9", *bad[:8]], year)
    wild.put("unbans", ["203.0.113.200"], hour + 1000)
    wild.put("pardons", ["203.0.113.201"], hour + 1000)
    wild.beat(3)
    daemon.wait_for(lambda: {"203.0.113.200", "203.0.113.201"} <= daemon.rejected(), "the good node's bans")
    daemon.wait_for(lambda: daemon.node("wild"), "the wild node")
    time.sleep(3)
    wild.say(("ban", address, hour, now) for address in bad)
    wild.say(
        [("ban", "203.0.113.10", year, now), ("ban", "203.0.113.11", hour, year), ("ban", "203.0.113.12", "nan", now)]
    )
    wild.say([("unban", "203.0.113.200", hour + 1000, now), ("pardon", "203.0.113.201", hour + 1000, now)])
    client.xadd(wild.key("stream"), {"e": "ban"})
    client.xadd(wild.key("stream"), {b"\xff": b"\xff" * 100_000})
    wild.say(("ban", address, hour, now) for address in sorted(good_ones))
    daemon.wait_for(lambda: good_ones <= daemon.rejected(), "the wild node's good bans")
    assert daemon.rejected() == {*good_ones, "203.0.113.200", "203.0.113.201"}
    refused = daemon.node("wild")["refused"]
    assert refused["a time in the future"] >= 3
    assert refused["wider than /24"] >= 2
    assert refused["a fleet-wide unban: not in unban_from"] == 1
    assert refused["no event of a fleet"] == 2
    ignored = daemon.told()["ignored"]
    assert any(CUSTOMER in why for why in ignored), ignored
    assert any("logged in" in why for why in ignored), ignored
    shown = daemon.sipguard("explain", "203.0.113.5").stdout
    assert "node wild" in shown
    assert "\x1b" not in shown
    assert daemon.sipguard("explain", PHONE, check=False).returncode == 1
