"""What a banned address's packets meet: an attacker and a server in namespaces of their own, joined by a cable."""

from __future__ import annotations

import contextlib
import ipaddress
import socket
import threading
import time

import pytest

from sipguard.firewall import ipset_text
from sipguard.firewall.choose import open_firewall
from sipguard.model import Ban, PortRange, Rule
from tests.backends import backend_of
from tests.netns import SO_TIMESTAMP, arrival, link, namespace

pytestmark = pytest.mark.root

SIP = Rule("asterisk", (PortRange(5060, 5061),), ("tcp", "udp"))
ATTACKER, NEIGHBOUR, SERVER = "198.51.100.66", "198.51.100.67", "198.51.100.1"
ATTACKER6, NEIGHBOUR6, SERVER6 = "2001:db8::66", "2001:db8::67", "2001:db8::1"
FAMILIES = [
    pytest.param(ATTACKER, NEIGHBOUR, SERVER, "198.51.100.64/29", id="ipv4"),
    pytest.param(ATTACKER6, NEIGHBOUR6, SERVER6, "2001:db8::66/127", id="ipv6"),
]
WAIT = 0.25
"""Seconds after which a packet that did not come over the cable will not come."""


BACKENDS = ["nftables", "ipset", "iptables", "nftables as nobody", "ipset as nobody"]


class Lab:
    """The two ends, and a server's sockets on the ports that the tests use."""

    def __init__(self, attacker, server, stack, backend="nftables"):
        self.attacker, self.server = attacker, server
        self.stack = stack
        self.backend = backend

    def listen(self, kind, address, port):
        with self.server.inside():
            end = _socket(kind, address)
            self.stack.callback(end.close)
            end.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            end.bind((address, port))
            if kind == socket.SOCK_STREAM:
                end.listen()
        return end

    def connect(self, kind, source, target, port):
        with self.attacker.inside():
            end = _socket(kind, source)
            self.stack.callback(end.close)
            end.bind((source, 0))
            end.connect((target, port))
        return end

    def firewall(self):
        """The server's backend, not opened; to be called in its namespace."""
        firewall = backend_of(self.backend)
        self.stack.callback(firewall.close)
        return firewall

    def ban(self, *addresses, rule=SIP):
        """Ban as the daemon would, in the server's namespace."""
        with self.server.inside():
            firewall = self.firewall()
            firewall.open([rule])
            now = time.time()
            firewall.ban([Ban(address, rule.jail, now, now + 60) for address in addresses])
        return firewall


def _socket(kind, address):
    end = socket.socket(socket.AF_INET6 if ":" in address else socket.AF_INET, kind)
    end.settimeout(WAIT)
    return end


def arrives(sender, listener):
    """Whether a datagram gets through now; the sender's refusal raises."""
    # What came back is told on the next call. Where nothing did, a busy machine may be slow to deliver: it is asked again.
    for _ in range(4):
        sender.send(b"OPTIONS sip:example.com SIP/2.0\r\n\r\n")
        with contextlib.suppress(TimeoutError):
            return bool(listener.recv(2000))
    return False


@pytest.fixture(params=BACKENDS)
def lab(request):
    """Attacker and server, by each backend in turn."""
    with laid(request.param) as made:
        yield made


@pytest.fixture
def nft_lab():
    """The same for what nftables alone does."""
    with laid("nftables") as made:
        yield made


@contextlib.contextmanager
def laid(backend):
    with namespace("nft") as attacker, namespace("nft") as server, contextlib.ExitStack() as stack:
        link(
            attacker,
            [f"{ATTACKER}/24", f"{NEIGHBOUR}/24", f"{ATTACKER6}/64", f"{NEIGHBOUR6}/64"],
            server,
            [f"{SERVER}/24", f"{SERVER6}/64"],
        )
        yield Lab(attacker, server, stack, backend)


@pytest.mark.parametrize("by_network", [False, True], ids=["address", "network"])
@pytest.mark.parametrize(("attacker", "neighbour", "server", "network"), FAMILIES)
def test_udp(lab, attacker, neighbour, server, network, by_network):
    """The banned address is told that the port is unreachable; other ports are open to it, and all to its neighbour."""
    sip, media = lab.listen(socket.SOCK_DGRAM, server, 5060), lab.listen(socket.SOCK_DGRAM, server, 10000)
    flow = lab.connect(socket.SOCK_DGRAM, attacker, server, 5060)
    assert arrives(flow, sip)
    lab.ban(network if by_network else attacker)
    with pytest.raises(ConnectionRefusedError):
        arrives(flow, sip)
    assert arrives(lab.connect(socket.SOCK_DGRAM, attacker, server, 10000), media)
    if not by_network:
        assert arrives(lab.connect(socket.SOCK_DGRAM, neighbour, server, 5060), sip)


