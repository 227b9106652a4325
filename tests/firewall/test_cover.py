"""Overlapping networks with times, cut into pieces that do not overlap."""

from __future__ import annotations

import itertools
from ipaddress import ip_address, ip_network

import pytest
from hypothesis import given
from hypothesis import strategies as st

from sipguard.firewall.cover import cover


@pytest.mark.parametrize(
    ("bans", "pieces"),
    [
        pytest.param({}, [], id="none"),
        pytest.param({"10.0.0.0/8": 5}, [("10.0.0.0/8", 5)], id="one"),
        pytest.param({"10.0.0.0/8": 5, "10.1.0.0/16": 5}, [("10.0.0.0/8", 5)], id="inner-as-long"),
        pytest.param({"10.0.0.0/8": 5, "10.1.0.0/16": 4}, [("10.0.0.0/8", 5)], id="inner-shorter"),
        pytest.param({"10.0.0.0/30": 5, "10.0.0.0/31": 9}, [("10.0.0.0/31", 9), ("10.0.0.2/31", 5)], id="inner-longer"),
        pytest.param({"10.0.0.0/31": 5, "10.0.0.2/31": 9}, [("10.0.0.0/31", 5), ("10.0.0.2/31", 9)], id="neighbours"),
        pytest.param(
            {"10.0.0.0/30": 5, "10.0.0.0/31": 9, "10.0.0.2/31": 9},
            [("10.0.0.0/31", 9), ("10.0.0.2/31", 9)],
            id="nothing-left",
        ),
        pytest.param(
            {"2001:db8::/126": 1, "2001:db8::2/127": float("inf")},
            [("2001:db8::/127", 1), ("2001:db8::2/127", float("inf"))],
            id="ipv6-forever",
        ),
    ],
)
def test_cover(bans, pieces):
    """The table of cases."""
    found = cover({ip_network(network): until for network, until in bans.items()})
    assert sorted((str(piece.network), piece.until) for piece in found) == pieces
    assert all(str(piece.stands_for) in bans for piece in found)


small = st.builds(
    lambda host, length: ip_network((int(ip_address("192.0.2.0")) + host, length), strict=False),
    st.integers(0, 31),
    st.integers(27, 32),
)


@given(st.dictionaries(small, st.integers(1, 6), max_size=12))
def test_same_verdict(bans):
    """No two pieces overlap, and every address is rejected exactly as long as the longest of its bans."""
    pieces = cover(bans)
    assert not any(one.network.overlaps(other.network) for one, other in itertools.combinations(pieces, 2))
    for number in range(32):
        address = ip_address("192.0.2.0") + number
        wanted = max((until for network, until in bans.items() if address in network), default=0)
        assert max((piece.until for piece in pieces if address in piece.network), default=0) == wanted
