"""Country and network of banned addresses, out of databases in MaxMind's format."""

from __future__ import annotations

import sys

import pytest
from mmdb import database
from running import append, ask, running

from sipguard.geoip import origins

COUNTRIES = {
    "203.0.113.0/24": {"country": {"iso_code": "NL"}},
    "2001:db8:7::/48": {"country": {"iso_code": "CH"}},
}
NETWORKS = {
    "203.0.113.0/25": {"autonomous_system_number": 64500, "autonomous_system_organization": "Example \x1b[2J Net"},
    "198.51.100.0/24": {"asn": "AS64501", "as_name": "Documentation", "country": "AU"},
}


@pytest.fixture
def files(tmp_path):
    """A database of countries, and one of networks."""
    pytest.importorskip("maxminddb", reason="maxminddb is not installed: countries are not looked up")
    made = []
    for name, networks in (("country", COUNTRIES), ("asn", NETWORKS)):
        made.append(tmp_path / f"{name}.mmdb")
        made[-1].write_bytes(database(networks))
    return [str(one) for one in made]


def test_what_is_known(files):
    """Of both, of addresses and of networks; nothing of what neither knows."""
    asked = ["203.0.113.5", "203.0.113.200", "2001:db8:7:1::/64", "198.51.100.7", "192.0.2.1"]
    assert origins(asked, files) == {
        "203.0.113.5": "NL AS64500 Example \x1b[2J Net",
        "203.0.113.200": "NL",
        "2001:db8:7:1::/64": "CH",
        "198.51.100.7": "AU AS64501 Documentation",
    }


def test_what_cannot_be_read(files, tmp_path, monkeypatch):
    """A file that is missing or damaged, or no library: the list is worth having without."""
    (tmp_path / "damaged.mmdb").write_bytes(b"no database")
    assert origins(["203.0.113.5"], [str(tmp_path / "none.mmdb"), str(tmp_path / "damaged.mmdb"), files[0]]) == {
        "203.0.113.5": "NL"
    }
    assert origins(["203.0.113.5"], []) == {}
    monkeypatch.setitem(sys.modules, "maxminddb", None)
    assert origins(["203.0.113.5"], files) == {}


def test_in_the_list(files, tmp_path):
    """`sipguard bans` has a column for it, in which nothing is obeyed."""
    with running(tmp_path / "run", {"freeswitch": {"logpath": "/dev/null"}}) as daemon:
        append(daemon.config, f"[geoip]\nfiles = {files}\n".replace("'", '"'))
        daemon.sipguard("reload")
        daemon.sipguard("ban", "203.0.113.5", "--reason", "x")
        assert ask(daemon.socket, "bans")["geoip"] == files
        row = daemon.sipguard("bans").stdout.splitlines()[0].split("\t")
        assert row[-2:] == [r"NL AS64500 Example \x1b[2J Net", "x"]
