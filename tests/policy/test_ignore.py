"""Who is never banned."""

import pytest

from sipguard.policy.ignore import IgnoreList, own_addresses


@pytest.mark.parametrize(
    ("address", "why"),
    [
        ("203.0.113.5", None),
        ("127.0.0.1", "loopback"),
        ("127.9.9.9", "loopback"),
        ("::1", "loopback"),
        ("192.0.2.10", "this machine's own address"),
        ("198.51.100.7", "ignoreip 198.51.100.0/24"),
        ("198.51.0.0/16", "ignoreip 198.51.100.0/24"),
        ("2001:db8::66", "ignoreip 2001:db8::/32"),
        ("2001:db9::66", None),
        ("203.0.113.80", "ignoreip phone.example.com"),
        ("0.0.0.0/0", "loopback"),
    ],
)
def test_reason(address, why):
    """Single addresses, networks that hold an ignored address, names that were resolved."""
    ignore = IgnoreList(["198.51.100.0/24", "2001:db8::/32", "phone.example.com"], own=["192.0.2.10"])
    assert ignore.names == ("phone.example.com",)
    ignore.learn("phone.example.com", ["203.0.113.80"])
    assert ignore.reason(address) == why


def test_own_addresses_change():
    """An address that moved to another machine may be banned again."""
    ignore = IgnoreList([], own=["192.0.2.10"])
    ignore.set_own(["192.0.2.11"])
    assert ignore.reason("192.0.2.10") is None
    assert ignore.reason("192.0.2.11") is not None


def test_reads_this_machines_addresses():
    """Loopback is there on every Linux that runs tests."""
    assert "127.0.0.1" in own_addresses()


def test_no_proc(tmp_path):
    """A machine without those files has no addresses that we know of."""
    assert own_addresses(tmp_path) == []


def test_parses_the_kernels_table(tmp_path):
    """fib_trie: leaves that are host routes of the local table; if_inet6: hexadecimal."""
    (tmp_path / "fib_trie").write_text(
        "Local:\n  +-- 192.0.2.0/24 2 0 2\n     |-- 192.0.2.2\n        /32 host LOCAL\n"
        "     |-- 192.0.2.255\n        /32 link BROADCAST\n     |-- 127.0.0.0\n        /8 host LOCAL\n"
    )
    (tmp_path / "if_inet6").write_text("20010db8000000000000000000000010 02 40 00 80 eth0\n")
    assert own_addresses(tmp_path) == ["192.0.2.2", "2001:db8::10"]
