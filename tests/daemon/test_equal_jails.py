"""Equal jails on one log share its search and their list of who is never banned: each does as it would alone."""

from dataclasses import asdict, replace

from annotations import FILTERS
from hypothesis import given, settings
from hypothesis import strategies as st
from running import chunk, failure

from sipguard.config.filters import read_filter
from sipguard.daemon.ban_ledger import BanLedger
from sipguard.daemon.jail_runner import JailRunner
from sipguard.daemon.log_detectors import SharedDetectors
from sipguard.model import Jail
from sipguard.policy.ignore import IgnoreList
from sipguard.state.changes import Changes

NOW = 1_795_294_800.0
NAMES = "one", "two", "three"
FILTER = read_filter("freeswitch", [FILTERS])
HOSTS = [f"203.0.113.{number}" for number in range(1, 5)]

CHUNKS = st.tuples(st.just("read"), st.lists(st.sampled_from(HOSTS), min_size=1, max_size=8))
ORDERS = st.tuples(
    st.sampled_from(["unban", "ban", "maxretry", "addignoreip"]), st.sampled_from(NAMES), st.sampled_from(HOSTS)
)


class Host:
    """A daemon's jails, as far as they count."""

    def __init__(self, *names):
        self.ledger, self.changes, self.bans = BanLedger(), Changes(), []
        shared, ignore = SharedDetectors(lambda: NOW), IgnoreList(["192.0.2.1"])
        self.runners = {
            name: JailRunner(
                Jail(name, FILTER, maxretry=3, findtime=600, timezone="UTC", ignoreip=("192.0.2.1",), ignoreself=False),
                ignore=ignore,
                clock=lambda: NOW,
                decide=self.decide,
                reinforce=print,
                ledger=self.ledger,
                detectors=shared,
            )
            for name in names
        }

    def decide(self, ban):
        self.bans.append(ban)
        self.ledger.decide(ban)

    def carry_out(self, order, what, host=""):
        if order == "read":
            told = {}
            for runner in self.runners.values():
                runner.take(chunk("".join(failure(one, when=NOW) for one in what).encode()), self.changes, told)
            return
        runner = self.runners.get(what)
        if runner is None:
            return
        if order == "unban":
            self.ledger.end(what, host)
            runner.judge.window.forget(host)
        elif order == "ban":
            self.decide(replace(runner.judge.recall("198.51.100.1", NOW, 9), address=host))
        else:
            jail = runner.jail
            new = {"maxretry": jail.maxretry + 1, "addignoreip": (*jail.ignoreip, host)}[order]
            runner.reconfigure(replace(jail, **{"maxretry" if order == "maxretry" else "ignoreip": new}))

    def told(self, name):
        """All that has come of one jail's lines."""
        runner = self.runners[name]
        return (
            [ban for ban in self.bans if ban.jail == name],
            [attempt for attempt in self.changes.attempts if attempt.jail == name],
            asdict(runner.totals),
            runner.judge.window.times(),
            runner.counts,
        )


@settings(max_examples=25, deadline=None)
@given(st.lists(CHUNKS | ORDERS, max_size=10))
def test_as_each_alone(steps):
    """Whatever one of them is told in the midst: let somebody through, ban, count to another number, spare another address."""
    together = Host(*NAMES)
    alone = {name: Host(name) for name in NAMES}
    for step in steps:
        for host in (together, *alone.values()):
            host.carry_out(*step)
    for name, host in alone.items():
        assert together.told(name) == host.told(name)
