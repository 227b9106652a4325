"""What firewall/base.py promises of feeds, kept by every backend alike; real ones in a network namespace of their own."""

from __future__ import annotations

import contextlib
import resource
import subprocess
import time

import pytest
from effort import effort
from limits import within
from needs import with_root

from sipguard.errors import FirewallError
from sipguard.model import Ban, Rule
from tests.backends import backend_of
from tests.firewall import test_contract
from tests.foreign import dump
from tests.netns import namespace


@pytest.fixture(params=with_root("memory", "nftables", "ipset", "nftables as nobody", "ipset as nobody"))
def firewall(request):
    """Each backend that takes feeds, in turn."""
    yield from test_contract.unopened(request.param)


SIP = Rule("asterisk")
MIXED = ["198.51.100.0/24", "2001:db8:1::5", "2001:db8::/64", "203.0.113.5", "203.0.113.64/26"]


def until(networks, seconds=600.0):
    return [(network, time.time() + seconds) for network in networks]


def listed(firewall, name="apiban"):
    return sorted(entry.address for entry in firewall.feeds.entries(name))


def test_feed_is_set_replaced_and_dropped(firewall):
    """Addresses and networks of both families are rejected, then others instead of them, then none."""
    firewall.open([SIP])
    firewall.feeds.set("apiban", until(MIXED))
    assert listed(firewall) == MIXED
    assert firewall.feeds.names() == ["apiban"]
    assert all(550 < entry.until - time.time() < 601 for entry in firewall.feeds.entries("apiban"))
    firewall.feeds.set("apiban", until(["203.0.113.5", "203.0.113.7"], 60), "drop")
    assert listed(firewall) == ["203.0.113.5", "203.0.113.7"]
    assert all(10 < entry.until - time.time() < 61 for entry in firewall.feeds.entries("apiban"))
    assert firewall.verify() == []
    firewall.feeds.drop("apiban")
    firewall.feeds.drop("apiban")
    assert (firewall.feeds.names(), listed(firewall)) == ([], [])


def test_feeds_apart(firewall):
    """Two feeds with one address: the end of one leaves the other; an empty one is there all the same."""
    for name in ("apiban", "drop-list", "drop"):
        firewall.feeds.set(name, until(["203.0.113.5"]))
    firewall.feeds.set("empty", [])
    firewall.feeds.drop("drop")
    assert firewall.feeds.names() == ["apiban", "drop-list", "empty"]
    assert listed(firewall, "drop-list") == ["203.0.113.5"]
    assert listed(firewall, "empty") == []


def test_feeds_and_bans_apart(firewall):
    """Bans neither list nor lose feeds, opening again touches none, and a flush takes both."""
    firewall.feeds.set("apiban", until(MIXED))
    firewall.open([SIP])
    firewall.ban([Ban("203.0.113.9", "asterisk", 0.0, time.time() + 60)])
    firewall.open([])
    assert firewall.entries() == []
    assert listed(firewall) == MIXED
    firewall.open([SIP])
    firewall.flush()
    assert (firewall.feeds.names(), firewall.entries(), firewall.verify()) == ([], [], [])


def test_feed_entries_end(firewall):
    """An entry ends at its own time, and one whose time has passed never begins."""
    firewall.feeds.set("apiban", [*until(["203.0.113.5"], 3), *until(["203.0.113.6"]), *until(["203.0.113.7"], -1)])
    assert listed(firewall) == ["203.0.113.5", "203.0.113.6"]
    test_contract.pass_time(firewall, 3.2)
    assert listed(firewall) == ["203.0.113.6"]


@pytest.mark.parametrize(
    "bad", ["", "localhost", "203.0.113.5 }", "203.0.113.5/24", "203.0.113.5/33", "fe80::1%x", "1/x"]
)
def test_feed_of_nonsense(firewall, bad):
    """What is no network, or has host bits, refuses the whole list: the feed has what it had."""
    firewall.feeds.set("apiban", until(["203.0.113.5"]))
    with pytest.raises(FirewallError, match="cannot reject"):
        firewall.feeds.set("apiban", until(["203.0.113.6", bad]))
    assert listed(firewall) == ["203.0.113.5"]


def test_feed_after_a_foreign_flush(firewall):
    """Another program flushes the ruleset: the feed is told missing, and to set it again is enough."""
    firewall.open([SIP])
    firewall.feeds.set("apiban", until(MIXED))
    if firewall.name != "memory":
        subprocess.run(["nft", "flush", "ruleset"], check=True)
        assert firewall.feeds.names() == []
        assert any("apiban" in line for line in firewall.verify())
    firewall.feeds.set("apiban", until(MIXED))
    assert firewall.feeds.names() == ["apiban"]
    assert listed(firewall) == MIXED


def test_feed_of_an_earlier_run(firewall):
    """A backend that has just started names what an earlier one left, and drops it."""
    firewall.feeds.set("drop-list_1", until(MIXED))
    with contextlib.closing(firewall if firewall.name == "memory" else backend_of(firewall.name)) as again:
        assert again.feeds.names() == ["drop-list_1"]
        again.feeds.drop("drop-list_1")
        assert again.feeds.names() == []


