"""Durations, addresses, ports and protocols: what is read, what is refused, and how it is told."""

import ipaddress
import itertools
import math

import pytest
from hypothesis import given
from hypothesis import strategies as st
from needs import names_of_ports

from sipguard.config.values import canonical, duration, format_duration, ports, protocols
from sipguard.model import PortRange

YEAR = 31557600.0
DURATIONS = [
    ("600", 600),
    (600, 600),
    (1.5, 1.5),
    ("10m", 600),
    ("10 m", 600),
    ("1h30m", 5400),
    ("1h 30", 5430 - 1800),
    ("1d12h30m", 131400),
    ("1y 6mo", 1.5 * YEAR),
    ("1.5h", 5400),
    ("2 months", YEAR / 6),
    ("1MON", YEAR / 12),
    ("1ww", 604800),
    ("1yea", YEAR),
    ("5min", 300),
    ("1M", 60),
    ("3sec", 3),
    ("0", 0),
    ("-1", math.inf),
    (" -1 ", math.inf),
    (-1, math.inf),
    (-1.0, math.inf),
    (math.inf, math.inf),
]
NO_DURATIONS = [
    "", " ", "abc", "10x", "m", "-5", "-1h", -5, -0.5, math.nan, "1h-30m", "60*60", "1e3", "inf", "nan", "0x10",
    "1.5.5", "٣", "1_000", True, False, "9" * 400, -(10**400),
]  # fmt: skip


@pytest.mark.parametrize(("value", "seconds"), DURATIONS, ids=repr)
def test_duration(value, seconds):
    """Fail2ban's abbreviations, and numbers."""
    assert duration(value) == seconds


@pytest.mark.parametrize("value", NO_DURATIONS, ids=lambda v: repr(v)[:20])
def test_no_duration(value):
    """What is no duration is told with an example."""
    with pytest.raises(ValueError, match=r"invalid duration; expected e\.g\. 10m or 1h30m"):
        duration(value)


@pytest.mark.parametrize("value", ["1001y", "999999999999999999", 10**400, 1e300], ids=["y", "digits", "int", "float"])
def test_duration_beyond_any_clock(value):
    """A span whose end no clock can show is refused."""
    with pytest.raises(ValueError, match="longer than 1000 years; write -1 for ever"):
        duration(value)


@given(st.text(max_size=30) | st.floats() | st.integers())
def test_duration_is_a_span_or_refused(value):
    """Whatever is written: a span of 0 or more, or ValueError."""
    try:
        seconds = duration(value)
    except ValueError:
        seconds = 0.0
    assert seconds >= 0


@given(st.integers(0, 10**9))
def test_duration_round_trip(seconds):
    """A duration is shown as it is read."""
    assert duration(format_duration(seconds)) == seconds


@pytest.mark.parametrize(
    ("seconds", "text"),
    [(600, "10m"), (5400.0, "1h30m"), (0, "0s"), (1.5, "1.5s"), (90061, "1d1h1m1s"), (math.inf, "-1")],
)
def test_format_duration(seconds, text):
    """Short, without parts that are nothing."""
    assert format_duration(seconds) == text


ADDRESSES = [
    ("192.0.2.5", "192.0.2.5"),
    (" 192.0.2.5 ", "192.0.2.5"),
    ("192.0.2.5/24", "192.0.2.0/24"),
    ("192.0.2.5/32", "192.0.2.5"),
    ("192.0.2.0/255.255.255.0", "192.0.2.0/24"),
    ("0.0.0.0/0", "0.0.0.0/0"),
    ("2001:DB8:0::5", "2001:db8::5"),
    ("2001:db8::5/64", "2001:db8::/64"),
    ("2001:db8::5/128", "2001:db8::5"),
    ("::ffff:192.0.2.5", "192.0.2.5"),
    ("::ffff:c000:205", "192.0.2.5"),
    ("::ffff:192.0.2.5/120", "192.0.2.0/24"),
    ("::ffff:0:0/96", "0.0.0.0/0"),
    ("::/0", "::/0"),
]


@pytest.mark.parametrize(("text", "expected"), ADDRESSES)
def test_canonical(text, expected):
    """One form for each address and network."""
    assert canonical(text) == expected
    assert canonical(expected) == expected


@pytest.mark.parametrize(
    "text",
    ["", "192.0.2", "192.0.2.256", "192.000.2.1", "192.0.2.0/33", "192.0.2.1/", "example.com", "fe80::1%eth0", "1",
     "::g", "192.0.2.1;x", "١٩٢.0.2.1", "192.0.2.1\n192.0.2.2"],
)  # fmt: skip
def test_no_address(text):
    """What no firewall set can hold is refused."""
    with pytest.raises(ValueError, match="write"):
        canonical(text)


@given(st.ip_addresses())
def test_canonical_is_ipaddress(address):
    """An address is what `ipaddress` prints, but for mapped ones."""
    mapped = getattr(address, "ipv4_mapped", None)
    assert ipaddress.ip_address(canonical(address.exploded)) == (mapped or address)


PORTS = [
    (5060, "5060"),
    ("5060", "5060"),
    ("5060-5061", "5060-5061"),
    ("5060:5091", "5060-5091"),
    ("5060,5061", "5060-5061"),
    (["5060-5070", "5065-5080", 5090], "5060-5080 5090"),
    ([5080, 5060], "5060 5080"),
    pytest.param("ssh", "22", marks=names_of_ports),
    pytest.param("http, https", "80 443", marks=names_of_ports),
    ("all", ""),
    ("0:65535", ""),
    (["5060", "ALL"], ""),
    ("65535", "65535"),
]


@pytest.mark.parametrize(("value", "expected"), PORTS, ids=repr)
def test_ports(value, expected):
    """Numbers, ranges, services; sorted, and joined where they touch."""
    assert " ".join(str(one) for one in ports(value)) == expected


@pytest.mark.parametrize(
    "value",
    ["", [], 0, "0", 70000, "65536", -1, "5061-5060", "0-5060", "5060-", "nosuchservice", "5060;x", "٥", "5" * 5000],
)
def test_no_ports(value):
    """Impossible ports are refused, and nothing is not all."""
    with pytest.raises(ValueError, match="port"):
        ports(value)


@given(st.lists(st.tuples(st.integers(1, 65535), st.integers(1, 65535)).map(sorted), min_size=1, max_size=8))
def test_ports_keep_every_port(pairs):
    """Joining loses no port, adds none, and leaves no overlap."""
    joined = ports([f"{first}-{last}" for first, last in pairs])
    for port in {edge + step for pair in pairs for edge in pair for step in (-1, 0, 1)}:
        asked = any(first <= port <= last for first, last in pairs)
        # 1-65535 stays a range: it is not the word for all.
        assert any(one.first <= port <= one.last for one in joined) == asked
    assert all(isinstance(one, PortRange) for one in joined)
    assert all(a.last + 1 < b.first for a, b in itertools.pairwise(joined))


@pytest.mark.parametrize(
    ("value", "expected"),
    [("udp", ("udp",)), ("TCP,udp", ("tcp", "udp")), (["sctp", "sctp"], ("sctp",)), ("all", ()), (["udp", "all"], ())],
)
def test_protocols(value, expected):
    """In the order given, once each; all is none."""
    assert protocols(value) == expected


@pytest.mark.parametrize("value", ["", [], "icmp", "ssh", "udp;tcp"])
def test_no_protocols(value):
    """A protocol without ports, or none, is refused."""
    with pytest.raises(ValueError, match="protocol"):
        protocols(value)
