"""The contract of firewall/base.py, kept by every backend alike; real ones in a network namespace of their own."""

from __future__ import annotations

import ipaddress
import math
import subprocess
import time

import pytest
from limits import within
from needs import with_root

from sipguard.errors import FirewallError
from sipguard.firewall.choose import open_firewall
from sipguard.firewall.nft_events import NftEvents
from sipguard.model import FOREVER, Ban, PortRange, Rule
from tests.backends import backend_of
from tests.foreign import dump
from tests.netns import namespace

SIP = Rule("asterisk", (PortRange(5060, 5061),), ("tcp", "udp"))
ALL = Rule("recidive")
ODD = Rule("tür-1.b_c ü\N{PILE OF POO}; flush ruleset", (PortRange(5060, 5060),), ("udp",), "drop")
NFTABLES = ["nftables by library", "nftables by program"]
ROUNDING = 3.0
"""Seconds by which an end may differ: ipset counts whole ones, and what is left was asked for a moment before it is read."""
TICK = {"ipset": 1.0}
"""Seconds by which a kernel may end a ban late."""


@pytest.fixture(params=with_root("memory", *NFTABLES, "ipset", "iptables", "nftables as nobody", "ipset as nobody"))
def firewall(request):
    """Each backend in turn."""
    yield from unopened(request.param)


def unopened(name):
    """A backend that has not been opened, inside an empty namespace."""
    if name == "memory":
        yield open_firewall("memory", clock=time.time)
        return
    with namespace("nft", "iptables-save") as net, net.inside():
        backend = backend_of(name)
        yield backend
        backend.close()


_made = {}


@pytest.fixture(autouse=True)
def _none_made():
    """Another test's ban of the same address was made earlier."""
    _made.clear()


def bans(*addresses, jail="asterisk", seconds=600.0):
    now = time.time()
    _made.update(dict.fromkeys([*addresses, "last"], now))
    return [Ban(address, jail, now, now + seconds) for address in addresses]


def listed(firewall, jail="asterisk"):
    return sorted(entry.address for entry in firewall.entries() if entry.jail == jail)


def lasts(firewall, address):
    """Seconds from when the ban was asked for to its end, however long this test took meanwhile."""
    (until,) = (entry.until for entry in firewall.entries() if entry.address == address)
    return until - _made.get(address, _made["last"])


def about(seconds):
    """What `lasts` should give: whole seconds, from when the backend took the ban, which on a busy machine is later."""
    return pytest.approx(seconds, abs=ROUNDING + time.time() - _made["last"])


def pass_time(firewall, seconds):
    """Let time pass, and do what the daemon does for a backend that does not end bans by itself."""
    time.sleep(seconds + TICK.get(firewall.name, 0.0))
    if not firewall.ends_bans:
        now = time.time()
        firewall.unban([Ban(entry.address, entry.jail, 0, 0) for entry in firewall.entries() if entry.until <= now])


@pytest.mark.parametrize(
    ("given", "kept"),
    [
        pytest.param("203.0.113.5", "203.0.113.5", id="ipv4"),
        pytest.param("2001:db8::5", "2001:db8::5", id="ipv6"),
        pytest.param("2001:DB8:0::0005", "2001:db8::5", id="ipv6-not-canonical"),
        pytest.param("::ffff:203.0.113.5", "203.0.113.5", id="mapped"),
        pytest.param("::ffff:203.0.113.0/120", "203.0.113.0/24", id="mapped-network"),
        pytest.param("fe80::1%; flush ruleset", "fe80::1", id="zone-with-syntax"),
        pytest.param("203.0.113.0/24", "203.0.113.0/24", id="network"),
        pytest.param("203.0.113.77/24", "203.0.113.0/24", id="network-host-bits"),
        pytest.param("203.0.113.5/32", "203.0.113.5", id="network-of-one"),
        pytest.param("2001:db8::/64", "2001:db8::/64", id="ipv6-network"),
        pytest.param("2001:db8::5/128", "2001:db8::5", id="ipv6-network-of-one"),
        pytest.param("0.0.0.0/0", "0.0.0.0/0", id="every-ipv4"),
        pytest.param("::/0", "::/0", id="every-ipv6"),
    ],
)
def test_ban_list_unban(firewall, given, kept):
    """What is banned is listed in canonical form with its time, and gone after an unban, however it is written."""
    firewall.open([SIP])
    firewall.ban(bans(given))
    assert listed(firewall) == [kept]
    assert lasts(firewall, kept) == about(600)
    firewall.unban(bans(given))
    assert firewall.entries() == []


