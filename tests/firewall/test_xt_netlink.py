"""The filter table read and written without iptables: the same, byte for byte, as iptables itself reads and writes it."""

from __future__ import annotations

import subprocess
import threading
from collections import deque
from struct import pack

import pytest
from hypothesis import given
from hypothesis import strategies as st
from needs import needs

from sipguard.errors import FirewallError
from sipguard.firewall import xt_rules
from sipguard.firewall.ipset_text import jail_rules
from sipguard.firewall.xt_netlink import NetlinkFilter
from sipguard.firewall.xt_program import ProgramFilter
from sipguard.model import PortRange, Rule
from sipguard.netlink import Conversation, attribute, attributes
from tests.netns import namespace

MANY_PORTS = tuple(PortRange(port, port + port % 3) for port in range(1000, 1400, 7))
JAILS = [
    pytest.param([Rule("a", (PortRange(5060, 5061),), ("tcp", "udp"))], id="ports"),
    pytest.param([Rule("a", (PortRange(5060, 5060), PortRange(80, 90)), verdict="drop")], id="every-protocol-drop"),
    pytest.param([Rule("a", protocols=("udp", "sctp", "dccp", "tcp"))], id="protocols"),
    pytest.param([Rule("a"), Rule("b", verdict="drop")], id="everything"),
    pytest.param([Rule("a", MANY_PORTS, ("udp",)), Rule("b", MANY_PORTS, ("tcp",))], id="many-ports"),
    pytest.param([], id="nothing"),
]
FAMILIES = pytest.mark.parametrize("family", ["4", "6"])
PROGRAMS = {"4": "iptables", "6": "ip6tables"}
NUMBERS = {"4": 2, "6": 10}
BUILT_IN = ("-N INPUT", "-N FORWARD", "-N OUTPUT")
GET_CHAIN, GET_RULE = 10 << 8 | 4, 10 << 8 | 7
CHAIN_KINDS, RULE_KINDS = (1, 3, 4, 5, 7), (1, 2, 4, 5)
"""NFTA_CHAIN_TABLE, NAME, HOOK, POLICY, TYPE; NFTA_RULE_TABLE, CHAIN, EXPRESSIONS, COMPAT (linux/netfilter/nf_tables.h)."""


@pytest.fixture
@needs("root")
def net():
    """A namespace with the sets that the rules name, and one of others."""
    with namespace("iptables", "ipset") as made, made.inside():
        for name in "ab":
            for family, word in (("4", "inet"), ("6", "inet6")):
                made.run("ipset", "create", f"sg_a{family}_{name}", "hash:ip", "family", word)
                made.run("ipset", "create", f"sg_n{family}_{name}", "hash:net", "family", word)
        yield made


def both(family):
    return ProgramFilter(PROGRAMS[family], deque()), NetlinkFilter(family, deque())


def lines(table):
    """What it reads, but for policies and built-in chains; chain after chain in alphabetical order."""
    read = [line for line in table.read() if line.startswith(("-N ", "-A ")) and line not in BUILT_IN]
    return sorted(read, key=lambda line: line.split()[1])


def in_kernel(family):
    """What the kernel holds: each chain's attributes and each rule's, but for the numbers that it gives them."""
    with Conversation() as kernel:
        chains = [dict(attributes(body)) for _, _, body in kernel.dump(GET_CHAIN, NUMBERS[family])]
        rules = [dict(attributes(body)) for _, _, body in kernel.dump(GET_RULE, NUMBERS[family])]
    return (
        sorted(([chain.get(kind) for kind in CHAIN_KINDS] for chain in chains), key=lambda chain: chain[1]),
        sorted(([rule.get(kind) for kind in RULE_KINDS] for rule in rules), key=lambda rule: rule[1]),
    )


@FAMILIES
@pytest.mark.parametrize("reject_with", ["port-unreachable", "host-unreachable", "admin-prohibited"])
@pytest.mark.parametrize("heavy", [False, True])
@pytest.mark.parametrize("jails", JAILS)
def test_as_iptables_does(net, family, jails, heavy, reject_with):
    """What one makes, the other reads in the same words, and the kernel holds the same."""
    program, netlink = both(family)
    script = [":ours - [0:0]", *(f"-A ours {rule}" for rule in jail_rules(jails, family, reject_with, heavy=heavy))]
    script.append("-I INPUT 1 -j ours")
    netlink.restore(script)
    first, raw = lines(program), in_kernel(family)
    assert lines(netlink) == first
    assert "-N ours" in first
    assert first.count("-A INPUT -j ours") == 1
    assert len(first) == len(script)
    net.run("nft", "flush", "ruleset")
    program.restore(script)
    assert lines(netlink) == lines(program) == first
    there = in_kernel(family)
    assert there[0] == raw[0]
    # iptables 1.8.11 takes the protocol out of the IPv4 header: the same rule in another form, which only it writes.
    assert all(b"payload" in theirs[2] or theirs == ours for theirs, ours in zip(there[1], raw[1], strict=True))


