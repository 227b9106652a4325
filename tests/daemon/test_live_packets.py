"""Live packets: a SIP server and its clients in namespaces of their own, and the daemon that sees nothing but their packets."""

from __future__ import annotations

import socket
import subprocess
import tempfile
import time
from pathlib import Path

import pytest
from limits import within
from wire_lab import GUESSER, GUESSER6, OTHER, PHONE, SERVER, Server, WireLab, wire_lab

from sipguard.daemon.packets import GONE, NEW_PORTS, RESTARTED
from sipguard.sources.packets.nflog import Group
from tests.as_nobody import USER, setpriv
from tests.netns import LEGACY, link, namespace

pytestmark = pytest.mark.root


def guess(client, times):
    """Fail so many times, or until rejected; gives the number of answers."""
    done = 0
    try:
        for _ in range(times):
            assert client.register() == 403
            done += 1
    except (ConnectionRefusedError, ConnectionResetError, TimeoutError):
        pass
    return done


@pytest.mark.parametrize(
    ("address", "banned"), [(GUESSER, GUESSER), (GUESSER6, "2001:db8:0:66::/64")], ids=["ipv4", "ipv6"]
)
@pytest.mark.parametrize("kind", [socket.SOCK_DGRAM, socket.SOCK_STREAM], ids=["udp", "tcp"])
def test_banned(tmp_path, kind, address, banned):
    """Who fails five times is banned by what the packets show; a phone that logs in is not."""
    with wire_lab(tmp_path) as lab:
        phone = lab.client(PHONE, kind=kind)
        assert [phone.register(response="a" * 32) for _ in range(10)] == [200] * 10
        assert guess(lab.client(address, kind=kind), 5) == 5
        lab.daemon.wait_for(lambda: lab.banned() == {banned}, "the ban")
        assert not phone.rejected()
        status = lab.wire()
        assert (status["problem"], status["ports"], status["limited"]) == (None, "5060-5061, 5080-5081", 0)
        assert sum(status["packets"].values()) >= 30
        story = lab.daemon.sipguard("explain", banned).stdout
        assert f"proven: REGISTER as 1000 over {'udp' if kind == socket.SOCK_DGRAM else 'tcp'} answered 403" in story
        assert "sipguard_wire_packets_total" in lab.metrics() or "sipguard_wire_packets" in lab.metrics()


@pytest.mark.parametrize("backend", ["ipset", "iptables"])
def test_other_backends(tmp_path, backend):
    """With NFLOG targets of iptables the same is seen; what is flushed is put back."""
    prefix = ["sh", "-c", f'{LEGACY if backend == "iptables" else ""}exec "$@"', "sh"]
    with wire_lab(tmp_path, backend=backend, prefix=prefix) as lab:
        assert guess(lab.client(), 5) == 5
        lab.daemon.wait_for(lambda: lab.banned() == {GUESSER}, "the ban")
        program = "iptables-legacy" if backend == "iptables" else "iptables"
        lab.server_net.run(program, "-w", "-t", "raw", "-F")
        lab.daemon.wait_for(lambda: "NFLOG" in lab.server_net.run(program, "-w", "-t", "raw", "-S"), "what was flushed")
        assert guess(lab.client(OTHER), 5) == 5
        lab.daemon.wait_for(lambda: lab.banned() == {GUESSER, OTHER}, "the ban")


def test_fragments(tmp_path):
    """Credentials behind padding that makes the request several fragments are read."""
    with wire_lab(tmp_path) as lab:
        client = lab.client()
        for _ in range(5):
            assert client.register(extra=f"X-Padding: {'p' * 4000}") == 403
        lab.daemon.wait_for(lambda: lab.banned() == {GUESSER}, "the ban")


def test_nothing_of_others_is_touched(tmp_path):
    """The host's own rules are byte for byte what they were, while it watches and afterwards."""
    with wire_lab(tmp_path) as lab:
        own = "table inet host {\nchain c {\ntype filter hook prerouting priority -308\nudp dport 5060 accept\n}\n}\n"
        lab.server_net.run("nft", "-f", "-", script=own)
        before = lab.server_net.run("nft", "-a", "list", "table", "inet", "host")
        guess(lab.client(), 5)
        lab.daemon.wait_for(lambda: lab.banned() == {GUESSER}, "the ban")
        lab.daemon.sipguard("flush", "--yes")
        assert lab.server_net.run("nft", "-a", "list", "table", "inet", "host") == before


