"""The kernel refuses one ban of many: that one waits apart, and keeps nothing else waiting."""

import asyncio
import time

import pytest
from limits import PATIENCE
from running import append, failure, running

from sipguard.daemon.ban_ledger import BanLedger, State
from sipguard.daemon.firewall_worker import FirewallWorker
from sipguard.errors import FirewallError
from sipguard.firewall.memory import MemoryFirewall
from sipguard.model import Ban, Rule
from sipguard.policy.ignore import IgnoreList
from tests.netns import missing, namespace

BAD, GOOD = "203.0.113.66", [f"198.51.100.{n}" for n in range(1, 101)]
NOBODY = ["0.0.0.0", "255.255.255.255", "224.0.0.1", "239.255.255.250", "::", "ff02::1", "ff05::/64"]


class Picky(MemoryFirewall):
    """Refuses every call that names one of these addresses, as a kernel does that knows no transaction in parts."""

    def __init__(self, refused):
        super().__init__(clock=time.time)
        self.refused = set(refused)
        self.calls = 0

    def ban(self, bans):
        self._check(bans)
        super().ban(bans)

    def unban(self, bans):
        self._check(bans)
        super().unban(bans)

    def _check(self, bans):
        self.calls += 1
        if self.refused.intersection(ban.address for ban in bans):
            raise FirewallError("a null address is not supported")


def _ban(address):
    now = time.time()
    return Ban(address, "sip", now, now + 600)


def _carried_out(firewall, orders, live=()):
    """What the worker says it has carried out of these orders, within 5 s, and its last words on it."""
    done = []

    async def run():
        ledger = BanLedger()
        worker = FirewallWorker(
            firewall, lambda bans: done.extend(("ban", one.address) for one in bans), lambda: live, ledger
        )
        try:
            await worker.open([Rule("sip")])
            for verb, bans in orders:
                worker.order(verb, bans)
            job = asyncio.create_task(worker.run())
            async with asyncio.timeout(PATIENCE):
                await worker.idle.wait()
            job.cancel()
            return worker.problem, (
                record := ledger.record("sip", BAD)
            ) and record.state is State.REFUSED and record.refusal
        finally:
            worker.stop()

    return done, asyncio.run(run())


@pytest.mark.parametrize("place", [0, 50, 100])
def test_one_of_many(place):
    """All others are made, and who asks for that one is told why not."""
    firewall = Picky([BAD])
    bans = [_ban(address) for address in GOOD]
    bans.insert(place, _ban(BAD))
    done, (problem, refusal) = _carried_out(firewall, [("ban", bans)])
    assert {address for _, address in done} == set(GOOD)
    assert problem is None
    assert refusal == "a null address is not supported"
    assert {entry.address for entry in firewall.entries()} == set(GOOD)
    assert firewall.calls < 20, "halved, not asked one by one"


def test_one_that_lives():
    """A ban of an earlier run that is refused keeps the rules from nobody."""
    done, (problem, _) = _carried_out(Picky([BAD]), [("ban", [_ban(GOOD[0])])], live=[_ban(BAD), _ban(GOOD[1])])
    assert ("ban", GOOD[0]) in done
    assert problem is None


def test_one_unban_of_many():
    """The others are let through."""
    firewall = Picky([BAD])
    bans = [_ban(address) for address in GOOD]
    _carried_out(firewall, [("ban", bans), ("unban", [*bans[:50], _ban(BAD), *bans[50:]])])
    assert firewall.entries() == []


def test_unknown_jail_of_one():
    """A ban of a jail that the firewall was not opened for is like any other refusal."""
    now = time.time()
    done, (problem, _) = _carried_out(Picky([]), [("ban", [Ban(BAD, "gone", now, now + 600), _ban(GOOD[0])])])
    assert done == [("ban", GOOD[0])]
    assert problem is None


