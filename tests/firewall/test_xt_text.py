"""What is said to ipset and iptables: names that fit the kernel, lists that fit a rule, times that fit a counter."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from sipguard.firewall.ipset_text import LONGEST, jail_rules, parse_elements, parse_headers, port_lists, timeout
from sipguard.firewall.xt_names import SET_LENGTH, XtSet, parse_set, readable, set_owner
from sipguard.model import FOREVER, PortRange, Rule

LOOK = "-m set --match-set sg_{}4_a src"
names = st.text(max_size=60) | st.text(alphabet="ab_-.", max_size=60)


@given(names, names)
def test_names(one, other):
    """Names fit, lead back to the set, and differ where the jails differ."""
    first, second = XtSet("a", "4", set_owner(one)), XtSet("a", "4", set_owner(other))
    assert len(str(first)) <= SET_LENGTH
    assert parse_set(str(first)) == first
    assert readable(first.owner) in (one, None)
    assert (first == second) == (one == other)


@pytest.mark.parametrize("name", ["blocklist", "sg_x4_a", "sg_a5_a", "sg_a4_a_zz", "xsg_a4_a", "f2b-sshd"])
def test_not_ours(name):
    """A set that we cannot have named is somebody else's."""
    assert parse_set(name) is None


@pytest.mark.parametrize(
    ("span", "seconds"), [(0.01, 1), (1.0, 1), (1.2, 2), (86400, 86400), (LONGEST + 5, LONGEST), (FOREVER, 0)]
)
def test_timeout(span, seconds):
    """Never 0 but for ever, rounded up, and no more than ipset takes."""
    assert timeout(span, 0.0) == seconds


@given(st.lists(st.tuples(st.integers(1, 65535), st.integers(0, 1)), min_size=1, max_size=60))
def test_port_lists(given_ports):
    """Every port is in one list, and no list is too long for multiport."""
    ports = [PortRange(first, min(65535, first + more)) for first, more in given_ports]
    lists = list(port_lists(ports))
    assert ",".join(lists).split(",") == [str(port).replace("-", ":") for port in ports]
    for text in lists:
        assert sum(2 if ":" in word else 1 for word in text.split(",")) <= 15


@pytest.mark.parametrize(
    ("rule", "lines"),
    [
        pytest.param(
            Rule("a", (PortRange(5060, 5061),), ("udp",)),
            [f"-p udp -m multiport --dports 5060:5061 {LOOK} -j REJECT --reject-with icmp-port-unreachable"],
            id="udp",
        ),
        pytest.param(
            Rule("a", (PortRange(5060, 5060),), ("tcp",)),
            [f"-p tcp -m multiport --dports 5060 {LOOK} -j REJECT --reject-with tcp-reset"],
            id="tcp",
        ),
        pytest.param(
            Rule("a"),
            [
                f"-p tcp {LOOK} -j REJECT --reject-with tcp-reset",
                f"{LOOK} -j REJECT --reject-with icmp-port-unreachable",
            ],
            id="everything",
        ),
        pytest.param(Rule("a", verdict="drop"), [f"{LOOK} -j DROP"], id="drop"),
    ],
)  # fmt: skip
def test_rules(rule, lines):
    """A jail's rules look into its two sets, of addresses and of networks."""
    assert jail_rules([rule], "4", "port-unreachable") == [line.format(kind) for kind in "an" for line in lines]


def test_headers():
    """Our sets among others', as ipset 7 prints them."""
    text = (
        "Name: blocklist\nType: hash:ip\nRevision: 6\nHeader: family inet hashsize 1024 maxelem 65536\nNumber of entries: 9\n\n"
        "Name: sg_n6_a\nType: hash:net\nRevision: 7\nHeader: family inet6 hashsize 1024 maxelem 500 timeout 0 bucketsize 12\n"
        "Size in memory: 216\nReferences: 0\nNumber of entries: 3\n"
    )
    assert [tuple(header) for header in parse_headers(text)] == [(XtSet("n", "6", "a"), 500, 3, False)]


def test_elements():
    """Elements with their times; for ever is 0, and the halves of everything are one."""
    text = (
        "create sg_n4_a hash:net family inet timeout 0\nadd sg_n4_a 203.0.113.0/24 timeout 60\n"
        "add sg_n4_a 0.0.0.0/1 timeout 50 packets 2 bytes 80\nadd sg_n4_a 128.0.0.0/1 timeout 51 packets 3 bytes 9\n"
        "add sg_n4_a 10.0.0.0/8 timeout 0 packets 0 bytes 0\n"
    )
    found = {element.target: (element.remaining, element.packets) for element in parse_elements(text)}
    assert found == {"203.0.113.0/24": (60, None), "0.0.0.0/0": (50, 5), "10.0.0.0/8": (FOREVER, 0)}
