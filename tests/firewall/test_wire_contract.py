"""What every backend that watches packets does alike (`FirewallWire`): copies to NFLOG, the meter, nothing of others' touched."""

from __future__ import annotations

import contextlib
import socket
import time
from typing import NamedTuple

import pytest
from limits import PATIENCE
from wire_foreign import HOST_RULES, host_rules, rules_of_others

from sipguard.errors import FirewallError
from sipguard.model import Ban, PortRange, Rule
from sipguard.sources.packets.nflog import Group
from sipguard.wire_model import Meter, Watch
from tests.backends import backend_of
from tests.netns import link, namespace

pytestmark = pytest.mark.root

BACKENDS = ["nftables by library", "nftables by program", "ipset", "iptables"]
CLIENT, OTHER, SERVER = "198.51.100.66", "198.51.100.67", "198.51.100.1"
CLIENT6, SERVER6 = "2001:db8::66", "2001:db8::1"
REQUESTS, ANSWERS, STREAMS = 5060, 5061, 5062
WATCH = Watch(((5060, 5061), (5080, 5080)), REQUESTS, ANSWERS, STREAMS, 5000)
SIP = Rule("sip", (PortRange(5060, 5061),), ("tcp", "udp"))
FAMILIES = [pytest.param(CLIENT, SERVER, id="ipv4"), pytest.param(CLIENT6, SERVER6, id="ipv6")]


class Copied(NamedTuple):
    """What came of a group."""

    prefix: bytes
    payload: bytes


class Lab:
    """Two namespaces, and the server's backend with its three groups."""

    def __init__(self, backend, stack):
        self.net = stack.enter_context(namespace("nft", "iptables-save"))
        self.server = stack.enter_context(namespace("nft"))
        link(self.net, [f"{CLIENT}/24", f"{OTHER}/24", f"{CLIENT6}/64"], self.server, [f"{SERVER}/24", f"{SERVER6}/64"])
        self.stack = stack
        self.backend = backend
        with self.server.inside():
            self.groups = {number: Group(number) for number in (REQUESTS, ANSWERS, STREAMS)}
            self.firewall = backend_of(backend)
            self.firewall.open([SIP])
        stack.callback(self.firewall.close)
        for group in self.groups.values():
            stack.callback(group.close)

    def inside(self, function, *arguments):
        """Call something of the firewall's in its namespace."""
        with self.server.inside():
            return function(*arguments)

    def udp(self, client, server, *, port=5060, source_port=0):
        """A client's socket and the server's, joined."""
        family = socket.AF_INET6 if ":" in client else socket.AF_INET
        with self.server.inside():
            there = self.stack.enter_context(socket.socket(family, socket.SOCK_DGRAM))
        there.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEPORT, 1)
        there.bind((server, port))
        there.settimeout(0.3)
        with self.net.inside():
            here = self.stack.enter_context(socket.socket(family, socket.SOCK_DGRAM))
        here.bind((client, source_port))
        here.connect((server, port))
        return here, there

    def copies(self, number, count, *, patience=PATIENCE):
        """As many copies as are expected of a group, and what more comes meanwhile."""
        found, end = [], time.monotonic() + patience
        while len(found) < count and time.monotonic() < end:
            found += self.groups[number].read(100)[0]
            time.sleep(0.01)
        return [Copied(*one) for one in found]

    def none(self, number):
        """Whether nothing comes within the time that the kernel may collect."""
        time.sleep(0.05)
        return self.groups[number].read(100)[0] == []


@pytest.fixture(params=BACKENDS)
def lab(request):
    """Each backend in turn."""
    with contextlib.ExitStack() as stack:
        yield Lab(request.param, stack)


@pytest.mark.parametrize(("client", "server"), FAMILIES)
def test_copies(lab, client, server):
    """Requests, and final answers; no provisional ones, no answers that come in, nothing of other ports."""
    lab.inside(lab.firewall.wire.watch, WATCH)
    here, there = lab.udp(client, server)
    here.send(b"REGISTER sip:a SIP/2.0\r\n\r\n")
    assert [one.payload[-26:] for one in lab.copies(REQUESTS, 1)] == [b"REGISTER sip:a SIP/2.0\r\n\r\n"]
    _, place = there.recvfrom(2000)
    here.send(b"SIP/2.0 200 OK\r\n\r\n")
    there.sendto(b"SIP/2.0 100 Trying\r\n\r\n", place)
    there.sendto(b"OPTIONS sip:b SIP/2.0\r\n\r\n", place)
    assert lab.none(REQUESTS)
    assert lab.none(ANSWERS)
    there.sendto(b"SIP/2.0 200 OK\r\n\r\n", place)
    (accepted,) = lab.copies(ANSWERS, 1)
    assert (accepted.prefix, accepted.payload[-18:]) == (b"", b"SIP/2.0 200 OK\r\n\r\n")
    there.sendto(b"SIP/2.0 401 No\r\n\r\n", place)
    (failed,) = lab.copies(ANSWERS, 1)
    assert (failed.prefix, failed.payload[-18:]) == (b"failed", b"SIP/2.0 401 No\r\n\r\n")
    (flush,) = lab.copies(REQUESTS, 1)
    assert flush.prefix == b"flush"
    elsewhere, _ = lab.udp(client, server, port=6000)
    elsewhere.send(b"REGISTER sip:a SIP/2.0\r\n\r\n")
    assert lab.none(REQUESTS)


