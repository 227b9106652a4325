"""Whole daemons that share bans over a real Redis: what operators see and do."""

from __future__ import annotations

import contextlib
import json
import time

import toml
from running import RunningDaemon, append, failure

REPORTED = {"share": ["reported", "hand"], "accept": ["reported", "hand"]}


@contextlib.contextmanager
def fleet(folder, url, *names, firewall="memory", **keys):
    """A daemon for each name; each reads a log of its own."""
    with contextlib.ExitStack() as stack:
        yield [stack.enter_context(node(folder, url, name, firewall=firewall, **keys)) for name in names]


@contextlib.contextmanager
def node(folder, url, name, *, firewall="memory", prefix=(), defaults=None, env=None, **keys):
    """One daemon of a fleet."""
    home = folder / name
    home.mkdir(parents=True)
    log = home / "freeswitch.log"
    log.touch()
    jail = {"logpath": str(log), "maxretry": 3, "bantime": "1h"}
    daemon = RunningDaemon(home, {"freeswitch": jail}, firewall=firewall, prefix=prefix, defaults=defaults, env=env)
    settings = toml.loads(daemon.config.read_text())
    settings["fleet"] = {"url": url, "name": name, **REPORTED, **keys}
    daemon.config.write_text(toml.dumps(settings))
    daemon.attack = lambda address: append(log, failure(address) * 3)
    daemon.told = lambda: json.loads(daemon.sipguard("fleet", "--json", check=False).stdout)
    daemon.knows = lambda *others: {one["name"] for one in daemon.told()["nodes"]} >= set(others)
    try:
        yield daemon.start()
    finally:
        if daemon.process.poll() is None:
            daemon.stop()


def test_a_ban_is_heard_explained_and_let_go(redis, tmp_path):
    """Two nodes: a ban on one is on the other, which says whose and why; unban takes it back; `fleet` lists the nodes."""
    with fleet(tmp_path, redis.url, "pbx1", "pbx2") as (one, two):
        for daemon, other in ((one, "pbx2"), (two, "pbx1")):
            daemon.wait_for(lambda d=daemon, o=other: d.knows(o), "the other node")
        time.sleep(1.5)
        one.attack("203.0.113.5")
        two.wait_logged("[fleet] Ban 203.0.113.5")
        story = two.sipguard("explain", "203.0.113.5").stdout
        assert "203.0.113.5 is rejected: node pbx1 has banned it until" in story
        assert "(reported by freeswitch: 3 failures within 600 s)" in story
        assert two.banned("freeswitch") == set()
        shown = two.sipguard("fleet").stdout
        assert "pbx2 at redis://127.0.0.1" in shown
        assert "pbx1\t" in shown
        one.sipguard("unban", "203.0.113.5")
        two.wait_logged("[fleet] Unban 203.0.113.5")
        assert two.sipguard("explain", "203.0.113.5", check=False).returncode == 1
