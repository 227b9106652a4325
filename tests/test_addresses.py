"""One form for each address."""

import contextlib
import ipaddress

import pytest
from hypothesis import given
from hypothesis import strategies as st

from sipguard.addresses import canonical, network_of


@pytest.mark.parametrize(
    ("text", "form"),
    [
        ("203.0.113.5", "203.0.113.5"),
        (" 203.0.113.5 ", "203.0.113.5"),
        ("203.0.113.77/24", "203.0.113.0/24"),
        ("203.0.113.5/32", "203.0.113.5"),
        ("[2001:DB8::0:5]", "2001:db8::5"),
        ("fe80::1%eth0", "fe80::1"),
        ("::ffff:203.0.113.5", "203.0.113.5"),
        ("::ffff:203.0.113.5/120", "203.0.113.0/24"),
        ("2001:db8::5/64", "2001:db8::/64"),
    ],
)
def test_canonical(text, form):
    """Whatever way it is written in."""
    assert canonical(text) == form


@pytest.mark.parametrize(
    "text", ["", "localhost", "203.0.113", "203.0.113.005", "203.0.113.5 ;", "1.2.3.4\0", "203.0.113.5/33"]
)
def test_no_address(text):
    """Never a guess."""
    with pytest.raises(ValueError, match=r".*"):
        canonical(text)


@given(st.text("0123456789. \0x", max_size=16))
def test_the_short_way_says_the_same(text):
    """What inet_pton takes is what ipaddress takes, in the same form."""
    expected = None
    with contextlib.suppress(ValueError):
        expected = str(ipaddress.ip_address(text.strip()))
    found = None
    with contextlib.suppress(ValueError):
        found = canonical(text)
    assert found == expected


@given(st.integers(0, 2**128 - 1), st.integers(1, 128), st.integers(0, 127))
def test_the_network_of_an_address_is_written_as_it_is_read(number, prefix, zeros):
    """As `ipaddress` writes it, also where many bits are 0."""
    address = str(ipaddress.IPv6Address(number >> zeros << zeros))
    if address == canonical(address):
        assert network_of(address, prefix) == str(ipaddress.ip_network(f"{address}/{prefix}", strict=False))