@pytest.mark.parametrize("backend", ["nftables", "ipset", "ipset as nobody"])
@pytest.mark.parametrize("by_network", [False, True], ids=["address", "network"])
@pytest.mark.parametrize(("attacker", "neighbour", "server", "network"), FAMILIES)
def test_rejected_packets_are_counted(backend, attacker, neighbour, server, network, by_network):
    """Each rejected packet counts once, to the address or the network around it; what is let through does not."""
    with laid(backend) as lab:
        firewall = lab.ban(network if by_network else attacker)
        banned, open_port = (lab.connect(socket.SOCK_DGRAM, attacker, server, port) for port in (5060, 10000))
        for flow in (banned, banned, banned, open_port):
            with contextlib.suppress(ConnectionRefusedError):
                flow.send(b"x")
            with contextlib.suppress(ConnectionRefusedError, TimeoutError):
                flow.recv(1)
        with lab.server.inside():
            assert firewall.rejected(attacker) == 3
            assert sum(count for (jail, _), count in firewall.rejected_by_jail().items() if jail == "asterisk") == 3
            if not by_network:
                assert firewall.rejected(neighbour) is None


def test_ipv6_prefix(lab):
    """A /64, by which jails ban IPv6, rejects who is in it and nobody else, and counts what it rejects."""
    sip = lab.listen(socket.SOCK_DGRAM, SERVER6, 5060)
    flow = lab.connect(socket.SOCK_DGRAM, ATTACKER6, SERVER6, 5060)
    firewall = lab.ban("2001:db8:0:1::/64")
    assert arrives(flow, sip)
    with lab.server.inside():
        firewall.ban([Ban("2001:db8::/64", "asterisk", 0, time.time() + 60)])
    with pytest.raises(ConnectionRefusedError):
        arrives(flow, sip)
    with lab.server.inside():
        if firewall.name != "iptables":
            assert firewall.rejected(ATTACKER6) >= 1
            assert firewall.rejected("2001:db8:0:1::5") == 0
        firewall.unban([Ban("2001:db8::/64", "asterisk", 0, 0)])
    assert arrives(flow, sip)


@pytest.mark.parametrize(("attacker", "neighbour", "server", "network"), FAMILIES)
def test_tcp(lab, attacker, neighbour, server, network):
    """A banned address's connection is reset at once, a live one too; other ports and the neighbour are let in."""
    lab.listen(socket.SOCK_STREAM, server, 5061)
    lab.listen(socket.SOCK_STREAM, server, 8089)
    live = lab.connect(socket.SOCK_STREAM, attacker, server, 5061)
    lab.ban(attacker)
    # A rule for any protocol cannot reset: ICMP is told instead, which TCP over IPv6 takes for a passing trouble.
    told = TimeoutError if lab.backend == "iptables" else ConnectionResetError
    with pytest.raises((ConnectionRefusedError, told)):
        lab.connect(socket.SOCK_STREAM, attacker, server, 5061)
    live.send(b"x")
    with pytest.raises(told):
        live.recv(1)
    lab.connect(socket.SOCK_STREAM, attacker, server, 8089)
    lab.connect(socket.SOCK_STREAM, neighbour, server, 5061)


def test_all_ports(lab):
    """A jail without ports rejects every one, whatever the protocol; pings too."""
    lab.listen(socket.SOCK_STREAM, SERVER, 8089)
    media = lab.listen(socket.SOCK_DGRAM, SERVER, 10000)
    lab.ban(ATTACKER, rule=Rule("recidive"))
    with pytest.raises(ConnectionRefusedError):
        lab.connect(socket.SOCK_STREAM, ATTACKER, SERVER, 8089)
    with pytest.raises(ConnectionRefusedError):
        arrives(lab.connect(socket.SOCK_DGRAM, ATTACKER, SERVER, 10000), media)
    assert arrives(lab.connect(socket.SOCK_DGRAM, NEIGHBOUR, SERVER, 10000), media)