@pytest.mark.parametrize(("client", "server"), FAMILIES)
def test_streams(lab, client, server):
    """TCP both ways, but for the bare SYN; the server's segments are marked."""
    lab.inside(lab.firewall.wire.watch, WATCH)
    family = socket.AF_INET6 if ":" in client else socket.AF_INET
    with lab.server.inside():
        listening = lab.stack.enter_context(socket.socket(family, socket.SOCK_STREAM))
    listening.bind((server, 5060))
    listening.listen()
    with lab.net.inside():
        here = lab.stack.enter_context(socket.socket(family, socket.SOCK_STREAM))
    here.connect((server, 5060))
    there, _ = listening.accept()
    lab.stack.callback(there.close)
    here.sendall(b"hello")
    there.recv(10)
    there.sendall(b"answer")
    copies = lab.copies(STREAMS, 5)
    assert [one.prefix for one in copies][:3] == [b"sent", b"", b""]
    assert any(one.payload.endswith(b"hello") and not one.prefix for one in copies)
    assert any(one.payload.endswith(b"answer") and one.prefix == b"sent" for one in copies)


def test_banned_is_not_copied(lab):
    """Whoever is banned costs no reading: with nftables, where bans come first."""
    if lab.firewall.name != "nftables":
        pytest.skip("iptables copies packets in raw, before the bans in INPUT")
    lab.inside(lab.firewall.wire.watch, WATCH)
    lab.inside(lab.firewall.ban, [Ban(CLIENT, "sip", 0, time.time() + 60)])
    here, _ = lab.udp(CLIENT, SERVER)
    here.send(b"REGISTER sip:a SIP/2.0\r\n\r\n")
    assert lab.none(REQUESTS)


def test_limit_of_one_address(lab):
    """More of one address than is copied: told of that address, and another one is copied all the same."""
    lab.inside(lab.firewall.wire.watch, WATCH)
    here, _ = lab.udp(CLIENT, SERVER)
    other, _ = lab.udp(OTHER, SERVER)
    for _ in range(400):
        here.send(b"x")
    copies = lab.copies(REQUESTS, 201)
    marks = [one for one in copies if one.prefix]
    assert {one.prefix for one in marks} == {b"source"}
    assert all(one.payload[12:16] == socket.inet_aton(CLIENT) for one in marks)
    assert 150 <= len(copies) - len(marks) <= 300
    other.send(b"other")
    found = []
    while not any(one.payload.endswith(b"other") for one in found):  # behind what is left of the first
        found = lab.copies(REQUESTS, 1)
        assert found


def through(here, there, count):
    """How many of so many requests get through."""
    for number in range(count):
        here.send(b"INVITE sip:%d SIP/2.0\r\n\r\n" % number)
    got = 0
    with contextlib.suppress(TimeoutError):
        while True:
            there.recv(100)
            got += 1
    return got


def metering(lab):
    """What watches packets on this backend, at work and able to hold back."""
    wire = lab.firewall.wire
    lab.inside(wire.watch, WATCH)
    if not wire.can_meter:
        pytest.skip("this backend cannot meter, and says so")
    return wire


@pytest.mark.parametrize(("client", "server"), FAMILIES)
def test_meter(lab, client, server):
    """Exactly as many requests as are allowed, but for known ports; until it is lifted or its time is over."""
    wire = metering(lab)
    here, there = lab.udp(client, server)
    assert through(here, there, 10) == 10
    lab.inside(wire.meter, [Meter(client, time.time() + 60, 3, ((client, 5070),))])
    assert [entry.address for entry in lab.inside(wire.metered)] == [client]
    lab.inside(wire.meter, [Meter(client, time.time() + 60, 5)])
    assert through(here, there, 10) == 3
    assert through(here, there, 10) == 0
    here.close()
    there.close()
    known, there = lab.udp(client, server, source_port=5070)
    assert through(known, there, 10) == 10
    known.close()
    there.close()
    here, there = lab.udp(client, server)
    lab.inside(wire.unmeter, [client, OTHER])
    assert through(here, there, 10) == 10
    end = time.time() + 3
    lab.inside(wire.meter, [Meter(client, end, 1)])
    assert through(here, there, 5) == 1
    time.sleep(max(0.0, end + 1 - time.time()))
    assert through(here, there, 5) == 5


def test_meter_of_a_network(lab):
    """A /64, by which jails count IPv6, has its few requests together."""
    wire = metering(lab)
    here, there = lab.udp(CLIENT6, SERVER6)
    lab.inside(wire.meter, [Meter("2001:db8::/64", time.time() + 60, 2)])
    assert through(here, there, 10) == 2
    assert [entry.address for entry in lab.inside(wire.metered)] == ["2001:db8::/64"]


