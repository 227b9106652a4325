"""What is nftables' own: nft's refusals in words, what others do to the table, and what a restart finds."""

from __future__ import annotations

import re
import subprocess
import time

import pytest
from needs import needs

from sipguard.errors import FirewallError
from sipguard.firewall import nft_text
from sipguard.firewall.nft_run import NftRunner, explain
from sipguard.firewall.nft_text import timeout
from sipguard.firewall.nftables import NftablesFirewall
from sipguard.firewall.options import Options
from sipguard.model import FOREVER, Ban, PortRange, Rule
from tests.netns import missing, namespace

SIP = Rule("asterisk", (PortRange(5060, 5061),), ("tcp", "udp"))


@pytest.fixture
@needs("root")
def net():
    with namespace("nft") as net, net.inside():
        yield net


def new(runner=None, **options):
    return NftablesFirewall(clock=time.time, runner=runner, options=Options(**options))


def bans(*addresses, seconds=600.0):
    now = time.time()
    return [Ban(address, "asterisk", now, now + seconds) for address in addresses]


def listed(firewall):
    return sorted(entry.address for entry in firewall.entries())


@pytest.mark.parametrize(
    ("span", "text"),
    [
        (FOREVER, ""),
        (1, " timeout 0d1s0ms"),
        (0.0001, " timeout 0d0s100ms"),
        (1.0004, " timeout 0d1s1ms"),
        (86400, " timeout 1d0s0ms"),
        (90061.5, " timeout 1d3661s500ms"),
        (1e15, " timeout 36500d0s0ms"),
    ],
)
def test_timeout(span, text):
    """Never 0, which means forever; no number that nft finds too large."""
    assert timeout(span, 0.0) == text


@pytest.mark.parametrize(
    ("stderr", "cause", "words"),
    [
        ("netlink: Error: cache initialization failed: Operation not permitted\n", "other", "CAP_NET_ADMIN"),
        ("x: Unable to initialize Netlink socket: Protocol not supported\n", "other", "no nf_tables"),
        ("netlink: Error: cache initialization failed: Invalid argument\n", "other", "nf_tables"),
        ("/dev/stdin:1:1-9: Error: Could not process rule: Operation not supported\n", "other", "Linux 5.9"),
        ("Error: Could not process rule: Too many open files in system\n", "full", "is full"),
        ("Error: Could not process rule: File exists\n", "exists", "exists"),
        ("Error: No such file or directory\nlist table\n", "absent", "gone"),
        ("netlink: Error: Could not process rule: No buffer space available\n", "flood", "refused"),
        ("warning\n/dev/stdin:1:1-9: Error: syntax error\x1b[2J, unexpected\n", "other", "syntax error"),
        ("", "other", "no message"),
    ],
)
def test_explain(stderr, cause, words):
    """Each of nft's complaints has a cause and one line for people, without control bytes."""
    error = explain(stderr)
    assert error.cause == cause
    assert words in str(error)
    assert str(error).isprintable()


def test_no_nft():
    """A host without nft hears which package it lacks."""
    with pytest.raises(FirewallError, match="install the package nftables"):
        new(NftRunner(("nft-that-is-not-here",))).open([SIP])


def test_not_privileged(net):
    """Without CAP_NET_ADMIN the message says so."""
    reason = missing("setpriv")
    if reason:
        pytest.skip(reason)
    with pytest.raises(FirewallError, match="CAP_NET_ADMIN"):
        new(NftRunner(("setpriv", "--bounding-set=-all", "--inh-caps=-all", "nft"))).open([SIP])


def test_hanging_nft():
    """An nft that does not end is ended."""
    with pytest.raises(FirewallError, match=r"within 0\.2 s"):
        NftRunner(("sh", "-c", "exec sleep 60"), timeout=0.2).run("")


def test_killed_nft():
    """An nft that somebody kills is reported as such."""
    with pytest.raises(FirewallError, match="signal 9"):
        NftRunner(("sh", "-c", "kill -9 $$")).run("")


def test_environment(monkeypatch):
    """nft does not see the daemon's environment."""
    monkeypatch.setenv("SECRET", "1")
    assert NftRunner(("sh", "-c", "env")).run("").count("SECRET") == 0


@pytest.mark.parametrize("addresses", [["203.0.113.1", "203.0.113.2", "203.0.113.3"], ["10.0.0.0/8", "11.0.0.0/8"]])
def test_full_set(net, monkeypatch, addresses):
    """A set without room refuses the batch and says so; what was in stays, can be prolonged, and can be taken out."""
    monkeypatch.setattr(nft_text, "MOST_NETWORKS", 1)
    firewall = new(size=2)
    firewall.open([SIP])
    with pytest.raises(FirewallError, match="full"):
        firewall.ban(bans(*addresses))
    assert firewall.entries() == []
    firewall.ban(bans("203.0.113.1", "203.0.113.2"))
    firewall.ban(bans("203.0.113.1", "203.0.113.2", seconds=6000))
    assert min(entry.until for entry in firewall.entries()) > time.time() + 5000
    firewall.unban(bans("203.0.113.77", "203.0.113.1"))
    assert listed(firewall) == ["203.0.113.2"]