def test_protocol_of_a_newer_iptables():
    """Rules with the protocol out of the IPv4 header, as iptables 1.8.11 writes them, are read as any other."""
    made = xt_rules.encode("-p udp -m multiport --dports 5060 -j DROP", "4", {})
    name, place = attribute(1, b"meta\0"), ((1, 1), (2, 1), (3, 9), (4, 1))
    old = attribute(
        1, name + attribute(2, attribute(2, pack(">I", 16)) + attribute(1, pack(">I", 1)), nested=True), nested=True
    )
    assert old in made
    data = b"".join(attribute(kind, pack(">I", value)) for kind, value in place)
    new = attribute(1, attribute(1, b"payload\0") + attribute(2, data, nested=True), nested=True)
    body = attribute(4, dict(attributes(made))[4].replace(old, new), nested=True)
    assert xt_rules.decode(body, "4", {}) == "-p udp -m multiport --dports 5060 -j DROP"


OTHERS = [
    "-s 192.0.2.1 -j ours",
    "-p tcp --dport 22 -j ACCEPT",
    "-m set --match-set theirs dst -j DROP",
    "-m set ! --match-set sg_a4_a src -j DROP",
    "-m conntrack --ctstate ESTABLISHED -g ours",
    "-p udp -m multiport --sports 5060 -j REJECT",
    "! -p udp -j RETURN",
    "-j LOG",
]


def test_rules_of_others(net):
    """They keep their place and their form; of those that ours are not like, it is told where they lead."""
    program, netlink = both("4")
    net.run("ipset", "create", "theirs", "hash:ip")
    for rule in ["-N ours", *(f"-A INPUT {rule}" for rule in OTHERS)]:
        net.run("iptables", *rule.split())
    before = lines(program)
    read = lines(netlink)
    assert [line for line in read if line.endswith("-j ours")] == ["-A INPUT [payload] [cmp] -j ours"]
    assert not set(read) & set(program.read()) - {"-N ours"}
    for place in (1, 3, 11):
        netlink.restore([f"-I INPUT {place} -j ours"])
    there = [line for line in program.read() if line.startswith("-A INPUT")]
    assert [place for place, line in enumerate(there, 1) if line == "-A INPUT -j ours"] == [1, 3, 11]
    netlink.restore(["-D INPUT -j ours"] * 3)
    assert lines(program) == before
    netlink.restore(["-D INPUT [payload] [cmp] -j ours", "-D INPUT -j never-there"])
    before.remove("-A INPUT -s 192.0.2.1/32 -j ours")
    assert lines(program) == before


def test_all_or_nothing(net):
    """A script that the kernel refuses, or that names a set that is gone, changes nothing and says why."""
    program, netlink = both("4")
    netlink.restore([":ours - [0:0]", "-A ours -m set --match-set sg_a4_a src -j DROP"])
    before = program.read()
    with pytest.raises(FirewallError, match="set 'sg_a4_z' is gone"):
        netlink.restore([":ours - [0:0]", "-A ours -m set --match-set sg_a4_z src -j DROP"])
    with pytest.raises(FirewallError, match="the kernel refused: No such file"):
        netlink.restore(["-F ours", "-A INPUT -j never-there"])
    with pytest.raises(FirewallError, match="the kernel refused: Device or resource busy"):
        netlink.restore(["-A INPUT -j ours", "-F ours", "-X ours"])
    assert program.read() == before


def test_beside_a_writer(net):
    """Another program writes all the time: each of our changes is made on what is there, and none of its rules is lost."""
    program, netlink = both("4")
    netlink.restore([":ours - [0:0]", "-I INPUT 1 -j ours"])
    end, kept = threading.Event(), []

    def write():
        with net.inside():
            while not end.is_set():
                rule = f"INPUT -d 10.0.{len(kept) // 256}.{len(kept) % 256}/32 -j ACCEPT"
                for change in (f"-A {rule}", "-A INPUT -j LOG", "-D INPUT -j LOG"):
                    subprocess.run(["iptables", "-w", *change.split()], check=True)
                kept.append(f"-A {rule}")

    writer = threading.Thread(target=write)
    writer.start()
    try:
        for number in range(60):
            rules = [f"-A ours -m set --match-set sg_{kind}4_a src -j DROP" for kind in "an"[: 1 + number % 2]]
            netlink.restore([":ours - [0:0]", *rules, "-D INPUT -j ours", "-I INPUT 1 -j ours"])
            assert [line for line in netlink.read() if line.startswith("-A ours")] == rules
    finally:
        end.set()
        writer.join()
    assert kept
    assert [line for line in program.read() if line.startswith("-A INPUT")] == ["-A INPUT -j ours", *kept]


@given(st.binary(max_size=200), st.sampled_from("46"))
def test_any_bytes(data, family):
    """A rule of whatever form is read without an error."""
    assert isinstance(xt_rules.decode(data, family, {}), str)


@given(st.lists(st.binary(max_size=60), max_size=6), st.sampled_from("46"))
def test_any_expression(infos, family):
    """So is one of known names with contents that no kernel gives."""
    names = [b"match", b"target", b"immediate", b"meta", b"cmp"]
    parts = [
        attribute(1, attribute(1, name) + attribute(2, attribute(1, inner) + attribute(2, info) + attribute(3, info)))
        for info in infos
        for name in names
        for inner in (b"set", b"multiport", b"REJECT", info)
    ]
    assert isinstance(xt_rules.decode(attribute(4, b"".join(parts)), family, {}), str)


@pytest.mark.parametrize("rule", ["-s 192.0.2.1 -j DROP", "-j", "-p udp -m udp --dport 5 -j DROP", "-j A B"])
def test_no_rule_of_ours(rule):
    """What cannot be said is refused, not left out."""
    with pytest.raises(ValueError, match="no rule of sipguard"):
        xt_rules.encode(rule, "4", {})