def test_meter_for_longer(lab):
    """Several jails meter an address: the longest time counts, and it gets no more requests for it."""
    wire = metering(lab)
    here, there = lab.udp(CLIENT, SERVER)
    now = time.time()
    lab.inside(wire.meter, [Meter(CLIENT, now + 3, 2), Meter(OTHER, now + 60, 2), Meter(OTHER, now + 30, 2)])
    lab.inside(wire.meter, [Meter(CLIENT, now + 60, 5)])
    assert through(here, there, 10) == 2
    time.sleep(max(0.0, now + 4.1 - time.time()))
    assert through(here, there, 10) == 0
    assert all(entry.until > now + 55 for entry in lab.inside(wire.metered))
    assert len(lab.inside(wire.metered)) == 2


@pytest.mark.parametrize(("client", "server"), FAMILIES)
def test_meter_that_lets_nothing_through(lab, client, server):
    """At once, or once the few have been enough; it is lifted as others are."""
    wire = metering(lab)
    here, there = lab.udp(client, server)
    for orders in ([0], [3, 0], [0, 5]):
        for requests in orders:
            lab.inside(wire.meter, [Meter(client, time.time() + 60, requests, ((client, 5070),))])
        assert through(here, there, 10) == 0
        assert [entry.address for entry in lab.inside(wire.metered)] == [client]
        lab.inside(wire.unmeter, [client])
        assert through(here, there, 10) == 10
        assert lab.inside(wire.metered) == []


def test_known_flows_of_a_network(lab):
    """A phone in a /64 that is metered goes on, and its neighbour does not."""
    wire = metering(lab)
    lab.inside(wire.meter, [Meter("2001:db8::/64", time.time() + 60, 1, ((CLIENT6, 5070),))])
    known, there = lab.udp(CLIENT6, SERVER6, source_port=5070)
    assert through(known, there, 10) == 10
    known.close()
    there.close()
    here, there = lab.udp(CLIENT6, SERVER6)
    assert through(here, there, 10) == 1


def test_meter_of_an_earlier_run(lab):
    """Who is metered stays so across a restart, is known, counted, put back with the rules, and can be let through."""
    wire = metering(lab)
    lab.inside(wire.meter, [Meter(CLIENT, time.time() + 60, 3)])
    again = lab.inside(backend_of, lab.backend)
    lab.stack.callback(again.close)
    lab.inside(again.open, [SIP])
    lab.inside(again.wire.watch, WATCH)
    assert [entry.address for entry in lab.inside(again.wire.metered)] == [CLIENT]
    assert lab.inside(again.wire.watched).metered == 1
    lab.inside(again.wire.unmeter, [CLIENT])
    assert lab.inside(again.wire.metered) == []


def test_meter_while_the_table_is_gone(lab):
    """Others have flushed it, and somebody guesses before it is put back: he is metered with it."""
    wire = lab.firewall.wire
    if lab.firewall.name != "nftables":
        pytest.skip("ipset's sets stay when iptables is flushed")
    lab.inside(wire.watch, WATCH)
    lab.server.run("nft", "flush", "ruleset")
    with pytest.raises(FirewallError):
        lab.inside(wire.meter, [Meter(CLIENT, time.time() + 60, 3)])
    lab.inside(lab.firewall.open, [SIP])
    assert [entry.address for entry in lab.inside(wire.metered)] == [CLIENT]


def test_flush_and_put_back(lab):
    """Others flush everything: it is told, and the next `open` brings rules and meter back; nothing is left in the end."""
    wire = lab.firewall.wire
    lab.inside(wire.watch, WATCH)
    if wire.can_meter:
        lab.inside(wire.meter, [Meter(CLIENT, time.time() + 60, 3)])
    shown = lab.inside(wire.show)
    assert shown
    with lab.server.inside():
        if lab.firewall.name == "iptables":
            for table in ("raw", "mangle"):
                lab.server.run("iptables-legacy", "-t", table, "-F")
                lab.server.run("iptables-legacy", "-t", table, "-X")
        else:
            lab.server.run("nft", "flush", "ruleset")
        assert any("sipguard" in problem for problem in (time.sleep(5.1), lab.firewall.verify())[1])
        lab.firewall.open([SIP])
        time.sleep(5.1)
        assert lab.firewall.verify() == []
        if lab.firewall.name != "nftables":
            assert wire.show() == shown
        if wire.can_meter:
            assert [entry.address for entry in wire.metered()] == [CLIENT]
        lab.firewall.flush()
        assert "NFLOG" not in host_rules(lab.server)
        assert "sipguard" not in host_rules(lab.server)


def test_others_are_untouched(lab):
    """Rules of the host are as they were, in their order: with the watch, and after it."""
    with lab.server.inside():
        name = lab.firewall.name
        for command in HOST_RULES[name]:
            lab.server.run("sh", "-c", command)
        before = rules_of_others(lab.server, name)
        lab.firewall.wire.watch(WATCH)
        lab.firewall.wire.watch(WATCH)
        assert rules_of_others(lab.server, name) == before
        lab.firewall.wire.watch(None)
        assert rules_of_others(lab.server, name) == before
        assert before