@pytest.mark.parametrize("bad", ["", "localhost", "example.com", "203.0.113.5 }", "1; flush ruleset", "203.0.113.0/33"])
def test_no_address(firewall, bad):
    """One bad address refuses the batch before anything is done, with a message that names it."""
    firewall.open([SIP])
    with pytest.raises(FirewallError, match="neither an IP address nor a network"):
        firewall.ban(bans("203.0.113.5", bad))
    assert firewall.entries() == []


def test_unknown_jail(firewall):
    """A ban of a jail that open was not told of is refused; its unban is no error."""
    firewall.open([SIP])
    with pytest.raises(FirewallError, match="not opened for a jail named 'other'"):
        firewall.ban(bans("203.0.113.5", jail="other"))
    firewall.unban(bans("203.0.113.5", jail="other"))


@pytest.mark.parametrize("address", ["203.0.113.5", "2001:db8::5", "203.0.113.0/24", "2001:db8::/64"])
@pytest.mark.parametrize(("first", "second"), [(60, 6000), (6000, 60), (60, FOREVER), (FOREVER, 60)])
def test_ban_again(firewall, address, first, second):
    """An address already there gets the new time; others of the batch are made all the same."""
    firewall.open([SIP])
    firewall.ban(bans(address, seconds=first))
    firewall.ban([*bans(address, seconds=second), *bans("198.51.100.1")])
    assert listed(firewall) == sorted([address, "198.51.100.1"])
    assert lasts(firewall, address) == about(second)


def test_same_address_twice(firewall):
    """Of several bans of one address in a call the last counts, and a mapped address is the same one."""
    firewall.open([SIP])
    firewall.ban(bans("203.0.113.5", seconds=50) + bans("::ffff:203.0.113.5", seconds=500))
    assert lasts(firewall, "203.0.113.5") == about(500)


@pytest.mark.parametrize("seconds", [1e6, 90 * 86400.0, 1e9, 1e12, 1e18])
def test_long_times(firewall, seconds):
    """A very long time is no error and no short one; beyond a hundred years a backend may cut it."""
    firewall.open([SIP])
    firewall.ban(bans("203.0.113.5", seconds=seconds))
    assert lasts(firewall, "203.0.113.5") > min(seconds, 99 * 365 * 86400) - ROUNDING


def test_none_is_read_back_early(firewall):
    """Who restarts without his state takes the ends from here: wherever in its second a ban was made, none is too early."""
    firewall.open([SIP])
    now = time.time()
    ends = {f"203.0.113.{n}": now + 600 + n / 10 for n in range(1, 31)}
    firewall.ban([Ban(address, "asterisk", now, until) for address, until in ends.items()])
    read = {entry.address: entry.until for entry in firewall.entries()}
    # The kernel's clock counts in ticks of up to 10 ms.
    assert {address: read[address] for address, until in ends.items() if read[address] < until - 0.01} == {}
    assert read == pytest.approx(ends, abs=ROUNDING + time.time() - now)


def test_expiry(firewall):
    """A ban ends by itself, an address or a network, and times that have passed are left out."""
    firewall.open([SIP])
    firewall.ban(bans("203.0.113.5", "203.0.113.128/25", "2001:db8::5", seconds=3))
    firewall.ban(bans("203.0.113.7", seconds=0.0) + bans("203.0.113.8", seconds=-5) + bans("203.0.113.9"))
    found = listed(firewall)
    # A busy machine may need the three seconds to look.
    assert (
        found == ["2001:db8::5", "203.0.113.128/25", "203.0.113.5", "203.0.113.9"]
        or time.time() > _made["203.0.113.5"] + 2
    )
    pass_time(firewall, 3.2)
    assert listed(firewall) == ["203.0.113.9"]
    firewall.ban(bans("203.0.113.5", "203.0.113.128/25"))
    assert listed(firewall) == ["203.0.113.128/25", "203.0.113.5", "203.0.113.9"]