@pytest.mark.parametrize(
    ("done", "complaints"),
    [
        pytest.param("flush ruleset", ["table inet sipguard is gone"], id="flush-ruleset"),
        pytest.param("delete table inet sipguard", ["table inet sipguard is gone"], id="delete-table"),
        pytest.param(
            "flush chain inet sipguard banned",
            ["rule banned of table inet sipguard is missing or changed"] * 5,
            id="flush-chain",
        ),
        pytest.param(
            "flush table inet sipguard",
            ["rule banned of table inet sipguard is missing or changed"] * 5
            + ["rule refuse of table inet sipguard is missing or changed"] * 4,
            id="flush-table",
        ),
        pytest.param(
            "flush chain inet sipguard banned; delete set inet sipguard n6_asterisk",
            ["rule banned of table inet sipguard is missing or changed"] * 5
            + ["set n6_asterisk of table inet sipguard is missing or changed"],
            id="delete-set",
        ),
        pytest.param(
            "add table inet sipguard { flags dormant; }", ["table inet sipguard is put to sleep"], id="dormant"
        ),
        pytest.param(
            "insert rule inet sipguard banned udp dport 5060 accept",
            ["a rule banned of table inet sipguard is of somebody else"],
            id="rule-in-our-chain",
        ),
        pytest.param("add chain inet sipguard mine", [], id="chain-of-theirs-in-our-table"),
        pytest.param("add table inet other", [], id="others"),
    ],
)
def test_verify(net, done, complaints):
    """What others took away is told, and opening again puts it back; bans do not count."""
    firewall = new()
    firewall.open([SIP])
    firewall.ban(bans("203.0.113.1", "203.0.113.0/24"))
    assert firewall.verify() == []
    subprocess.run(["nft", done], check=True)
    assert firewall.verify() == complaints
    firewall.open([SIP])
    assert firewall.verify() == []
    firewall.ban(bans("203.0.113.1"))
    assert "203.0.113.1" in listed(firewall)


def test_table_gone(net):
    """When another program removed the table, a ban says so; unban and list find nothing, without an error."""
    firewall = new()
    firewall.open([SIP])
    firewall.ban(bans("203.0.113.1", "203.0.113.0/24"))
    subprocess.run(["nft", "flush", "ruleset"], check=True)
    with pytest.raises(FirewallError, match="another program removed it"):
        firewall.ban(bans("203.0.113.1"))
    with pytest.raises(FirewallError, match="another program removed it"):
        firewall.ban(bans("203.0.113.0/24"))
    firewall.unban(bans("203.0.113.1", "203.0.113.0/24"))
    assert firewall.entries() == []


def test_restart(net):
    """A new process finds the bans of the last one, networks cut into pieces included, and can change them."""
    first = new()
    first.open([SIP])
    first.ban(bans("203.0.113.1", "10.1.0.0/16", seconds=6000) + bans("10.0.0.0/8", "2001:db8::/32"))
    second = new()
    assert listed(second) == ["10.0.0.0/8", "10.1.0.0/16", "2001:db8::/32", "203.0.113.1"]
    second.open([SIP])
    second.ban(bans("10.0.0.0/8", seconds=60) + bans("203.0.113.1", "203.0.113.2", seconds=60))
    ends = {entry.address: round(entry.until - time.time(), -1) for entry in second.entries()}
    assert ends == {
        "10.0.0.0/8": 60,
        "10.1.0.0/16": 6000,
        "2001:db8::/32": 600,
        "203.0.113.1": 60,
        "203.0.113.2": 60,
    }
    second.unban(bans("10.0.0.0/8"))
    assert listed(second) == ["10.1.0.0/16", "2001:db8::/32", "203.0.113.1", "203.0.113.2"]


def test_rewriting_does_not_shorten(net):
    """Other networks of the set keep their time when one is added, however often."""
    firewall = new()
    firewall.open([SIP])
    firewall.ban(bans("10.0.0.0/8", seconds=30))
    for number in range(20):
        firewall.ban(bans(f"203.0.113.{number * 2}/31"))
    (until,) = (entry.until for entry in firewall.entries() if entry.address == "10.0.0.0/8")
    assert until - time.time() > 27


def test_foreign_set_in_our_table(net):
    """A set that an administrator put into the table stays, and is not listed."""
    firewall = new()
    firewall.open([SIP])
    subprocess.run(["nft", "add set inet sipguard mine { type ipv4_addr; elements = { 192.0.2.1 }; }"], check=True)
    firewall.open([Rule("other")])
    assert "set mine" in firewall.show()
    assert firewall.entries() == []