def test_drop(lab):
    """With the verdict drop the attacker hears nothing."""
    sip = lab.listen(socket.SOCK_DGRAM, SERVER, 5060)
    lab.listen(socket.SOCK_STREAM, SERVER, 5060)
    lab.ban(ATTACKER, rule=Rule("asterisk", SIP.ports, SIP.protocols, "drop"))
    flow = lab.connect(socket.SOCK_DGRAM, ATTACKER, SERVER, 5060)
    assert not arrives(flow, sip)
    with pytest.raises(TimeoutError):
        lab.connect(socket.SOCK_STREAM, ATTACKER, SERVER, 5060)


def test_unban_and_flush(lab):
    """An unban lets the address through again, and so does a flush."""
    sip = lab.listen(socket.SOCK_DGRAM, SERVER, 5060)
    firewall = lab.ban(ATTACKER)
    flow = lab.connect(socket.SOCK_DGRAM, ATTACKER, SERVER, 5060)
    with pytest.raises(ConnectionRefusedError):
        arrives(flow, sip)
    with lab.server.inside():
        firewall.unban([Ban(ATTACKER, "asterisk", 0, 0)])
    assert arrives(flow, sip)
    lab.ban(ATTACKER)
    with lab.server.inside():
        firewall.flush()
    assert arrives(flow, sip)


def test_expires_in_the_kernel(lab):
    """The ban ends by itself: nobody calls anything."""
    sip = lab.listen(socket.SOCK_DGRAM, SERVER, 5060)
    with lab.server.inside():
        firewall = lab.firewall()
        firewall.open([SIP])
        firewall.ban([Ban(ATTACKER, "asterisk", 0, time.time() + 3)])
    flow = lab.connect(socket.SOCK_DGRAM, ATTACKER, SERVER, 5060)
    with pytest.raises(ConnectionRefusedError):
        arrives(flow, sip)
    if not firewall.ends_bans:
        return  # the daemon's timer does it, and has a test of its own
    time.sleep(2)
    for _ in range(200):
        with contextlib.suppress(ConnectionRefusedError):
            if arrives(flow, sip):
                return
    pytest.fail("the ban does not end")


ESTABLISHED = """
add table inet host
add chain inet host early {{ type filter hook prerouting priority {priority}; policy accept; }}
add chain inet host input {{ type filter hook input priority {priority}; policy accept; }}
add rule inet host early ct state established,related accept
add rule inet host input ct state established,related accept
"""


@pytest.mark.parametrize("priority", [-400, -150, 0])
def test_established_flow(nft_lab, priority):
    """A flow that another firewall accepts as established is stopped, wherever that firewall sits."""
    nft_lab.server.run("nft", "-f", "-", script=ESTABLISHED.format(priority=priority))
    sip = nft_lab.listen(socket.SOCK_DGRAM, SERVER, 5060)
    flow = nft_lab.connect(socket.SOCK_DGRAM, ATTACKER, SERVER, 5060)
    assert arrives(flow, sip)
    sip.sendto(b"SIP/2.0 200 OK\r\n\r\n", flow.getsockname())
    assert flow.recv(100)
    assert arrives(flow, sip)
    nft_lab.ban(ATTACKER)
    with pytest.raises(ConnectionRefusedError):
        arrives(flow, sip)


def test_dnat(nft_lab):
    """The port that counts is the one the packet came to, not the one a DNAT sends it on to, as Docker's does."""
    nft_lab.server.run(
        "nft",
        "-f",
        "-",
        script="add table ip nat\nadd chain ip nat pre { type nat hook prerouting priority -100; }\n"
        "add rule ip nat pre udp dport 5060 redirect to :15060\n",
    )
    sip = nft_lab.listen(socket.SOCK_DGRAM, SERVER, 15060)
    flow = nft_lab.connect(socket.SOCK_DGRAM, ATTACKER, SERVER, 5060)
    assert arrives(flow, sip)
    nft_lab.ban(ATTACKER)
    with pytest.raises(ConnectionRefusedError):
        arrives(flow, sip)


