"""What of the daemon's answers is shown: no secrets of SIP servers, nothing invisible."""

import mmdb_writer
import netaddr
import pytest
from hypothesis import given
from hypothesis import strategies as st

from sipguard.web.api import with_origins
from sipguard.web.networks import busiest, network_around
from sipguard.web.shown import fit, without_credentials

SECRET = "5f1d0e6c2b7a49389e10c2d3a4b5f607"


@pytest.mark.parametrize(
    "line",
    [
        f'SecurityEvent="ChallengeResponseFailed",AccountID="1000",Challenge="{SECRET}",Response="{SECRET}"',
        f'SecurityEvent="InvalidPassword",ReceivedChallenge="{SECRET}",ReceivedHash="{SECRET}",AccountID="1000"',
        f'{{"AccountID": "1000", "Challenge": "{SECRET}", "ExpectedResponse": "{SECRET}"}}',
        f'Authorization: Digest username="1000", realm="x", nonce="{SECRET}", uri="sip:x", response="{SECRET}"',
        f"Proxy-Authorization: Digest username=1000,nonce={SECRET}\r\nMax-Forwards: {'70'}",
        f"auth failed for 1000 nonce={SECRET} response={SECRET} from 203.0.113.5",
        f"sofia_reg.c: password: {SECRET} for 1000",
        f"cnonce='{SECRET}', user 1000",
        f'user 1000 WWW-Authenticate: Digest realm="x", nonce="{SECRET}"',
        f"MESSAGE sip:1000@192.0.2.1 SIP/2.0\r\nCSeq: 1\r\n\r\n{SECRET}",
        f"INVITE sip:1000@192.0.2.1 SIP/2.0\\r\\nCSeq: 1\\r\\n\\r\\n{SECRET}",
        f"1000 v=0\r\no=- 1 1 IN IP4 192.0.2.1\r\na=crypto:1 inline:{SECRET}",
    ],
)
def test_credentials_and_bodies_are_left_out(line):
    """Of whatever server; the user stays, since that is what people ask about."""
    shown = fit(line)
    assert SECRET not in shown
    assert "1000" in shown or "username" in line


@pytest.mark.parametrize(
    "line",
    [
        "2027-01-15 08:00:00 [WARNING] sofia_reg.c:1787 SIP auth failure (REGISTER) for [1000@192.0.2.10] from ip 203.0.113.5",
        "NOTICE[1]: Registration from '<sip:1000@192.0.2.1>' failed for '203.0.113.5:5060' - Wrong password",
        "5 failures in 3 s, users 1000 1001",
        "response: 403 Forbidden",
        "/var/log/freeswitch/freeswitch.log",
    ],
)
def test_ordinary_lines_stay_as_they_are(line):
    """What people must read."""
    assert fit(line) == line


def test_nothing_invisible_is_left():
    """ESC, line ends and marks that turn the direction of writing are spelled out; markup is text to the page anyway."""
    shown = fit("\x1b[31m<b>\u202eevil\u2066\n\x00&amp;")
    assert shown == "\\x1b[31m<b>\\u202eevil\\u2066\\n\\x00&amp;"


@given(st.recursive(st.none() | st.integers() | st.text(), lambda one: st.lists(one) | st.dictionaries(st.text(), one)))
def test_all_texts_within_are_fit(value):
    """At whatever depth, as keys too; and what has been made fit stays."""

    def texts(one):
        if isinstance(one, str):
            yield one
        elif isinstance(one, dict):
            for key, inner in one.items():
                yield key
                yield from texts(inner)
        elif isinstance(one, list):
            for inner in one:
                yield from texts(inner)

    shown = fit(value)
    assert all(text.isprintable() for text in texts(shown))
    assert fit(shown) == shown


def test_long_texts_are_cut_and_cost_little():
    """8,000 characters are shown, a million are not; the search for secrets does not take long on texts made for that."""
    assert fit("x" * 8000) == "x" * 8000
    assert len(fit("x" * 1_000_000)) == 10_001
    for evil in ("nonce" * 20_000, 'password="' * 10_000, "v=0 " * 25_000, "\\r\\n" * 25_000, "a" * 100_000 + "="):
        assert len(without_credentials(evil[:100_000])) <= 200_000


@pytest.mark.parametrize(
    ("text", "network"),
    [
        ("203.0.113.5", "203.0.113.5"),
        ("203.0.113.0/24", "203.0.113.0/24"),
        ("203.0.113.", "203.0.113.0/24"),
        ("203.0.113", "203.0.113.0/24"),
        ("203.", "203.0.0.0/8"),
        ("2001:db8::5", "2001:db8::5"),
        ("1000", None),
        ("300.1", None),
        ("alice", None),
        ("..", None),
        ("", None),
    ],
)
def test_what_is_searched(text, network):
    """The beginning of an address is a network; a number is an extension."""
    assert network_around(text) == network


def test_where_bans_come_from():
    """By what one provider has."""
    found = busiest(["203.0.113.5", "203.0.7.1", "198.51.100.1", "2001:db8:1::/64", "2001:db8:2::5"])
    assert [(one["network"], one["bans"]) for one in found] == [
        ("203.0.0.0/16", 2),
        ("2001:db8::/32", 2),
        ("198.51.0.0/16", 1),
    ]


@pytest.fixture
def database(tmp_path):
    """A database of countries and networks, as MaxMind and others give them."""
    writer = mmdb_writer.MMDBWriter(ip_version=6, ipv4_compatible=True, database_type="Test")
    writer.insert_network(netaddr.IPSet(["203.0.113.0/24"]), {"country": {"iso_code": "NL"}})
    writer.insert_network(netaddr.IPSet(["2001:db8::/32"]), {"autonomous_system_number": 64500, "as_name": "Example"})
    path = tmp_path / "places.mmdb"
    writer.to_db_file(str(path))
    return str(path)


def test_origins_by_a_database(database, tmp_path):
    """Where it knows them; a file that is none, or not there, is as if it were not named."""
    addresses = ["203.0.113.5", "203.0.113.0/24", "2001:db8:7::/64", "198.51.100.1"]
    (tmp_path / "broken").write_text("x")
    files = [str(tmp_path / "nothing"), str(tmp_path / "broken"), database]
    assert busiest(addresses, files) == [
        {"name": "NL", "network": None, "bans": 2},
        {"name": "AS64500 Example", "network": None, "bans": 1},
        {"name": "198.51.0.0/16", "network": "198.51.0.0/16", "bans": 1},
    ]
    page = with_origins({"total": 1, "geoip": files, "bans": [{"address": "203.0.113.5"}, {"address": "198.51.100.1"}]})
    assert page == {
        "total": 1,
        "bans": [{"address": "203.0.113.5", "origin": "NL"}, {"address": "198.51.100.1", "origin": ""}],
    }


def test_reasons_are_in_words():
    """What has led to a ban; what somebody has written stays as it is."""
    ban = {"reason": "5 failures within 600 s", "jail": "5 failures within 600 s"}
    assert fit({"bans": [ban]}) == {"bans": [{**ban, "reason": "5 failures within 10 minutes"}]}
    assert fit({"reason": "within 600 s"}) == {"reason": "within 600 s"}
    assert fit({"reason": None}) == {"reason": None}
