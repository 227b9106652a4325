"""A set without room: what fits is made, the rest waits, and neither other jails nor unbans wait with it."""

from __future__ import annotations

import asyncio
import time

import pytest
from limits import PATIENCE
from running import RunningDaemon

from sipguard.cli.client import DaemonError, ask
from sipguard.daemon.ban_ledger import BanLedger, State
from sipguard.daemon.firewall_worker import FirewallWorker
from sipguard.errors import FullError
from sipguard.firewall.memory import MemoryFirewall
from sipguard.model import Ban, Rule
from tests.backends import host_prefix, host_run
from tests.netns import namespace


class SmallFirewall(MemoryFirewall):
    """Has room for so many bans of each jail; takes a batch as a whole or not, or up to the first that does not fit."""

    def __init__(self, size, *, whole):
        super().__init__(clock=time.time)
        self.size, self.whole, self.calls = size, whole, 0

    def room(self, _address):
        return "bans", self.size

    def ban(self, bans):
        self.calls += 1
        there = {(entry.jail, entry.address) for entry in self.entries()}
        for number, ban in enumerate(bans):
            there.add((ban.jail, ban.address))
            if sum(jail == ban.jail for jail, _ in there) > self.size:
                super().ban([] if self.whole else bans[:number])
                raise FullError("full")
        super().ban(bans)


def bans_of(jail, count):
    now = time.time()
    return [Ban(f"10.0.{i // 250}.{i % 250}", jail, now, now + 60) for i in range(count)]


async def until_idle(firewall_worker):
    async with asyncio.timeout(PATIENCE):
        await firewall_worker.idle.wait()


@pytest.mark.parametrize("whole", [True, False])
@pytest.mark.parametrize("size", [1, 37, 64])
def test_what_fits_is_made(caplog, whole, size):
    """Of two jails in one batch, one with too many: the other loses none, and the room of the first is used up."""

    async def run():
        made, ledger = [], BanLedger()
        firewall = SmallFirewall(size, whole=whole)
        firewall_worker = FirewallWorker(
            firewall, lambda bans: made.extend(("ban", ban.jail) for ban in bans), list, ledger
        )
        firewall_worker.rules = [Rule("many"), Rule("few")]
        worker = asyncio.create_task(firewall_worker.run())
        many, few = bans_of("many", 500), bans_of("few", size)
        firewall_worker.order("ban", [ban for pair in zip(many, few, strict=False) for ban in pair] + many[size:])
        await until_idle(firewall_worker)
        assert made.count(("ban", "few")) == size
        assert made.count(("ban", "many")) == size
        assert firewall_worker.waiting == 500 - size
        assert firewall_worker.problem is None
        waiting = ledger.waiting(State.NO_ROOM)
        assert {ban.jail for ban in waiting} == {"many"}
        assert firewall.calls < 40
        gone = [ban for ban in many if ban not in waiting][:1]
        firewall_worker.order("unban", [*gone, many[-1]])
        await until_idle(firewall_worker)
        assert sorted(made).count(("ban", "many")) == size + 1
        assert firewall_worker.waiting == 500 - size - 2
        assert many[-1].address not in {entry.address for entry in firewall.entries() if entry.jail == "many"}
        worker.cancel()
        firewall_worker.stop()

    asyncio.run(run())
    assert caplog.text.count("jail many has no room for more than") == 1


@pytest.mark.root
@pytest.mark.parametrize("backend", ["nftables", "ipset"])
def test_a_full_jail_keeps_nobody_waiting(tmp_path, backend):
    """Its own bans wait and say so; another jail's are made; an unban makes room; a smaller set begins with what fits."""
    jails = {}
    for name in ("asterisk", "freeswitch"):
        (tmp_path / name).touch()
        jails[name] = {"logpath": str(tmp_path / name)}
    with namespace("nft", "ipset", "iptables") as net:
        daemon = RunningDaemon(tmp_path, jails, firewall=backend, prefix=host_prefix(net, backend))
        text = daemon.config.read_text()
        daemon.config.write_text(text + "\n[firewall]\nset_size = 64\n")
        daemon.start()
        try:
            crowd = [f"198.51.100.{number}" for number in range(64)]
            ask(daemon.socket, "ban", addresses=crowd, jail="asterisk")
            with pytest.raises(DaemonError, match="has no room for this ban; still trying: raise set_size"):
                ask(daemon.socket, "ban", address="203.0.113.1", jail="asterisk")
            ask(daemon.socket, "ban", address="203.0.113.2", jail="freeswitch")
            assert daemon.banned("freeswitch") == {"203.0.113.2"}
            ask(daemon.socket, "unban", address=crowd[0])
            daemon.wait_for(lambda: "203.0.113.1" in daemon.banned("asterisk"), "the ban that waited")
            listing = host_run(net, backend, "nft list ruleset; ipset save")
            assert all(f"{address} " in listing for address in (*crowd[1:], "203.0.113.1", "203.0.113.2"))
            daemon.stop()
            daemon.config.write_text(text + "\n[firewall]\nset_size = 32\n")
            daemon.start()
            ask(daemon.socket, "ban", address="203.0.113.3", jail="freeswitch")
            listing = host_run(net, backend, "nft list ruleset; ipset save")
            assert listing.count("198.51.100.") >= 31
            assert "203.0.113.3" in listing
        finally:
            daemon.stop()