def test_other_size(net):
    """A size that was changed in the configuration is taken over at the next start, and bans stay."""
    first = new(size=2000)
    first.open([SIP])
    first.ban(bans("203.0.113.1", "2001:db8::1"))
    second = new(size=3000)
    second.open([SIP])
    assert "size 3000" in second.show()
    assert listed(second) == ["2001:db8::1", "203.0.113.1"]
    assert second.verify() == []


def test_table_of_an_earlier_version(net):
    """Sets that do not count are made anew by ones that do: every ban stays, networks too, and their times."""
    first = new()
    first.open([SIP])
    first.ban(bans("203.0.113.1", "2001:db8::1", "198.51.100.0/24") + bans("192.0.2.1", seconds=FOREVER))
    older = re.sub(r"\bcounter( packets \d+ bytes \d+)?", "", first.show())
    net.run("nft", "-f", "-", script="delete table inet sipguard\n" + older)
    assert "counter" not in first.show()
    before = {entry.address: entry.until for entry in first.entries()}
    assert first.rejected("203.0.113.1") is None
    second = new()
    second.open([SIP])
    assert {entry.address: entry.until for entry in second.entries()} == pytest.approx(before, abs=2)
    assert second.rejected("203.0.113.1") == second.rejected("198.51.100.7") == 0
    assert second.verify() == []


def test_prefix_of_an_earlier_version(net):
    """A /64 that an earlier version put among the intervals is listed, and an unban finds it."""
    firewall = new()
    firewall.open([SIP])
    one = "add element inet sipguard n6_asterisk { 2001:db8::/64 timeout 1h, 2001:db8:1::/48 timeout 1h }"
    net.run("nft", one)
    assert listed(firewall) == ["2001:db8:1::/48", "2001:db8::/64"]
    firewall.ban(bans("2001:db8::/64"))
    firewall.unban(bans("2001:db8::/64"))
    assert listed(firewall) == ["2001:db8:1::/48"]


def test_a_reload_lists_nothing(net, monkeypatch):
    """Opened again with nothing lost, a ban need not fetch 100,000 others; what was lost is looked up, and counts stay."""
    firewall = new()
    firewall.open([SIP])
    made = bans("203.0.113.1", "203.0.113.2")
    firewall.ban(made)
    looked = []
    find = firewall._nft.find
    monkeypatch.setattr(firewall._nft, "find", lambda command: looked.append(command) or find(command))
    assert firewall.verify() == []
    firewall.open([SIP])
    firewall.ban(bans("203.0.113.3"))
    assert not looked
    one = "delete element inet sipguard a4_asterisk { 203.0.113.1 }\n"
    one += "add element inet sipguard a4_asterisk { 203.0.113.1 counter packets 7 bytes 700 timeout 9m59s900ms }\n"
    net.run("nft", "-f", "-", script=one + "flush chain inet sipguard refuse\n")
    assert firewall.verify() != []
    firewall.open([SIP])
    firewall.ban(made)
    assert looked
    assert firewall.rejected("203.0.113.1") == 7


def test_count_stays(net):
    """What an element has counted survives a restart, which gives every ban again, and a changed size; not a new time."""
    first = new(size=2000)
    first.open([SIP])
    made = bans("203.0.113.1", "203.0.113.2")
    first.ban(made)
    one = "delete element inet sipguard a4_asterisk { 203.0.113.1 }\n"
    one += "add element inet sipguard a4_asterisk { 203.0.113.1 counter packets 7 bytes 700 timeout 9m59s900ms }\n"
    net.run("nft", "-f", "-", script=one)
    for size in (2000, 3000):
        again = new(size=size)
        again.open([SIP])
        again.ban(made)
        assert again.rejected("203.0.113.1") == 7
        assert again.rejected("203.0.113.2") == 0
    again.ban(bans("203.0.113.1", seconds=900))
    assert again.rejected("203.0.113.1") == 0
    assert max(entry.until for entry in again.entries()) > time.time() + 890


def test_options(net):
    """What the sender is told, and on which ports, is as chosen."""
    firewall = new(reject_with="admin-prohibited", all_ports=True)
    firewall.open([SIP])
    assert "admin-prohibited" in firewall.show()
    assert "5060" not in firewall.show()


def test_sleeping_table_of_others(net):
    """Of a table that sleeps, nft 1.0.6 prints JSON that is none: with somebody else's, everything goes on."""
    subprocess.run(["nft", "add table inet theirs { flags dormant; }"], check=True)
    firewall = new()
    firewall.open([SIP])
    firewall.ban(bans("203.0.113.1"))
    firewall.open([SIP])
    assert listed(firewall) == ["203.0.113.1"]
    assert firewall.verify() == []


def test_unreadable_answer():
    """What is no JSON is an error for people, not a traceback."""
    with pytest.raises(FirewallError, match="cannot be read"):
        list(nft_text.parse_elements('{"nftables": [{"metainfo": {}}, \n'))