@pytest.mark.parametrize(
    "command",
    [
        ["flush", "ruleset"],
        ["delete", "table", "inet", "sipguard_wire"],
        ["flush", "chain", "inet", "sipguard_wire", "udp_in"],
        ["add", "rule", "inet", "sipguard_wire", "requests", "return"],
    ],
    ids=["ruleset", "table", "chain", "rule"],
)
def test_put_back(tmp_path, command):
    """What others take away of the rules is back at once, and said."""
    with wire_lab(tmp_path) as lab:
        before = lab.server_net.run("nft", "list", "table", "inet", "sipguard_wire")
        lab.server_net.run("nft", *command)
        lab.daemon.wait_for(
            lambda: lab.server_net.run("nft", "list", "table", "inet", "sipguard_wire", check=False) == before,
            "what was taken away",
        )
        lab.daemon.wait_logged("table inet sipguard_wire")
        assert guess(lab.client(), 5) == 5
        lab.daemon.wait_for(lambda: lab.banned() == {GUESSER}, "the ban")


def test_a_group_that_is_taken(tmp_path):
    """Another program reads the group: the next free ones serve, and the log says so."""
    with wire_lab(tmp_path / "first", wire={"group": 700}) as first:
        with first.server_net.inside():
            other = Group(5061)
        (tmp_path / "second").mkdir()
        first.daemon.stop()
        lab = WireLab(tmp_path / "second", first.server_net, first.net, wire={"group": 5060}).start()
        try:
            lab.daemon.wait_logged("NFLOG groups 5060, 5062, 5063")
            assert guess(lab.client(), 5) == 5
            lab.daemon.wait_for(lambda: lab.banned() == {GUESSER}, "the ban")
        finally:
            lab.stack.close()
            lab.daemon.stop()
            other.close()


def test_one_that_floods_blinds_nobody_else(tmp_path):
    """More of one address than is read: said of that address; another one's guesses are seen all the same."""
    with wire_lab(tmp_path) as lab:
        noisy = lab.client(PHONE)
        for _ in range(2000):
            noisy.socket.send(b"OPTIONS sip:a SIP/2.0\r\n\r\n")
        lab.daemon.wait_for(lambda: lab.wire()["packets"].get("over the limit of an address"), "the limit")
        assert lab.wire()["limited"] > 0
        assert "started" in lab.wire()["blind"]
        assert guess(lab.client(), 5) == 5
        lab.daemon.wait_for(lambda: GUESSER in lab.banned(), "the ban")


def test_the_limit_of_all_is_a_blind_time(tmp_path):
    """More than the rate: everybody's packets may be missing, and that is said."""
    with wire_lab(tmp_path, wire={"rate": 100}, addresses=[f"198.51.100.{last}" for last in range(20, 80)]) as lab:
        for last in range(20, 60):
            noisy = lab.client(f"198.51.100.{last}")
            for _ in range(20):
                noisy.socket.send(b"OPTIONS sip:a SIP/2.0\r\n\r\n")
        reason = "more SIP packets came than [wire] rate lets through"
        lab.daemon.wait_for(lambda: any(one["reason"] == reason for one in lab.wire()["blind_times"]), "blindness")
        lab.daemon.wait_logged(reason)


def test_gaps_of_the_watch_are_blind_times(tmp_path):
    """Rules that others take away, a watch set up anew, more ports than before: what was missed proves nothing."""
    with wire_lab(tmp_path, wire={"rate": 10_000, "ports": [5070]}) as lab:

        def wait_blind(reason):
            lab.daemon.wait_for(lambda: any(one["reason"] == reason for one in lab.wire()["blind_times"]), reason)

        lab.server_net.run("nft", "delete", "table", "inet", "sipguard_wire")
        wait_blind(GONE)
        for old, new, reason in (("rate = 10000", "rate = 9000", RESTARTED), ("5070", "5071", NEW_PORTS)):
            text = lab.daemon.config.read_text()
            assert text.count(old) == 1
            assert reason not in str(lab.wire()["blind_times"])
            lab.daemon.config.write_text(text.replace(old, new))
            lab.daemon.sipguard("reload")
            wait_blind(reason)
        assert guess(lab.client(), 5) == 5
        lab.daemon.wait_for(lambda: lab.banned() == {GUESSER}, "the ban")