def test_shortest_ban_is_not_forever(firewall):
    """A ban with a moment left ends: the kernel would take a timeout of nothing for one without end."""
    firewall.open([SIP])
    firewall.ban(bans("203.0.113.5", seconds=0.02))
    pass_time(firewall, 0.3)
    assert firewall.entries() == []


def test_overlapping_networks(firewall):
    """A network inside another is no error, both are listed with their times, and one can go while the other stays."""
    firewall.open([SIP])
    firewall.ban(bans("10.1.0.0/16", seconds=6000))
    firewall.ban(bans("10.0.0.0/8", "203.0.113.5", seconds=600))
    firewall.ban(bans("10.1.2.0/24", seconds=60))
    assert listed(firewall) == ["10.0.0.0/8", "10.1.0.0/16", "10.1.2.0/24", "203.0.113.5"]
    assert lasts(firewall, "10.0.0.0/8") == about(600)
    assert lasts(firewall, "10.1.0.0/16") == about(6000)
    firewall.unban(bans("10.1.0.0/16"))
    assert listed(firewall) == ["10.0.0.0/8", "10.1.2.0/24", "203.0.113.5"]
    firewall.unban(bans("10.0.0.0/8"))
    assert listed(firewall) == ["10.1.2.0/24", "203.0.113.5"]
    assert lasts(firewall, "10.1.2.0/24") == about(60)


def test_unban_absent(firewall):
    """An address that is not there is no error, and does not keep the others of the batch."""
    firewall.open([SIP])
    firewall.ban(bans("203.0.113.5", "203.0.113.0/24"))
    firewall.unban(bans("198.51.100.1", "203.0.113.5", "198.51.100.0/24", "203.0.113.0/24", "2001:db8::1"))
    assert firewall.entries() == []


def test_jails_apart(firewall):
    """The same address in two jails is two bans, and every jail's own name is listed, whatever characters it holds."""
    firewall.open([SIP, ALL, ODD])
    for rule in (SIP, ALL, ODD):
        firewall.ban(bans("203.0.113.5", jail=rule.jail))
    firewall.unban(bans("203.0.113.5", jail=ALL.jail))
    assert sorted(entry.jail for entry in firewall.entries()) == sorted([SIP.jail, ODD.jail])


def test_open_again(firewall):
    """Opening again keeps live bans with their times; sets of jails no longer named go and come back empty."""
    firewall.open([SIP, ALL, ODD])
    firewall.ban(bans("203.0.113.5") + bans("203.0.113.6", jail=ALL.jail) + bans("203.0.113.0/24", jail=ODD.jail))
    before = firewall.show()
    firewall.open([SIP, ALL, ODD])
    assert len(firewall.entries()) == 3
    assert before.count("\n") == firewall.show().count("\n")
    firewall.open([Rule("asterisk", (PortRange(5080, 5080),))])
    assert [(entry.address, entry.jail) for entry in firewall.entries()] == [("203.0.113.5", "asterisk")]
    assert lasts(firewall, "203.0.113.5") == about(600)
    assert firewall.verify() == []
    firewall.open([SIP, ALL])
    assert listed(firewall) == ["203.0.113.5"]


def test_flush(firewall):
    """After a flush nothing is listed, nothing is missed, a ban says to open first, and a second flush is no error."""
    firewall.open([SIP])
    firewall.ban(bans("203.0.113.5"))
    firewall.flush()
    firewall.flush()
    assert firewall.entries() == []
    assert firewall.verify() == []
    assert firewall.show() == ""
    with pytest.raises(FirewallError):
        firewall.ban(bans("203.0.113.5"))
    firewall.open([SIP])
    assert firewall.entries() == []