def test_hole_in_a_network(nft_lab):
    """A network whose part is banned for longer is still rejected on both sides of the part, and in it."""
    sip = nft_lab.listen(socket.SOCK_DGRAM, SERVER, 5060)
    nft_lab.ban("198.51.100.66/31")
    with nft_lab.server.inside():
        firewall = open_firewall("nftables", clock=time.time)
        firewall.open([SIP])
        firewall.ban([Ban("198.51.100.64/26", "asterisk", 0, time.time() + 30)])
    for source in (ATTACKER, NEIGHBOUR):
        with pytest.raises(ConnectionRefusedError):
            arrives(nft_lab.connect(socket.SOCK_DGRAM, source, SERVER, 5060), sip)
    with nft_lab.server.inside():
        firewall.unban([Ban("198.51.100.66/31", "asterisk", 0, 0)])
        assert [entry.address for entry in firewall.entries()] == ["198.51.100.64/26"]
    with pytest.raises(ConnectionRefusedError):
        arrives(nft_lab.connect(socket.SOCK_DGRAM, ATTACKER, SERVER, 5060), sip)


def test_established_flow_stops_at_once(lab):
    """A flow that is established, and accepted by an earlier rule of the host's, stops within 20 ms of the ban."""
    program = "iptables-legacy" if lab.backend == "iptables" else "iptables"
    lab.server.run(program, "-A", "INPUT", "-m", "conntrack", "--ctstate", "ESTABLISHED,RELATED", "-j", "ACCEPT")
    sip = lab.listen(socket.SOCK_DGRAM, SERVER, 5060)
    neighbours = lab.connect(socket.SOCK_DGRAM, NEIGHBOUR, SERVER, 5060)
    flow = lab.connect(socket.SOCK_DGRAM, ATTACKER, SERVER, 5060)
    assert arrives(flow, sip)
    sip.sendto(b"SIP/2.0 200 OK\r\n\r\n", flow.getsockname())
    assert flow.recv(100)
    sip.setsockopt(socket.SOL_SOCKET, SO_TIMESTAMP, 1)
    arrived, end = [], threading.Event()

    def attack():
        while not end.wait(0.001):
            with contextlib.suppress(ConnectionRefusedError):
                flow.send(b"x")

    def watch():
        while not end.is_set():
            with contextlib.suppress(TimeoutError):
                arrived.append(arrival(sip))

    threads = [threading.Thread(target=attack), threading.Thread(target=watch)]
    for thread in threads:
        thread.start()
    while len(arrived) < 20:
        time.sleep(0.01)
    lab.ban(ATTACKER)
    banned = time.time()
    time.sleep(0.2)
    end.set()
    for thread in threads:
        thread.join()
    assert arrived[-1] - banned < 0.02
    assert arrives(neighbours, sip)


@pytest.mark.parametrize("backend", ["nftables", "ipset", "ipset as nobody"])
@pytest.mark.parametrize(("attacker", "server"), [(ATTACKER, SERVER), (ATTACKER6, SERVER6)], ids=["ipv4", "ipv6"])
@pytest.mark.parametrize("by_network", [False, True], ids=["address", "network"])
def test_heavy_hitters_are_dropped(backend, attacker, server, by_network):
    """Who goes on sending hard is told no more that it is rejected, and again once it has calmed down; all is counted."""
    with laid(backend) as lab:
        for limit in ("net.ipv4.icmp_ratelimit=0", "net.ipv6.icmp.ratelimit=0"):
            lab.server.run("sysctl", "-qw", limit)
        lab.listen(socket.SOCK_DGRAM, server, 5060)
        banned = f"{attacker}/{126 if ':' in attacker else 30}" if by_network else attacker
        firewall = lab.ban(str(ipaddress.ip_network(banned, strict=False)) if by_network else banned)
        flow = lab.connect(socket.SOCK_DGRAM, attacker, server, 5060)
        told = 0
        for _ in range(400):
            try:
                flow.send(b"x")
            except ConnectionRefusedError:
                told += 1
        assert 30 <= told <= 200
        with lab.server.inside():
            assert firewall.rejected(attacker) == 400 - told
        time.sleep(1.5)
        with pytest.raises(ConnectionRefusedError):
            arrives(flow, flow)


def test_without_hashlimit(monkeypatch, caplog):
    """A kernel without that match: bans are made all the same, nobody is dropped, and it is said once."""
    with laid("ipset") as lab, lab.server.inside():
        monkeypatch.setitem(ipset_text.HEAVY, "4", "-m no_such_match")
        monkeypatch.setitem(ipset_text.HEAVY, "6", "-m no_such_match")
        firewall = lab.firewall()
        firewall.open([SIP])
        firewall.open([SIP])
        assert firewall.verify() == []
        assert "no_such_match" not in firewall.show()
        assert caplog.text.count("not dropped") == 1
