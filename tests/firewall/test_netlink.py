"""Netlink messages taken apart: what the kernel says, and whatever else comes."""

from __future__ import annotations

import subprocess

import pytest
from hypothesis import given
from hypothesis import strategies as st

from sipguard import netlink
from sipguard.firewall.nft_events import NftEvents
from tests.netns import namespace


@given(st.lists(st.tuples(st.integers(1, 0x3FFF), st.binary(max_size=40)), max_size=8))
def test_attributes_round(pairs):
    """What is built is read again, whatever the lengths."""
    body = b"".join(netlink.attribute(kind, value) for kind, value in pairs)
    assert len(body) % 4 == 0
    assert list(netlink.attributes(body)) == pairs
    assert [message.body for message in netlink.messages(netlink.message(0x0A0F, 1, 2, body) * 2)] == [body, body]


@given(st.binary(max_size=200))
def test_anything(data):
    """Nonsense ends, without an error."""
    assert len(list(netlink.messages(data))) <= len(data) // 16 + 1
    assert len(list(netlink.attributes(data))) <= len(data) // 4


@pytest.mark.root
@pytest.mark.parametrize(
    ("command", "what"),
    [
        pytest.param("delete table inet sipguard", {"table", "chain", "rule", "set"}, id="table"),
        pytest.param("flush ruleset", {"table", "chain", "rule", "set"}, id="flush"),
        pytest.param("flush chain inet sipguard c", {"rule"}, id="chain"),
        pytest.param("delete element inet sipguard s { 192.0.2.1 }", {"element"}, id="element"),
        pytest.param("add element inet sipguard s { 192.0.2.2 }", None, id="added"),
        pytest.param("delete table inet other", None, id="another-table"),
        pytest.param("delete table ip sipguard", None, id="same-name-in-another-family"),
        pytest.param("add rule inet sipguard c accept", {"rule"}, id="rule-added"),
        pytest.param("add table inet sipguard { flags dormant; }", {"table"}, id="put-to-sleep"),
    ],
)
def test_events(command, what):
    """A deletion of ours, or an intrusion, is told with the name of the program that made it; nothing else is."""
    setup = (
        "add table inet sipguard; add set inet sipguard s { type ipv4_addr; elements = { 192.0.2.1 }; };"
        "add chain inet sipguard c; add rule inet sipguard c ip saddr @s drop; add table inet other; add table ip sipguard"
    )
    with namespace("nft") as net, net.inside():
        subprocess.run(["nft", setup], check=True)
        events = NftEvents()
        try:
            process = subprocess.Popen(["nft", command])
            assert process.wait() == 0
            found = events.read()
            assert [(set(change.what), change.pid, change.who) for change in found] == (
                [(what, process.pid, "nft")] if what else []
            )
            assert events.read() == []
        finally:
            events.close()
