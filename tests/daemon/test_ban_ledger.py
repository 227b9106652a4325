"""The records of bans, and the order of their ends."""

from hypothesis import given
from hypothesis import strategies as st

from sipguard.daemon.ban_ledger import BanLedger, State
from sipguard.model import FOREVER, Ban


def ban(last, until, jail="asterisk"):
    """A ban of 203.0.113.LAST."""
    return Ban(f"203.0.113.{last}", jail, 0.0, until)


def ended(bans, now):
    """The bans that are over at `now`, as the daemon ends them."""
    over = bans.ended(now)
    for one in over:
        bans.end(one.jail, one.address)
    return over


def test_ends_in_order():
    """The next end is the earliest, however they came."""
    bans = BanLedger()
    for one in (ban(1, 30.0), ban(2, 10.0), ban(3, FOREVER), ban(4, 20.0)):
        bans.add(one)
    assert bans.next_end() == 10.0
    assert [one.address for one in ended(bans, 20.0)] == ["203.0.113.2", "203.0.113.4"]
    assert len(bans) == 2


def test_a_new_end_replaces_the_old_one():
    """A ban that was extended does not end at its first time."""
    bans = BanLedger()
    bans.add(ban(1, 10.0))
    bans.add(ban(1, 50.0))
    assert ended(bans, 20.0) == []
    assert bans.next_end() == 50.0


def test_removed_does_not_end():
    """What was unbanned is not unbanned again."""
    bans = BanLedger()
    bans.add(ban(1, 10.0))
    assert bans.end("asterisk", "203.0.113.1").ban == ban(1, 10.0)
    assert bans.end("asterisk", "203.0.113.1") is None
    assert bans.next_end() is None
    assert ended(bans, 20.0) == []


def test_by_jail_and_address():
    """One address may be banned by two jails."""
    bans = BanLedger()
    bans.add(ban(1, 10.0))
    bans.add(ban(1, 20.0, jail="freeswitch"))
    assert len(bans.of_address("203.0.113.1")) == 2
    assert [one.jail for one in bans.of_jail("freeswitch")] == ["freeswitch"]


@given(st.lists(st.tuples(st.integers(0, 5), st.integers(1, 50), st.booleans())))
def test_agrees_with_a_plain_dict(steps):
    """Adding, replacing and removing in any order: what has ended is what a plain look would find."""
    bans, plain = BanLedger(), {}
    for last, until, keep in steps:
        one = ban(last, float(until))
        if keep:
            bans.add(one)
            plain[one.address] = one.until
        else:
            bans.end("asterisk", one.address)
            plain.pop(one.address, None)
    expected = {address for address, until in plain.items() if until <= 25}
    assert {one.address for one in ended(bans, 25.0)} == expected


def test_how_far_a_ban_is():
    """Ordered, refused or without room, live, over: one record all the way."""
    bans, one = BanLedger(), ban(1, 10.0)
    bans.decide(one)
    record = bans.record("asterisk", one.address)
    assert (record.state, list(bans), bans.get("asterisk", one.address)) == (State.ORDERED, [], None)
    assert one.address in bans.of_runner("asterisk")
    assert bans.wait(one, State.REFUSED, "no such set")
    assert not bans.wait(one, State.REFUSED, "no such set")
    assert (bans.waiting(State.REFUSED), record.refusal) == ([one], "no such set")
    bans.wait(one, State.NO_ROOM)
    assert (bans.waiting(State.REFUSED), bans.waiting(State.NO_ROOM)) == ([], [one])
    bans.taken([one])
    assert record.state is State.ORDERED
    bans.add(one)
    assert (record.state, list(bans), bans.waiting(State.NO_ROOM)) == (State.LIVE, [one], [])
    bans.wait(one, State.NO_ROOM)
    assert list(bans) == [one]
    bans.end("asterisk", one.address)
    assert (list(bans), bans.waiting(State.NO_ROOM), dict(bans.of_runner("asterisk"))) == ([], [], {})


def test_the_clock_was_set():
    """Every time of every record moves, and ends come in the same order."""
    bans = BanLedger()
    bans.add(ban(1, 10.0))
    bans.decide(ban(2, 20.0))
    bans.shift(100.0)
    assert bans.next_end() == 110.0
    assert [(one.since, one.until) for one in bans] == [(100.0, 110.0)]
    record = bans.record("asterisk", "203.0.113.2")
    assert (record.ban.until, record.seen) == (120.0, 100.0)


def test_what_the_kernel_has_made():
    """It is live, by the clock as it is now; but for what was undone, lives already or was over before the kernel had it."""
    bans = BanLedger()
    ordered = [ban(last, until) for last, until in ((1, 20.0), (2, 20.0), (3, 5.0), (4, 20.0))]
    for one in ordered:
        bans.decide(one)
    bans.end("asterisk", "203.0.113.2")
    bans.add(ordered[3])
    bans.shift(100.0)
    assert [(one.address, one.until) for one in bans.made(ordered, 110.0)] == [("203.0.113.1", 120.0)]
    assert {one.address for one in bans} == {"203.0.113.1", "203.0.113.4"}
    assert bans.record("asterisk", "203.0.113.3") is None


@given(st.lists(st.tuples(st.sampled_from(["decide", "add", "end"]), st.integers(1, 4), st.sampled_from("ab"))))
def test_the_count_of_live_bans_is_kept(steps):
    """However bans come and go, and are decided anew while they live: the number that is kept is the number there is."""
    bans = BanLedger()
    for verb, last, jail in steps:
        one = ban(last, 10.0, jail)
        if verb == "end":
            bans.end(jail, one.address)
        else:
            getattr(bans, verb)(one)
    assert len(bans) == len(list(bans))
    assert {jail: bans.count(jail) for jail in "ab"} == {jail: len(bans.of_jail(jail)) for jail in "ab"}


def test_the_newest_of_all_jails():
    """Those that began last, whatever their jail; what the kernel does not have yet is none."""
    bans = BanLedger()
    for last in range(1, 6):
        bans.add(Ban(f"203.0.113.{last}", "ab"[last % 2], float(last), FOREVER))
    bans.decide(Ban("203.0.113.9", "a", 9.0, FOREVER))
    assert [one.since for one in bans.latest(3)] == [5.0, 4.0, 3.0]
    assert bans.moves == 5
