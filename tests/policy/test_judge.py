"""What a failure means for its address, as the list of who is never banned changes."""

from sipguard.model import Failure, Filter, Jail
from sipguard.policy.ignore import IgnoreList
from sipguard.policy.judge import Judge, Outcome

NOW = 1795300000.0


def judge_of(ignore, **settings):
    jail = Jail("sip", Filter("x", ("<HOST>",)), maxretry=100, findtime=600.0, **settings)
    return Judge(jail, ignore, clock=lambda: NOW, banned={})


def outcome(judge, host, **more):
    return judge.consider(Failure(host, NOW), **more).outcome


def test_who_is_ignored_from_now_on_counts_no_more():
    """By a name that was resolved, an own address, another list: also one that was counted a moment ago, and back again."""
    ignore = IgnoreList(["phone.example.com"])
    judge = judge_of(ignore)
    assert outcome(judge, "203.0.113.5") is Outcome.COUNTED
    ignore.learn("phone.example.com", ["203.0.113.5"])
    assert outcome(judge, "203.0.113.5") is Outcome.IGNORED
    ignore.learn("phone.example.com", [])
    assert outcome(judge, "203.0.113.5") is Outcome.COUNTED
    ignore.set_own(["203.0.113.5"])
    assert outcome(judge, "203.0.113.5") is Outcome.IGNORED
    judge.ignore = IgnoreList([])
    assert outcome(judge, "203.0.113.5") is Outcome.COUNTED
    judge.ignore = IgnoreList(["203.0.113.0/24"])
    assert outcome(judge, "203.0.113.5") is Outcome.IGNORED


def test_a_network_with_somebody_in_it_who_is_ignored():
    """The neighbour counts by the network, and by himself as soon as that must not be banned."""
    ignore = IgnoreList(["phone.example.com"])
    judge = judge_of(ignore, ipv6prefix=64)
    assert judge.consider(Failure("2001:db8::5", NOW)).address == "2001:db8::/64"
    ignore.learn("phone.example.com", ["2001:db8::1"])
    judgement = judge.consider(Failure("2001:db8::5", NOW))
    assert (judgement.address, judgement.source, judgement.outcome) == ("2001:db8::5", "2001:db8::5", Outcome.COUNTED)


def test_a_name_is_what_it_was_resolved_to_each_time():
    """What a host name stands for is told by the caller, and not remembered."""
    judge = judge_of(IgnoreList(["203.0.113.9"]))
    assert judge.consider(Failure("a.example.com", NOW), address="203.0.113.5").address == "203.0.113.5"
    assert judge.consider(Failure("a.example.com", NOW), address="203.0.113.6").address == "203.0.113.6"
    assert outcome(judge, "a.example.com", address="203.0.113.9") is Outcome.IGNORED
    assert outcome(judge, "a.example.com") is Outcome.NO_ADDRESS


def test_another_log_tells_of_the_same_attempts():
    """Once each, also where several were made in one second; what the first log did not have counts."""
    judge = judge_of(IgnoreList([]))
    first = [Failure("203.0.113.5", NOW - 5), Failure("203.0.113.5", NOW - 5), Failure("203.0.113.5", NOW - 4)]
    assert {judge.consider(one).outcome for one in first} == {Outcome.COUNTED}
    judge.reads_another_log()
    again = [Failure("203.0.113.5", NOW - 6), *first, Failure("203.0.113.5", NOW - 4), Failure("203.0.113.6", NOW - 5)]
    repeated = [judge.consider(one).outcome is Outcome.REPEATED for one in again]
    assert repeated == [False, True, True, True, False, False]
    assert judge.window.count("203.0.113.5", NOW) == 5


def test_many_hosts():
    """More than are remembered, and in more than one spelling."""
    judge = judge_of(IgnoreList([]))
    for number in range(10_000):
        assert judge.consider(Failure(f"2001:DB8::{number:x}", NOW)).address == f"2001:db8::{number:x}".replace(
            "::0", "::"
        )
    assert outcome(judge, "2001:db8::1") is Outcome.COUNTED
    assert judge.window.count("2001:db8::1", NOW) == 2