def test_feeds_leave_others_alone(firewall):
    """The chain of APIBAN's own client, and every other rule, stay as they are."""
    if firewall.name == "memory":
        firewall.feeds.set("apiban", until(MIXED))
        assert "APIBAN" not in firewall.show()
        return
    for command in (
        "-N APIBAN",
        "-I INPUT 1 -j APIBAN",
        "-I FORWARD 1 -j APIBAN",
        "-A APIBAN -s 203.0.113.5 -j REJECT",
    ):
        subprocess.run(["iptables", *command.split()], check=True)
    before = dump()
    firewall.feeds.set("apiban", until(MIXED))
    assert dump() == before
    firewall.feeds.drop("apiban")
    assert dump() == before


def many(count):
    """Networks that do not touch: half of 198.18.0.0/15 and every second /64 of a part of 2001:db8::/32."""
    four = [f"198.{18 + (i >> 15)}.{(i >> 7) & 255}.{(i << 1) & 255}" for i in range(65_536)]
    six = [f"2001:db8:{i >> 12:x}:{(i & 4095) << 1:x}::/64" for i in range(count - len(four))]
    return four + [text.replace(":0::/", "::/") for text in six]


@pytest.mark.timed
@pytest.mark.parametrize("firewall", with_root("memory", "nftables", "ipset"), indirect=True)
def test_two_hundred_thousand_networks(firewall, capsys):
    """200,000 networks go in within 5 s, and are replaced within 5 s; how long and how much memory is printed."""
    networks = until(many(200_000))
    taken = []
    for _ in range(effort(2, 4)):
        begin = time.perf_counter()
        firewall.feeds.set("big", networks)
        taken.append(time.perf_counter() - begin)
    begin = time.perf_counter()
    assert firewall.feeds.names() == ["big"]
    asked = time.perf_counter() - begin
    child = resource.getrusage(resource.RUSAGE_CHILDREN).ru_maxrss // 1024
    with capsys.disabled():
        print(f"\n{firewall.name}: 200,000 networks in {taken[0]:.2f} s, again in {taken[1]:.2f} s,", end=" ")
        print(f"asked in {asked:.3f} s; largest child process {child} MiB")
    # Of four, two: what other programs do meanwhile makes a run longer, never shorter.
    assert sorted(taken)[1] < within(5)
    assert asked < within(0.5)
    assert len(firewall.feeds.entries("big")) == 200_000


@pytest.mark.root
def test_feeds_are_not_for_rules():
    """A rule per address is no place for a list: the error names what is."""
    with namespace("iptables-legacy") as net, net.inside():
        firewall = backend_of("iptables")
        with pytest.raises(FirewallError, match="ipset or nftables"):
            firewall.feeds.set("apiban", until(MIXED))
        assert (firewall.feeds.names(), listed(firewall)) == ([], [])
        firewall.feeds.drop("apiban")


def test_a_feed_changes_by_single_entries(firewall):
    """Entries come and go, of lengths that were not there before; one gets another time; the others stay as they are."""
    firewall.feeds.set("fleet.a", until(["203.0.113.5", "203.0.113.6"]))
    firewall.feeds.change("fleet.a", until(["203.0.113.7", "2001:db8::/64", "203.0.113.64/26"]))
    assert listed(firewall, "fleet.a") == [
        "2001:db8::/64",
        "203.0.113.5",
        "203.0.113.6",
        "203.0.113.64/26",
        "203.0.113.7",
    ]
    gone = ["203.0.113.5", "203.0.113.6", "203.0.113.99", "2001:db8:1::/64", "198.51.100.0/24"]
    firewall.feeds.change("fleet.a", until(["203.0.113.6"], 60), gone)
    assert listed(firewall, "fleet.a") == ["2001:db8::/64", "203.0.113.6", "203.0.113.64/26", "203.0.113.7"]
    (renewed,) = [entry for entry in firewall.feeds.entries("fleet.a") if entry.address == "203.0.113.6"]
    assert 10 < renewed.until - time.time() < 61
    assert firewall.feeds.names() == ["fleet.a"]
    assert firewall.verify() == []
    firewall.feeds.change("fleet.a", [], ["203.0.113.6"])
    assert "203.0.113.6" not in listed(firewall, "fleet.a")


def test_a_list_that_begins_empty(firewall):
    """Entries are taken out as well where they have come one by one; no rule is made twice."""
    firewall.feeds.set("fleet.a", [])
    for network in ("203.0.113.5", "203.0.113.6", "2001:db8::/64"):
        firewall.feeds.change("fleet.a", until([network]))
    assert firewall.show().count("match-set") <= 4
    firewall.feeds.change("fleet.a", [], ["203.0.113.6", "2001:db8::/64"])
    firewall.feeds.change("fleet.a", [], ["203.0.113.5"])
    assert listed(firewall, "fleet.a") == []
    if firewall.name == "nftables":
        rules = subprocess.run(["nft", "list", "ruleset"], capture_output=True, text=True, check=True).stdout
        assert rules.count("saddr @f4_32_fleet") == 1


def test_a_change_of_a_feed_that_is_gone(firewall):
    """It is told: whoever keeps the feed gives it anew as a whole."""
    with pytest.raises(FirewallError):
        firewall.feeds.change("fleet.a", until(["203.0.113.5"]))
    firewall.feeds.set("fleet.a", until(["203.0.113.5"]))
    with pytest.raises(FirewallError, match="cannot reject"):
        firewall.feeds.change("fleet.a", until(["203.0.113.9", "1/x"]))
    assert listed(firewall, "fleet.a") == ["203.0.113.5"]
    firewall.feeds.drop("fleet.a")
    with pytest.raises(FirewallError):
        firewall.feeds.change("fleet.a", until(["203.0.113.5"]))
