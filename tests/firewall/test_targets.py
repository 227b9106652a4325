"""Which texts of bans are taken as they are: only what the thorough way would give just so."""

import random
import socket
from ipaddress import IPv4Address, IPv6Address

import pytest

from sipguard.errors import FirewallError
from sipguard.firewall import nft_text
from sipguard.firewall.targets import is_canonical, parse_target


def _texts():
    """Addresses and networks of all kinds, and what is none, from a fixed seed."""
    pick = random.Random(7)
    for _ in range(3000):
        four = str(IPv4Address(pick.getrandbits(32)))
        number = pick.getrandbits(128) & pick.choice([-1, ~((1 << 64) - 1), (1 << 64) - 1, (1 << 48) - 1, 0xFFFF << 64])
        six = str(IPv6Address(number))
        packed = socket.inet_ntop(socket.AF_INET6, number.to_bytes(16))
        for text in (four, six, packed, six.upper(), f"::ffff:{four}", f"64:ff9b::{four}"):
            yield from (text, f"{text}/{pick.choice([0, 24, 32, 48, 64, 64, 96, 128])}")
    yield from (
        "",
        "/",
        "1.2.3",
        "01.2.3.4",
        "1.2.3.4/32",
        "localhost",
        "::1%eth0",
        "fe80::1%e/64",
        "1.2.3.4\0",
        "1.2.3.4 ",
        "é",
    )


@pytest.mark.timeout(60)
def test_canonical_is_as_parsed():
    """Same text, same set; and most addresses are taken the quick way."""
    taken = 0
    for text in _texts():
        if is_canonical(text):
            taken += 1
            target = parse_target(text)
            assert str(target) == text
            assert nft_text.set_of_canonical("sip", text) == nft_text.set_for("sip", target)
    assert taken > 5000


@pytest.mark.parametrize("text", ["203.0.113.5", "2001:db8::5", "2001:db8:0:7::/64"])
def test_usual_bans_are_canonical(text):
    """Those of every burst."""
    assert is_canonical(text)


@pytest.mark.parametrize("text", ["localhost", "1.2.3.4\0", "203.0.113.05", "", "203.0.113.5; flush ruleset"])
def test_what_is_none_is_refused(text):
    """By the thorough way, to which it is left."""
    assert not is_canonical(text)
    with pytest.raises(FirewallError, match="cannot ban"):
        parse_target(text)