def test_off_removes_the_rules(tmp_path):
    """What is switched off leaves nothing in the firewall; bans stay."""
    with wire_lab(tmp_path) as lab:
        guess(lab.client(), 5)
        lab.daemon.wait_for(lambda: lab.banned() == {GUESSER}, "the ban")
        config = lab.daemon.config
        config.write_text(config.read_text().replace("[wire]\nenabled = true", "[wire]\nenabled = false"))
        lab.daemon.sipguard("reload")
        assert "sipguard_wire" not in lab.server_net.run("nft", "list", "ruleset")
        assert lab.wire() is None
        assert lab.client().rejected()


@pytest.mark.timed
def test_latency(tmp_path):
    """From the answer to the fifth guess to the refusal that the guesser's socket sees: milliseconds, printed."""
    taken = []
    with wire_lab(tmp_path, addresses=[f"198.51.100.{last}" for last in range(20, 80)]) as lab:
        for last in range(20, 50):
            client = lab.client(f"198.51.100.{last}")
            assert guess(client, 5) == 5
            begin = time.monotonic()
            client.socket.settimeout(0.0005)
            while time.monotonic() < begin + 5:
                try:
                    client.ask(b"\r\n\r\n")
                except ConnectionRefusedError:
                    break
                except TimeoutError:
                    continue
            taken.append(time.monotonic() - begin)
            time.sleep(0.4)  # the packets that asked whether it is rejected are read too
    taken.sort()
    median, slow = taken[15], taken[28]
    print(f"fifth refusal to rejection: median {median * 1000:.1f} ms, the second longest {slow * 1000:.1f} ms")
    assert median < within(0.01)


def test_daemon_without_a_way(tmp_path):
    """Where the firewall cannot watch, the daemon says why and goes on."""
    with namespace("nft") as server, namespace("nft") as clients:
        lab = WireLab(tmp_path, server, clients, backend="memory")
        lab.daemon.start()
        try:
            lab.daemon.wait_logged("nothing is watched: the firewall memory cannot watch packets")
            assert "cannot watch" in lab.daemon.sipguard("status", check=False).stdout
        finally:
            lab.daemon.stop()


NAT = """
table ip nat {
  chain pre {
    type nat hook prerouting priority -100
    ip daddr 198.51.100.1 udp dport 5060 dnat to 172.16.0.2:5080
  }
  chain post {
    type nat hook postrouting priority 100
    oifname veth1 masquerade
  }
}
"""


OPEN = ["sh", "-c", 'umask 0; chmod -R a+rwX "$(dirname "$0")"; exec "$@"']
"""The daemon's folder is everybody's; the next word is a file in it."""


def test_rights_of_the_service():
    """A user of its own who may change the firewall and read logs, and nothing else, can watch and ban."""
    with (
        tempfile.TemporaryDirectory() as folder,  # not below a folder that only root may enter
        wire_lab(folder, prefix=[*OPEN, f"{folder}/sipguard.toml", *setpriv("+net_admin,+dac_read_search")]) as lab,
    ):
        pid = lab.daemon.process.pid
        assert f"Uid:\t{USER}" in Path(f"/proc/{pid}/status").read_text()
        assert guess(lab.client(), 5) == 5
        lab.daemon.wait_for(lambda: lab.banned() == {GUESSER}, "the ban")


def test_containers(tmp_path):
    """A server behind DNAT and masquerade: the attempt is the true client's, and it is banned at the host."""
    with wire_lab(tmp_path, serve=False) as lab, namespace("nft") as inner:
        link(inner, ["172.16.0.2/24"], lab.server_net, ["172.16.0.1/24"])
        subprocess.run(["ip", "-n", inner.name, "route", "add", "default", "via", "172.16.0.1"], check=True)
        lab.server_net.run("sysctl", "-qw", "net.ipv4.ip_forward=1")
        lab.server_net.run("nft", "-f", "-", script=NAT)
        server = Server(inner, ["172.16.0.2"], 5080)
        try:
            assert guess(lab.client(), 5) == 5
            lab.daemon.wait_for(lambda: lab.banned() == {GUESSER}, "the ban")
            assert lab.client(server=SERVER).rejected()
        finally:
            server.close()
