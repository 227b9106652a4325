"""The chain of ipset and iptables: never one of somebody else's, first in its hooks, in Docker's too."""

from __future__ import annotations

import contextlib
import time

import pytest

from sipguard.errors import FirewallError
from sipguard.firewall.options import Options
from sipguard.model import Ban, PortRange, Rule
from tests.backends import backend_of
from tests.foreign import dump
from tests.netns import namespace

pytestmark = pytest.mark.root

SIP = Rule("asterisk", (PortRange(5060, 5061),), ("udp",))
PROGRAM = {"ipset": "iptables", "ipset as nobody": "iptables", "iptables": "iptables-legacy"}
BACKENDS = pytest.mark.parametrize("backend", PROGRAM)


@pytest.fixture
def made():
    """Like `backend_of`; what it gives is closed at the end."""
    with contextlib.ExitStack() as stack:

        def make(name, **options):
            firewall = backend_of(name, **options)
            stack.callback(firewall.close)
            return firewall

        yield make


@BACKENDS
def test_foreign_chain(made, backend):
    """A chain of our name with rules of others is refused, told with the setting to change, and left as it is."""
    with namespace("iptables", "ipset") as net, net.inside():
        for command in ("-N sipguard", "-A sipguard -s 192.0.2.1 -j DROP", "-A INPUT -j sipguard"):
            net.run(PROGRAM[backend], *command.split())
        before = net.run(PROGRAM[backend], "-S")
        firewall = made(backend)
        with pytest.raises(FirewallError, match="choose another name with `chain`"):
            firewall.open([SIP])
        firewall.flush()
        assert net.run(PROGRAM[backend], "-S") == before
        other = made(backend, options=Options(chain="f2b-sipguard"))
        other.open([SIP])
        assert "-A INPUT -j f2b-sipguard" in net.run(PROGRAM[backend], "-S")
        other.flush()
        assert net.run(PROGRAM[backend], "-S") == before


@BACKENDS
def test_docker_user(made, backend):
    """What Docker forwards meets the chain too, where Docker has made its hook, and before what is there."""
    with namespace("iptables", "ipset") as net, net.inside():
        for command in ("-N DOCKER-USER", "-A FORWARD -j DOCKER-USER", "-A DOCKER-USER -j RETURN"):
            net.run(PROGRAM[backend], *command.split())
        before = dump()
        firewall = made(backend)
        firewall.open([SIP])
        listing = net.run(PROGRAM[backend], "-S", "DOCKER-USER").splitlines()
        assert listing[1:] == ["-A DOCKER-USER -j sipguard", "-A DOCKER-USER -j RETURN"]
        assert dump() == before
        net.run(PROGRAM[backend], "-D", "DOCKER-USER", "-j", "sipguard")
        assert any("DOCKER-USER" in problem for problem in firewall.verify())
        firewall.open([SIP])
        assert firewall.verify() == []
        firewall.flush()
        assert dump() == before


@BACKENDS
def test_rule_before_ours(made, backend):
    """A rule that somebody puts first is noticed, and ours is first again; the others keep their order."""
    with namespace("iptables", "ipset") as net, net.inside():
        firewall = made(backend)
        firewall.open([SIP])
        for port in ("22", "80"):
            net.run(PROGRAM[backend], "-I", "INPUT", "-p", "tcp", "--dport", port, "-j", "ACCEPT")
        assert len(firewall.verify()) == 1
        before = dump()
        firewall.open([SIP])
        assert firewall.verify() == []
        assert net.run(PROGRAM[backend], "-S", "INPUT").splitlines()[1] == "-A INPUT -j sipguard"
        assert dump() == before


@BACKENDS
def test_more_hooks(made, backend):
    """A chain that is asked for leads to ours too, before what is there; where there is none of that name, nothing is made."""
    with namespace("iptables", "ipset") as net, net.inside():
        net.run(PROGRAM[backend], "-A", "OUTPUT", "-d", "192.0.2.1", "-j", "ACCEPT")
        empty = dump()
        net.run(PROGRAM[backend], "-A", "FORWARD", "-s", "192.0.2.1", "-j", "ACCEPT")
        before = dump()
        firewall = made(backend, options=Options(more_hooks=("FORWARD", "ufw-before-forward")))
        firewall.open([SIP])
        listing = net.run(PROGRAM[backend], "-S").splitlines()
        assert [line for line in listing if line.endswith("-j sipguard")] == [
            "-A INPUT -j sipguard",
            "-A FORWARD -j sipguard",
        ]
        assert next(line for line in listing if line.startswith("-A FORWARD")) == "-A FORWARD -j sipguard"
        assert not [line for line in listing if "ufw" in line]
        net.run(PROGRAM[backend], "-D", "FORWARD", "-j", "sipguard")
        assert [problem for problem in firewall.verify() if "FORWARD" in problem]
        firewall.open([SIP])
        assert firewall.verify() == []
        made(backend).flush()
        assert dump() == before
        net.run(PROGRAM[backend], "-F", "FORWARD")
        firewall.open([SIP])
        assert "-A FORWARD -j sipguard" in net.run(PROGRAM[backend], "-S", "FORWARD")
        firewall.flush()
        assert dump() == empty


@pytest.mark.parametrize("name", ["", "INPUT", "a b", "-A", "x" * 17, "ü", "accept"])
def test_chain_names(name):
    """A name that iptables would take for something else is not allowed."""
    with pytest.raises(FirewallError, match="chain ="):
        Options(chain=name)


@pytest.mark.parametrize("name", ["", "a b", "-A", "x" * 29, "sipguard", "sipguard-feeds"])
def test_hook_names(name):
    """Nor is one of a hook, or our own chain."""
    with pytest.raises(FirewallError, match="hooks:"):
        Options(more_hooks=(name,))


def test_ended_rules_go_at_the_next_start():
    """A start honours the ends that the rules' comments name: what ended while nobody was there goes, the rest stays."""
    with namespace("iptables-legacy") as net, net.inside():
        first = backend_of("iptables")
        first.open([SIP])
        now = time.time()
        first.ban([Ban("203.0.113.1", "asterisk", now, now + 0.2), Ban("203.0.113.2", "asterisk", now, now + 60)])
        time.sleep(0.3)
        second = backend_of("iptables")
        second.open([SIP])
        assert [entry.address for entry in second.entries()] == ["203.0.113.2"]


def test_many_rules_are_told(caplog):
    """More than a thousand rules are slow for every packet: the log says what is faster."""
    with namespace("iptables-legacy") as net, net.inside():
        firewall = backend_of("iptables")
        firewall.open([SIP])
        end = time.time() + 60
        firewall.ban([Ban(f"10.0.{i // 250}.{i % 250}", "asterisk", 0, end) for i in range(1001)])
        assert caplog.text.count("ipset or nftables is faster") == 1


def test_full_set():
    """A set without room says so, and which setting makes it larger."""
    with namespace("iptables", "ipset") as net, net.inside():
        firewall = backend_of("ipset", options=Options(size=64))
        firewall.open([SIP])
        with pytest.raises(FirewallError, match="is full"):
            firewall.ban([Ban(f"10.0.{i // 250}.{i % 250}", "asterisk", 0, time.time() + 60) for i in range(1000)])
        larger = backend_of("ipset", options=Options(size=2000))
        kept = {entry.address for entry in firewall.entries()}
        larger.open([SIP])
        assert {entry.address for entry in larger.entries()} == kept
        larger.ban([Ban(f"10.0.{i // 250}.{i % 250}", "asterisk", 0, time.time() + 60) for i in range(1000)])
        assert len(larger.entries()) == 1000
