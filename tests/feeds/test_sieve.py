"""What may enter the firewall: canonical text, refused ranges, joined and cut networks compared with a plain count."""

import ipaddress

import pytest
from hypothesis import given
from hypothesis import strategies as st

from sipguard.feeds.sieve import around, sift
from sipguard.networks import NetworkRefusedError, admit

PROTECTED_BLOCK = "198.51.100.0/24"


@pytest.mark.parametrize(
    ("given_text", "kept"),
    [
        pytest.param("203.0.113.5", "203.0.113.5", id="ipv4"),
        pytest.param("203.0.113.77/24", "203.0.113.0/24", id="host-bits"),
        pytest.param("203.0.113.5/32", "203.0.113.5", id="network-of-one"),
        pytest.param("2001:DB8:0::5", "2001:db8::5", id="ipv6"),
        pytest.param("2001:db8::1/64", "2001:db8::/64", id="ipv6-network"),
        pytest.param("::ffff:203.0.113.5", "203.0.113.5", id="mapped"),
        pytest.param("::ffff:203.0.113.0/120", "203.0.113.0/24", id="mapped-network"),
    ],
)
def test_admitted(given_text, kept):
    """What may enter is written in one form."""
    assert admit(given_text) == kept


@pytest.mark.parametrize(
    "text",
    [
        *("0.0.0.1", "10.1.2.3", "100.64.0.1", "127.0.0.1", "169.254.1.1", "172.31.0.1", "192.0.0.8", "192.168.1.0/24"),
        *(
            "224.0.0.1",
            "239.255.255.255",
            "255.255.255.255",
            "240.0.0.0/8",
            "0.0.0.0/0",
            "128.0.0.0/7",
            "::ffff:10.0.0.1",
        ),
        *("::1", "::", "fe80::1", "fc00::1", "fd12::/64", "ff02::1", "::/0", "2000::/3", "64:ff9b::1", "4000::1"),
    ],
)
def test_refused(text):
    """Private, loopback, multicast, reserved, and what is too wide."""
    with pytest.raises(NetworkRefusedError):
        admit(text)


@pytest.mark.parametrize(
    "text", ["172.0.0.0/8", "192.0.0.0/8", "192.0.0.0/16", "100.0.0.0/8", "169.0.0.0/8", "172.16.0.0/11"]
)
def test_refused_in_part(text):
    """A network with a private one in it enters only where that is cut out."""
    with pytest.raises(NetworkRefusedError, match="in part"):
        admit(text)
    assert admit(text, is_cut=True) == str(ipaddress.ip_network(text, strict=False))


@pytest.mark.parametrize(
    "text",
    ["", "localhost", "203.0.113", "203.0.113.256", "203.0.113.05", "203.0.113.5/33", "203.0.113.5/", "203.0.113.5/-1",
     "203.0.113.5/+8", "2001:db8::/129", "fe80::1%eth0", "1; flush ruleset", "203.0.113.5/٣٢", "1/" + "9" * 5000],
)  # fmt: skip
def test_no_network(text):
    """What is no network is told apart from what is refused."""
    with pytest.raises(ValueError) as caught:  # noqa: PT011 - any text
        admit(text)
    assert not isinstance(caught.value, NetworkRefusedError)


@given(st.text())
def test_any_text(text):
    """Whatever stands in a list, it is refused or a network that `ipaddress` reads."""
    try:
        kept = admit(text)
    except ValueError:
        return
    assert str(ipaddress.ip_network(kept)).removesuffix("/32").removesuffix("/128") == kept


def blocks():
    """Networks within 198.51.100.0/24."""
    return st.tuples(st.integers(0, 255), st.integers(24, 32)).map(
        lambda pair: str(
            ipaddress.ip_network((int(ipaddress.ip_address("198.51.100.0")) + pair[0], pair[1]), strict=False)
        )
    )


@given(st.lists(st.tuples(blocks(), st.sampled_from([10.0, 20.0, 30.0])), max_size=12), st.lists(blocks(), max_size=4))
def test_agrees_with_a_count_of_addresses(entries, protected):
    """Every address has the latest time of all that cover it, none if it is protected; the networks are disjoint."""
    expected = {}
    for text, until in entries:
        for address in ipaddress.ip_network(text):
            expected[address] = max(until, expected.get(address, 0.0))
    for text in protected:
        for address in ipaddress.ip_network(text):
            expected.pop(address, None)
    sifted = sift(entries, protected)
    found = [(address, until) for text, until in sifted.networks for address in ipaddress.ip_network(text)]
    assert dict(found) == expected
    assert len(found) == len(expected) == sifted.addresses


def test_joined():
    """Neighbours of one time become one network; of different times they stay apart."""
    assert sift([("203.0.113.0/25", 5.0), ("203.0.113.128/25", 5.0)], []).networks == [("203.0.113.0/24", 5.0)]
    assert len(sift([("203.0.113.0/25", 5.0), ("203.0.113.128/25", 6.0)], []).networks) == 2
    assert sift([("2001:db8::", 5.0), ("2001:db8::1", 5.0)], []).networks == [("2001:db8::/127", 5.0)]


def test_refused_ranges_are_cut_out():
    """A network around a private range enters without it."""
    networks = [ipaddress.ip_network(text) for text, _ in sift([("192.0.0.0/8", 1.0)], []).networks]
    assert not any(network.overlaps(ipaddress.ip_network("192.168.0.0/16")) for network in networks)
    assert sum(network.num_addresses for network in networks) == 2**24 - 2**16 - 2**8


def test_around():
    """A network is named with all that contain it."""
    names = list(around("203.0.113.5"))
    assert (names[0], names[8], len(names)) == ("203.0.113.5", "203.0.113.0/24", 33)
