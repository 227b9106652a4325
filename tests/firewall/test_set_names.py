"""Jail names as names of nftables sets: injective, readable backwards, and such as nft takes."""

from __future__ import annotations

import re
import time

import pytest
from hypothesis import given
from hypothesis import strategies as st

from sipguard.firewall.choose import open_firewall
from sipguard.firewall.nft_names import MAX_LENGTH, SetName, escape_jail, parse_set_name, unescape_jail
from sipguard.model import Rule
from tests.netns import namespace

DROPPED = 2
"""Sets of those who go on sending, of IPv4 and IPv6: one each for all jails."""
CASES = [
    pytest.param("asterisk", "asterisk", id="plain"),
    pytest.param("asterisk-udp", "asterisk-udp", id="hyphen"),
    pytest.param("a_b", "a_5fb", id="underscore"),
    pytest.param("a.b", "a_2eb", id="dot"),
    pytest.param("Asterisk", "Asterisk", id="case-kept"),
    pytest.param("tcp", "tcp", id="keyword"),
    pytest.param("5060", "5060", id="number"),
    pytest.param("", "", id="empty"),
    pytest.param("-", "-", id="only-hyphen"),
    pytest.param("tür", "t_c3_bcr", id="unicode"),
    pytest.param('x"; flush ruleset', "x_22_3b_20flush_20ruleset", id="syntax"),
    pytest.param("a\nb\0", "a_0ab_00", id="control"),
    pytest.param("\udcff", "_ed_b3_bf", id="surrogate"),
]


@pytest.mark.parametrize(("jail", "escaped"), CASES)
def test_escape(jail, escaped):
    """The table of cases, in both directions."""
    assert escape_jail(jail) == escaped
    assert unescape_jail(escaped) == jail


@pytest.mark.parametrize(
    "name", ["banned", "a5_x", "x4_y", "a4", "a4_t_fcr", "a4_a_2Eb", "a4_a_41", "a4_ü", "a4_x__12", "A4_x", "a4_x\n"]
)
def test_not_ours(name):
    """A name that the mapping cannot have made is somebody else's set, and is left alone."""
    assert parse_set_name(name) is None


jails = st.text(max_size=400) | st.text(alphabet="a_-.2e", max_size=400)


@given(jails, jails)
def test_injective_and_valid(one, other):
    """Different jails have different names, and every name is one that nft takes and that leads back."""
    name, second = SetName("a", "4", escape_jail(one)), SetName("a", "4", escape_jail(other))
    assert (name == second) == (one == other)
    assert len(str(name)) <= MAX_LENGTH
    assert re.fullmatch(r"[a-z][A-Za-z0-9_-]*", str(name))
    assert parse_set_name(str(name)) == name
    assert unescape_jail(name.jail) in (one, None)


@given(st.text(alphabet="abc", min_size=245, max_size=300))
def test_cut_names(jail):
    """Only a name too long for the kernel is cut, and no short jail can be named like its cut form."""
    escaped = escape_jail(jail)
    assert (unescape_jail(escaped) is None) == (len(jail) > MAX_LENGTH - 3)
    assert escape_jail(escaped) != escaped or escaped == jail


@pytest.mark.root
def test_kernel_takes_them():
    """The kernel takes the names of all the cases and of the longest jail, at once."""
    names = [str(case.values[0]) for case in CASES] + ["x" * 252, "x" * 253, "\N{PILE OF POO}" * 300]
    with namespace("nft") as net, net.inside():
        firewall = open_firewall("nftables", clock=time.time)
        firewall.open([Rule(name) for name in names])
        assert firewall.show().count("\tset ") == 5 * len(names) + DROPPED
        firewall.open([Rule("asterisk")])
        assert firewall.show().count("\tset ") == 5 + DROPPED