class PickyAboutRules(MemoryFirewall):
    """Refuses every rule set that has one of these jails; takes all or nothing."""

    def __init__(self, refused):
        super().__init__(clock=time.time)
        self.refused = set(refused)
        self.opened = []

    def open(self, rules):
        if wrong := self.refused.intersection(rule.jail for rule in rules):
            raise FirewallError(f"no such match: {min(wrong)}")
        super().open(rules)
        self.opened.append({rule.jail for rule in rules})


JAILS = [f"j{number}" for number in range(9)]


def _with_jails(firewall, use):
    """A worker at work; `use` is given it, the ledger, and what is made."""

    async def run():
        ledger, made = BanLedger(), []
        worker = FirewallWorker(firewall, made.extend, lambda: list(made), ledger)
        job = asyncio.create_task(worker.run())
        try:
            async with asyncio.timeout(PATIENCE):
                await use(worker, ledger, made)
        finally:
            job.cancel()
            worker.stop()

    asyncio.run(run())


def _bans_of(jails):
    now = time.time()
    return [Ban(BAD, jail, now, now + 600) for jail in jails]


@pytest.mark.parametrize("bad", [{"j0"}, {"j8"}, {"j2", "j3"}, set(JAILS[1:])])
def test_one_rule_of_many(bad, caplog):
    """The other jails have their rules and ban; a ban of that jail waits, and is made once its rule is taken."""
    firewall = PickyAboutRules(bad)
    good = {*JAILS} - bad

    async def use(worker, ledger, made):
        assert await worker.open([Rule(jail) for jail in JAILS])
        assert worker.problem is None
        assert worker.unruled == {jail: f"no such match: {jail}" for jail in bad}
        worker.order("ban", _bans_of(JAILS))
        await worker.idle.wait()
        assert {ban.jail for ban in made} == {entry.jail for entry in firewall.entries()} == good
        assert {ban.jail for ban in ledger.waiting(State.REFUSED)} == bad
        assert caplog.text.count("bans NOBODY, since its rule is refused") == len(bad)
        firewall.opened.clear()
        await worker.open(worker.rules)
        assert all(opened >= good for opened in firewall.opened), "no good jail loses its rule meanwhile"
        assert {entry.jail for entry in firewall.entries()} == good
        firewall.refused.clear()
        await worker.open(worker.rules)
        assert not worker.unruled
        worker.order("ban", ledger.waiting(State.REFUSED))
        await worker.idle.wait()
        assert {entry.jail for entry in firewall.entries()} == {*JAILS}

    _with_jails(firewall, use)


def test_every_rule():
    """Then it is no jail's rule: the firewall does not work, and says why."""
    firewall = PickyAboutRules(JAILS)

    async def use(worker, ledger, made):
        assert not await worker.open([Rule(jail) for jail in JAILS])
        assert worker.problem == "no such match: j0"
        assert not worker.is_open

    _with_jails(firewall, use)


@pytest.mark.parametrize("address", NOBODY)
def test_never_banned(address):
    """No host has such an address, whatever a log says."""
    assert "no host has this address" in (IgnoreList(()).reason(address) or "")


@pytest.mark.root
@pytest.mark.parametrize("backend", ["ipset", "nftables"])
def test_addresses_of_nobody(tmp_path, log, backend):
    """From a log line or by hand: not banned, and the bans that follow are made."""
    if reason := missing("ipset", "iptables") if backend == "ipset" else missing("nft"):
        pytest.skip(reason)
    prefix_of = ["ip", "netns", "exec"]
    with (
        namespace() as net,
        running(
            tmp_path, {"freeswitch": {"logpath": str(log)}}, firewall=backend, prefix=[*prefix_of, net.name]
        ) as daemon,
    ):
        append(log, "".join(failure(address) * 5 for address in ("0.0.0.0", "255.255.255.255", "224.0.0.1")))
        append(log, failure(BAD) * 5)
        daemon.wait_logged(f"Ban {BAD}")
        assert daemon.sipguard("ban", "--jail", "freeswitch", "0.0.0.0", check=False).returncode != 0
        daemon.sipguard("ban", "--jail", "freeswitch", GOOD[0])
        assert daemon.banned("freeswitch") == {BAD, GOOD[0]}
