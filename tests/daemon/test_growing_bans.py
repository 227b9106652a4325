"""Who comes back is banned for longer, if it is known who came; what was decided in one turn goes to the kernel together."""

import asyncio
import time

import pytest
from annotations import FILTERS

from sipguard.config.filters import read_filter
from sipguard.daemon.bans import Bans
from sipguard.daemon.jail_runner import JailRunner
from sipguard.daemon.state_writer import StateWriter
from sipguard.firewall.memory import MemoryFirewall
from sipguard.model import Ban, BanGrowth, Jail
from sipguard.policy.ignore import IgnoreList
from sipguard.state.changes import Changes

ADDRESS = "203.0.113.5"
GROWTH = BanGrowth(increment=True, multipliers=(1, 10))


def decided(folder, *bans, growth=GROWTH, undone=False, moved=0.0, ended="stored"):
    """What goes to the kernel of these bans, by the state of an earlier ban of `ADDRESS` in another jail and in this one.

    Their end is stored; or `known` for less than a moment; or `unseen`, as nobody ran. The clock is `moved` in the same turn.
    """

    async def run():
        store = StateWriter(folder, clock=time.time)
        earlier = {(jail, ADDRESS): Ban(ADDRESS, jail, 1.0, 2.0) for jail in ("sip", "other")}
        ends = dict.fromkeys(earlier, 2.0)
        store.database.save(Changes(bans=earlier, ended=ends if ended == "stored" else {}))
        store.read(1.5 if ended == "known" else time.time())
        store.changes.ended |= ends if ended == "known" else {}
        jail = Jail("sip", read_filter("freeswitch", [FILTERS]), bantime=60.0, growth=growth)
        runner = JailRunner(jail, ignore=IgnoreList(()), clock=time.time, decide=print, reinforce=print)
        all_bans = Bans(MemoryFirewall(clock=time.time), store, {"sip": runner}, clock=time.time)
        ordered = []
        all_bans.firewall_worker.order = lambda verb, given: ordered.append((verb, list(given)))
        for ban in bans:
            all_bans.decide(ban)
        if undone:
            all_bans.live.end("sip", ADDRESS)
        if moved:
            all_bans.shift(moved)
        await asyncio.sleep(0)
        store.close()
        return ordered

    return asyncio.run(run())


def ban(address=ADDRESS, **told):
    """A ban of a minute."""
    return Ban(address, "sip", 1000.0, 1060.0, **told)


@pytest.mark.parametrize(
    ("made", "growth", "seconds", "count"),
    [
        (ban(attempts=5), GROWTH, 600.0, 2),
        (ban(attempts=5), BanGrowth(increment=True, multipliers=(1, 10, 20), overalljails=True), 1200.0, 3),
        (ban(attempts=5), BanGrowth(), 60.0, 2),
        (ban(attempts=5, evidence="unproven"), GROWTH, 60.0, 2),
        (ban(), GROWTH, 60.0, 2),
        (ban("203.0.113.6", attempts=5), GROWTH, 60.0, 1),
    ],
    ids=["again", "in any jail", "no growth", "no grounds", "by hand", "somebody else"],
)
def test_the_second_ban(tmp_path, made, growth, seconds, count):
    """Longer than the first, unless nothing shows that it is the same one, or an operator has said how long."""
    ((verb, (found,)),) = decided(tmp_path, made, growth=growth)
    assert (verb, found.until - found.since, found.count) == ("ban", seconds, count)


@pytest.mark.parametrize("ended", ["known", "unseen"])
def test_the_first_has_just_ended(tmp_path, ended):
    """Who goes on guessing when the ban ends is banned for longer, and who comes back when it ended while nobody ran."""
    ((_, (found,)),) = decided(tmp_path, ban(attempts=5), ended=ended)
    assert (found.until - found.since, found.count) == (600.0, 2)


def test_one_turn_is_one_order(tmp_path):
    """However many were decided."""
    ((_, found),) = decided(tmp_path, *(ban(f"203.0.113.{n}") for n in range(1, 6)))
    assert [one.address for one in found] == [f"203.0.113.{n}" for n in range(1, 6)]


def test_what_was_undone_in_the_same_turn_is_no_order(tmp_path):
    """An unban that comes before the kernel has heard of the ban."""
    assert decided(tmp_path, ban(attempts=5), undone=True) == []


def test_the_clock_is_set_between_a_decision_and_its_order(tmp_path):
    """The ban goes to the kernel all the same, and lasts as long as it was to."""
    ((verb, (found,)),) = decided(tmp_path, ban("203.0.113.6", attempts=5), moved=3600.0)
    assert (verb, found.since, found.until) == ("ban", 4600.0, 4660.0)


def test_the_last_of_two_decisions_counts(tmp_path):
    """A second one on the same address in the same turn takes the first one's place."""
    first, last = ban("203.0.113.6", attempts=5), ban("203.0.113.6", attempts=9)
    assert decided(tmp_path, first, last) == [("ban", [last])]
