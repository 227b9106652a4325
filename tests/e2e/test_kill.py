"""Killed at any moment of an attack: nobody escapes, nobody is banned twice, nobody without cause."""

from __future__ import annotations

import random
import signal
import threading
import time
from collections import Counter

import pytest
from needs import with_root
from netns import missing, namespace
from running import RunningDaemon, failure

ADDRESSES = [f"203.0.113.{n}" for n in range(250)] + [f"2001:db8::{n:x}" for n in range(1, 751)]
KILLS = 20
JAIL = "freeswitch"


def _attack(log, lines, done):
    """Write the lines over some seconds, as a server does: whole ones, torn ones; and rotate the log in between."""
    try:
        for start in range(0, len(lines), 40):
            text = "".join(lines[start : start + 40])
            torn = len(text) // 2
            for part in (text[:torn], text[torn:]):
                with log.open("a") as file:
                    file.write(part)
                time.sleep(0.04)
            if start in (len(lines) // 120 * 40, len(lines) // 60 * 40):
                log.rename(log.with_name(f"{log.name}.{start}"))
                log.touch()
    finally:
        done.set()


@pytest.mark.timeout(600)
@pytest.mark.parametrize("firewall", with_root("memory", "nftables"))
def test_kill_at_random_moments(tmp_path, firewall):
    """20 times kill -9 while 1,000 addresses attack: five failures are a ban, four are none, and each ban is made once."""
    if firewall == "nftables":
        if reason := missing("nft"):
            pytest.skip(reason)
        with namespace("nft") as host:
            daemon = _kill_and_restart(tmp_path, firewall, ["ip", "netns", "exec", host.name])
            kernel = host.run("nft", "list", "table", "inet", "sipguard")
            assert all(f"{address} counter " in kernel for address in _guilty())
    else:
        daemon = _kill_and_restart(tmp_path, firewall, [])
    made = Counter(line.split()[-1] for line in daemon.logged().splitlines() if "] Ban " in line)
    assert set(made) <= _guilty()
    assert max(made.values()) == 1


def _guilty():
    return set(ADDRESSES[:700])


def _kill_and_restart(tmp_path, firewall, prefix):
    """Gives the daemon of the last start, stopped, when all is read; its bans are checked before."""
    chance = random.Random(20261121)  # fixed, so that a failure can be seen again
    log = tmp_path / "freeswitch.log"
    log.touch()
    lines = [failure(a) for a in ADDRESSES for _ in range(5 if a in _guilty() else 4)]
    chance.shuffle(lines)
    done = threading.Event()
    jails = {JAIL: {"logpath": str(log), "bantime": 3600, "findtime": 3600, "ipv6prefix": 128}}
    daemon = RunningDaemon(tmp_path, jails, firewall=firewall, prefix=prefix)
    daemon.start()
    # Before it has seen the log at all, what is rotated meanwhile is nobody's.
    daemon.wait_for(lambda: daemon.state_of(log), "the log's position on disk")
    attack = threading.Thread(target=_attack, args=(log, lines, done))
    attack.start()
    try:
        for _ in range(KILLS):
            time.sleep(chance.uniform(0.01, 0.35))
            daemon.stop(signal.SIGKILL)
            daemon.spawn()
        attack.join()
        assert done.is_set()
        daemon.wait_for(lambda: daemon.answers() and len(daemon.banned(JAIL)) >= len(_guilty()), "every ban")
        time.sleep(0.5)  # what should not come must have had its time to come
        assert daemon.banned(JAIL) == _guilty()
        assert {ban["count"] for ban in daemon.status(JAIL)["banned"]} == {1}
    finally:
        daemon.stop()
    return daemon
