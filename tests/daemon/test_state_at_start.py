"""The state cannot be opened at the start: nothing is removed, and what it holds is merged when it can be read."""

import asyncio
import contextlib
import os
import signal
import sqlite3
import subprocess
import time
from itertools import islice

import pytest
from running import RunningDaemon, append, failure, running

from sipguard.daemon.ban_ledger import BanLedger
from sipguard.daemon.firewall_monitor import FirewallMonitor
from sipguard.daemon.firewall_worker import FirewallWorker
from sipguard.firewall.memory import MemoryFirewall
from sipguard.model import Ban, Rule
from tests.netns import missing, namespace

ATTACKER, SECOND, THIRD = "203.0.113.66", "203.0.113.67", "203.0.113.68"
ROUNDS = 20 if os.environ.get("SIPGUARD_LONG") else 5
"""Ends by kill -9; SIPGUARD_LONG=1 asks for all twenty."""
BANTIME = 3600


def _locked(path):
    other = sqlite3.connect(path, isolation_level=None)
    other.execute("BEGIN EXCLUSIVE")

    def heal():
        other.execute("ROLLBACK")
        other.close()

    return heal


def test_locked_at_the_start(tmp_path, log):
    """Stored attempts count once, stored bans are back, and a restart afterwards knows all of it."""
    jails = {"freeswitch": {"logpath": str(log), "findtime": "1h", "maxretry": 3}}
    with running(tmp_path, jails) as daemon:
        append(log, failure(ATTACKER) * 3 + failure(SECOND) * 2)
        daemon.wait_logged(f"Ban {ATTACKER}")
        daemon.wait_logged(f"Found {SECOND}", times=2)
        daemon.wait_for(lambda: ATTACKER in daemon.stored(), "the ban on disk")
    heal = _locked(tmp_path / "state" / "sipguard.db")
    with running(tmp_path, jails) as daemon:
        append(log, failure(THIRD) * 3)
        daemon.wait_logged(f"Ban {THIRD}")
        heal()
        daemon.wait_logged("State: written again")
        assert {ATTACKER, THIRD} <= daemon.banned("freeswitch")
    with running(tmp_path, jails) as daemon:
        assert SECOND not in daemon.banned("freeswitch"), "two failures, not four"
        append(log, failure(SECOND))
        daemon.wait_logged(f"Ban {SECOND}")
        assert daemon.banned("freeswitch") == {ATTACKER, SECOND, THIRD}


def _full(disk):
    filler = disk / "filler"
    with contextlib.suppress(OSError), filler.open("wb", buffering=0) as file:
        while True:
            file.write(b"\0" * 4096)
    return filler.unlink


def _read_only(disk):
    subprocess.run(["mount", "-o", "remount,ro", disk], check=True)
    return lambda: subprocess.run(["mount", "-o", "remount,rw", disk], check=True)


def _deleted(disk):
    for path in disk.glob("sipguard.db*"):
        path.unlink()
    return lambda: None


def _damaged(disk):
    for path in disk.glob("sipguard.db-*"):
        path.unlink()
    path = disk / "sipguard.db"
    path.write_bytes(b"\x5a" * path.stat().st_size)
    return lambda: None


HARMS = [_full, _read_only, lambda disk: _locked(disk / "sipguard.db"), _deleted, _damaged]


def _kernel(net):
    listing = net.run("nft", "list", "ruleset")
    return {word for word in listing.replace(",", " ").split() if word.startswith("10.")}


@pytest.mark.root
@pytest.mark.timeout(1200)
def test_killed_with_a_state_that_is_harmed(tmp_path, log):
    """During an attack: afterwards no ban is lost, none was made twice, and none ends before its time."""
    if reason := missing("nft", "nsenter"):
        pytest.skip(reason)
    disk = tmp_path / "state"
    disk.mkdir()
    subprocess.run(["mount", "-t", "tmpfs", "-o", "size=24m", "tmpfs", disk], check=True)
    attackers = [f"10.9.{n // 250}.{n % 250 + 1}" for n in range(1000)]
    begun = time.time()
    try:
        with namespace("nft") as net:
            jails = {"freeswitch": {"logpath": str(log), "maxretry": 3, "findtime": "1h", "bantime": BANTIME}}
            # Not `ip netns exec`: that gives the daemon mounts of its own, which stay read-only.
            prefix = ["nsenter", f"--net=/run/netns/{net.name}"]
            daemon = RunningDaemon(tmp_path, jails, firewall="nftables", prefix=prefix)
            daemon.start()
            try:
                append(log, failure(SECOND) * 2)
                _attack(daemon, log, disk, iter(attackers))
                _check(daemon, net, attackers, begun)
            finally:
                daemon.stop()
    finally:
        subprocess.run(["umount", "-l", disk], check=True)


def _attack(daemon, log, disk, attackers):
    each = 1000 // (2 * ROUNDS)
    for n in range(ROUNDS):
        append(log, "".join(failure(address) * 3 for address in islice(attackers, each)))
        time.sleep(0.05 * (n % 4))  # in the middle of it, at another place each time
        daemon.stop(signal.SIGKILL)
        heal = HARMS[n % len(HARMS)](disk)
        daemon.start()
        part = list(islice(attackers, each))
        append(log, "".join(failure(address) * 3 for address in part))
        daemon.wait_for(lambda part=part: set(part) <= daemon.banned("freeswitch"), f"ban of round {n}")
        heal()
        daemon.wait_for(lambda part=part: set(part) <= daemon.stored(), f"state of round {n}")


def _check(daemon, net, attackers, begun):
    bans = {ban["address"]: ban for ban in daemon.status("freeswitch")["banned"]}
    assert bans.keys() == set(attackers), "none is lost, and who has failed twice is not banned"
    assert _kernel(net) == set(attackers)
    assert daemon.stored() == set(attackers)
    said = daemon.logged()
    assert [address for address in attackers if said.count(f"Ban {address}\n") > 1] == [], "none twice"
    assert [ban for ban in bans.values() if ban["until"] < begun + BANTIME] == [], "none ends early"


@pytest.mark.parametrize("complete", [True, False])
def test_nothing_is_left_over_before_the_state_is_read(complete):
    """A comparison removes what no ban stands for only when every ban is known."""
    firewall = MemoryFirewall(clock=time.time)

    async def compare():
        worker = FirewallWorker(firewall, lambda _bans: None, list, BanLedger())
        try:
            await worker.open([Rule("sip")])
            firewall.ban([Ban(ATTACKER, "sip", time.time(), time.time() + BANTIME)])
            monitor = FirewallMonitor(
                worker, BanLedger(), feeds=_no_feeds, clock=time.time, size=1000, complete=lambda: complete
            )
            await monitor._compare()
            return worker.queued
        finally:
            worker.stop()

    assert asyncio.run(compare()) == (1 if complete else 0)


async def _no_feeds():
    """There are none to put back."""


def test_reload_before_the_state_is_read(tmp_path, log):
    """What was counted goes on to count, once."""
    jails = {"freeswitch": {"logpath": str(log), "findtime": "1h", "maxretry": 3}}
    with running(tmp_path, jails):
        pass
    heal = _locked(tmp_path / "state" / "sipguard.db")
    with running(tmp_path, jails) as daemon:
        append(log, failure(SECOND) * 2)
        daemon.wait_logged(f"Found {SECOND}", times=2)
        daemon.sipguard("reload")
        heal()
        daemon.wait_logged("State: written again")
        assert SECOND not in daemon.banned("freeswitch")
        append(log, failure(SECOND))
        daemon.wait_logged(f"Ban {SECOND}")
