"""A chunk is weighed host by host: the same attempts, bans and totals as line by line."""

import random
from dataclasses import asdict

import pytest

from sipguard.daemon.ban_ledger import BanLedger
from sipguard.daemon.jail_runner import JailRunner
from sipguard.model import Failure, Filter, Jail, Success
from sipguard.policy.ignore import IgnoreList
from sipguard.state.changes import Changes

NOW = 1_700_000_000.0
HOSTS = ["203.0.113.5", "203.0.113.6", "192.0.2.1", "2001:db8::5", "2001:db8:2::6", "2001:db8:1::5", "host.example.com"]
SESSIONS = {"attempt_window": "2"}


class Jailed:
    """One jail that counts what it is told, all at once or line by line."""

    def __init__(self, options, **more):
        self.ledger, self.changes, self.bans, self.seen = BanLedger(), Changes(), [], []
        self.runner = JailRunner(
            Jail("x", Filter("x", ("from <HOST>",), options=options), maxretry=3, ipv6prefix=64, **more),
            ignore=IgnoreList(["192.0.2.1"]),
            clock=lambda: NOW,
            decide=self.decide,
            reinforce=lambda _jail, address: self.seen.append(address),
            ledger=self.ledger,
        )

    def decide(self, ban):
        self.bans.append(ban)
        self.ledger.decide(ban)

    def told(self):
        """All that has come of it; attempts by address, as one's place among others' means nothing."""
        runner = self.runner
        return (
            {ban.address: ban for ban in self.bans},
            sorted(map(repr, self.changes.attempts)),
            {name: number for name, number in asdict(runner.totals).items() if name != "last_failure"},
            runner.judge.window.times(),
            sorted(self.seen),
        )


def generated(seed):
    """What a log tells of some hosts, in the order of time: of the past first, some repeated within their sessions."""
    pick = random.Random(seed)
    kinds = [{}, {}, {"answer": "1"}, {"probe": "1", "session": "a"}, {"probe": "1", "session": "b"}]
    kinds.append({"answer": "1", "session": "a"})
    times = sorted(pick.choice([NOW, NOW + 5, NOW - pick.randrange(20), NOW - 700]) for _ in range(pick.randrange(60)))
    events = []
    for number, time in enumerate(times):
        host, user = pick.choice(HOSTS), pick.choice("ab")
        if pick.random() < 0.05:
            events.append(Success(host, time, user=user))
        else:
            when = None if time > NOW else time
            events.append(Failure(host, when, user=user, lines=(f"{host} {number}",), tags=pick.choice(kinds)))
    return events


@pytest.mark.parametrize("options", [{}, SESSIONS], ids=["lines", "sessions"])
@pytest.mark.parametrize("more", [{}, {"maxusers": 2}], ids=["plain", "maxusers"])
def test_as_line_by_line(options, more):
    """Whatever comes in one chunk."""
    for seed in range(150):
        events = generated(seed)
        together, apart = Jailed(options, **more), Jailed(options, **more)
        together.runner.take_examined(events, together.changes)
        for event in events:
            apart.runner.take_examined([event], apart.changes)
        assert together.told() == apart.told(), seed


def test_sessions_of_one_host_do_not_end_for_anothers_time():
    """The lines of a chunk may be minutes apart: an answer belongs to its probe, however late another host's line is."""
    one, other = HOSTS[:2]
    jailed = Jailed(SESSIONS)
    probe = Failure(one, NOW - 300, tags={"probe": "1", "session": "a"})
    late = [Failure(other, NOW - age, tags={"probe": "1", "session": "b"}) for age in (300, 200, 100)]
    answer = Failure(one, NOW - 299, tags={"answer": "1", "session": "a"})
    jailed.runner.take_examined([probe], jailed.changes)
    jailed.runner.take_examined([*late, answer], jailed.changes)
    assert jailed.runner.totals.repeated == 1
    assert jailed.runner.judge.window.count(one, NOW) == 1


def test_hosts_of_one_network_in_turns():
    """They are counted together, whichever of their lines come first: as many attempts, the same ban."""
    events = [Failure(f"2001:db8::{number % 2 + 1}", NOW - 9 + number, lines=(f"{number}",)) for number in range(7)]
    together, apart = Jailed({}), Jailed({})
    together.runner.take_examined(events, together.changes)
    for event in events:
        apart.runner.take_examined([event], apart.changes)
    assert [ban.address for ban in together.bans] == ["2001:db8::/64"]
    assert together.bans == apart.bans
    assert asdict(together.runner.totals) | {"last_failure": 0} == asdict(apart.runner.totals) | {"last_failure": 0}
    assert len(together.changes.attempts) == len(apart.changes.attempts) == 3