def test_nothing_before_open(firewall):
    """Before open there is nothing, and asking is no error."""
    assert firewall.entries() == []
    assert firewall.verify() == []
    assert firewall.show() == ""
    firewall.unban(bans("203.0.113.5"))
    firewall.ban([])


def test_ten_thousand(firewall):
    """Ten thousand addresses go in, get a new time, and come out, in one call each."""
    many = [str(ipaddress.ip_address("10.0.0.0") + i) for i in range(9000)]
    many += [str(ipaddress.ip_address("2001:db8::") + i) for i in range(1000)]
    firewall.open([SIP])
    firewall.ban(bans(*many, seconds=60))
    assert listed(firewall) == sorted(many)
    firewall.ban(bans(*many, seconds=6000))
    assert min(entry.until for entry in firewall.entries()) > time.time() + 5000
    firewall.unban(bans(*many))
    assert firewall.entries() == []


@pytest.mark.timed
def test_many_ipv6_networks(firewall):
    """Ten thousand networks of the length by which jails ban IPv6 are no more work than addresses, nor is one more."""
    first = int(ipaddress.ip_address("2001:db8::"))
    many = [str(ipaddress.ip_network((first + (i << 64), 64))) for i in range(10_000)]
    firewall.open([SIP])
    firewall.ban(bans(*many))
    assert listed(firewall) == sorted(many)
    taken = []
    for number in range(5):
        begin = time.perf_counter()
        firewall.ban(bans(f"2001:db8:f:{number + 1:x}::/64"))
        taken.append(time.perf_counter() - begin)
    if firewall.name != "iptables":  # a rule each is slower, and intervals took nft a second
        assert min(taken) < within(0.2)
    firewall.unban(bans(*many))
    assert len(firewall.entries()) == 5


def test_others_untouched(firewall):
    """Nothing of the host's own tables changes, whatever is called."""
    if firewall.name == "memory":
        firewall.open([SIP])
        assert "inet" not in firewall.show()
        return
    subprocess.run(["iptables", "-A", "INPUT", "-s", "192.0.2.1", "-j", "DROP"], check=True)
    script = (
        "add table inet filter\nadd set inet filter a4_asterisk { type ipv4_addr; flags timeout; }\n"
        "add element inet filter a4_asterisk { 192.0.2.9 }\n"
        "add chain inet filter input { type filter hook input priority 0; policy accept; }\n"
        "add rule inet filter input ct state established,related accept\nadd table ip sipguard\n"
    )
    subprocess.run(["nft", "-f", "-"], input=script, text=True, check=True)
    before = dump()
    assert len(before["nft"]) == 2
    assert before["iptables-save"]
    for step in (
        lambda: firewall.open([SIP, ALL]),
        lambda: firewall.ban(bans("203.0.113.5", "203.0.113.0/24", "2001:db8::1")),
        lambda: firewall.unban(bans("203.0.113.5", "192.0.2.9")),
        lambda: firewall.open([ALL]),
        firewall.flush,
    ):
        step()
        assert dump() == before


def test_forever_is_infinite(firewall):
    """A ban without end is listed as such."""
    firewall.open([SIP])
    firewall.ban(bans("203.0.113.5", "203.0.113.128/25", seconds=FOREVER))
    assert [entry.until for entry in firewall.entries()] == [math.inf, math.inf]


def test_what_others_do_is_told(firewall):
    """Where the backend says that the kernel tells of changes, it does; where there is no kernel, nobody can change anything."""
    assert firewall.in_kernel is (firewall.name != "memory")
    if not firewall.changes:
        assert not (firewall.in_kernel and firewall.told_of_all)
        return
    firewall.open([SIP])
    events = NftEvents()
    subprocess.run(["nft", "flush", "ruleset"], check=True)
    told = [change for change in events.read() if change.what & firewall.changes]
    events.close()
    assert told
    assert firewall.verify()
