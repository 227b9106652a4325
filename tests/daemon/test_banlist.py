"""Live bans and the order of their ends."""

from hypothesis import given
from hypothesis import strategies as st

from sipguard.daemon.banlist import BanList
from sipguard.model import FOREVER, Ban


def ban(last, until, jail="asterisk"):
    """A ban of 203.0.113.LAST."""
    return Ban(f"203.0.113.{last}", jail, 0.0, until)


def test_ends_in_order():
    """The next end is the earliest, however they came."""
    bans = BanList()
    for one in (ban(1, 30.0), ban(2, 10.0), ban(3, FOREVER), ban(4, 20.0)):
        bans.add(one)
    assert bans.next_end() == 10.0
    assert [one.address for one in bans.take_ended(20.0)] == ["203.0.113.2", "203.0.113.4"]
    assert len(bans) == 2


def test_a_new_end_replaces_the_old_one():
    """A ban that was extended does not end at its first time."""
    bans = BanList()
    bans.add(ban(1, 10.0))
    bans.add(ban(1, 50.0))
    assert bans.take_ended(20.0) == []
    assert bans.next_end() == 50.0


def test_removed_does_not_end():
    """What was unbanned is not unbanned again."""
    bans = BanList()
    bans.add(ban(1, 10.0))
    assert bans.remove("asterisk", "203.0.113.1") == ban(1, 10.0)
    assert bans.remove("asterisk", "203.0.113.1") is None
    assert bans.next_end() is None
    assert bans.take_ended(20.0) == []


def test_by_jail_and_address():
    """One address may be banned by two jails."""
    bans = BanList()
    bans.add(ban(1, 10.0))
    bans.add(ban(1, 20.0, jail="freeswitch"))
    assert len(bans.of_address("203.0.113.1")) == 2
    assert [one.jail for one in bans.of_jail("freeswitch")] == ["freeswitch"]


@given(st.lists(st.tuples(st.integers(0, 5), st.integers(1, 50), st.booleans())))
def test_agrees_with_a_plain_dict(steps):
    """Adding, replacing and removing in any order: what has ended is what a plain look would find."""
    bans, plain = BanList(), {}
    for last, until, keep in steps:
        one = ban(last, float(until))
        if keep:
            bans.add(one)
            plain[one.address] = one.until
        else:
            bans.remove("asterisk", one.address)
            plain.pop(one.address, None)
    expected = {address for address, until in plain.items() if until <= 25}
    assert {one.address for one in bans.take_ended(25.0)} == expected
