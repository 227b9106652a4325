"""Whole daemons that share bans over a real Redis: what operators see and do."""

from __future__ import annotations

import contextlib
import json
import time

import pytest
import toml
from json_manual import hold
from ports import free_port
from running import ROOT, RunningDaemon, append, failure

from sipguard.cli.client import ask
from tests.feeds.web_server import make_certificates
from tests.fleet.conftest import RedisServer, need_redis, serving

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
    daemon.told = lambda: (ask(daemon.socket, "fleet") or {}).get("fleet") or {"nodes": []}
    daemon.knows = lambda *others: {one["name"] for one in daemon.told()["nodes"]} >= set(others)
    try:
        yield daemon.start()
    finally:
        if daemon.process.poll() is None:
            daemon.stop()


@pytest.fixture(scope="module")
def certificates(tmp_path_factory):
    return make_certificates(tmp_path_factory.mktemp("ca"))


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
        assert "(reported by freeswitch: 3 failures within 10 minutes)" in story
        assert two.banned("freeswitch") == set()
        shown = two.sipguard("fleet").stdout
        hold("fleet", ask(two.socket, "fleet"))
        hold("explain", ask(two.socket, "explain", address="203.0.113.5"))
        hold("status", ask(two.socket, "status"))
        assert "pbx2 at redis://127.0.0.1" in shown
        assert "pbx1\t" in shown
        one.sipguard("unban", "203.0.113.5")
        two.wait_logged("[fleet] Unban 203.0.113.5")
        assert two.sipguard("explain", "203.0.113.5", check=False).returncode == 1


DOCS = (ROOT / "docs" / "fleet.md").read_text()
ACL = next(line for line in DOCS.splitlines() if line.startswith("ACL SETUSER pbx1"))


def test_users_that_write_their_own_alone(tmp_path, certificates):
    """With the manual's ACL line and TLS the nodes work, and none can change what another has published."""
    ca, pem = certificates
    port = free_port()
    tls = ["--tls-port", port, "--tls-cert-file", pem, "--tls-key-file", pem, "--tls-ca-cert-file", ca]
    options = [str(one) for one in (*tls, "--tls-auth-clients", "no")]
    with serving(tmp_path / "redis", options=options) as redis:
        for name in ("pbx1", "pbx2"):
            assert redis.cli(*ACL.replace("pbx1", name).replace("PASSWORD", f"secret-{name}").split()) == "OK\n"
        redis.cli("ACL", "SETUSER", "default", "off")
        with contextlib.ExitStack() as stack:
            daemons = []
            for name in ("pbx1", "pbx2"):
                password = tmp_path / f"{name}.password"
                password.write_text(f"secret-{name}")
                password.chmod(0o600)
                keys = {"password_file": str(password), "ca_file": str(ca)}
                daemons.append(stack.enter_context(node(tmp_path, f"rediss://{name}@localhost:{port}", name, **keys)))
            one, two = daemons
            one.wait_for(lambda: one.knows("pbx2"), "the other node")
            two.wait_for(lambda: two.knows("pbx1"), "the other node")
            one.attack("203.0.113.5")
            two.wait_logged("[fleet] Ban 203.0.113.5")
            as_pbx2 = ["--user", "pbx2", "--pass", "secret-pbx2", "--no-auth-warning"]
            for command in (
                "ZREM sipguard:pbx1:bans:reported 203.0.113.5",
                "ZADD sipguard:pbx1:unbans 99999999999 203.0.113.5",
                "XADD sipguard:pbx1:stream * e unban",
                "SET sipguard:pbx1:node x",
                "FLUSHALL",
            ):
                assert "NOPERM" in redis.cli(*as_pbx2, *command.split())
            assert redis.cli(*as_pbx2, "ZCARD", "sipguard:pbx1:bans:reported") == "1\n"
            told = one.told()
            assert (told["problem"], told["shared"]) == ("", 1)
            assert "secret" not in one.logged() + json.dumps(told)


def test_redis_comes_late_and_goes(tmp_path):
    """Without Redis bans go on and `fleet` says why they are not shared; when it is there, all is told."""
    need_redis()
    redis = RedisServer(tmp_path / "redis")
    with fleet(tmp_path, redis.url, "pbx1", "pbx2") as (one, two):
        one.attack("203.0.113.5")
        one.wait_logged("[freeswitch] Ban 203.0.113.5")
        shown = one.sipguard("fleet", check=False)
        assert (shown.returncode, "not connected: " in shown.stdout) == (1, True)
        assert one.logged().count("bans go on, and are shared when it is back") == 1
        redis.start()
        try:
            two.wait_logged("[fleet] Ban 203.0.113.5")
            redis.kill()
            one.attack("203.0.113.6")
            one.sipguard("unban", "203.0.113.5")
            redis.start()
            two.wait_logged("[fleet] Ban 203.0.113.6")
            two.wait_logged("[fleet] Unban 203.0.113.5")
        finally:
            redis.kill()


def test_a_fleet_that_is_configured_no_more(redis, tmp_path):
    """A reload ends it, and what the others have banned is let through; `fleet` says that there is none."""
    with fleet(tmp_path, redis.url, "pbx1", "pbx2") as (one, two):
        two.wait_for(lambda: two.knows("pbx1"), "the other node")
        one.attack("203.0.113.5")
        two.wait_logged("[fleet] Ban 203.0.113.5")
        shown = lambda: ask(two.socket, "firewall", what="show")  # noqa: E731
        two.wait_for(lambda: " 203.0.113.5 " in shown())
        settings = toml.loads(two.config.read_text())
        del settings["fleet"]
        two.config.write_text(toml.dumps(settings))
        two.sipguard("reload")
        assert "203.0.113.5" not in shown()
        assert "there is no fleet" in two.sipguard("fleet", check=False).stdout


def test_a_flush_and_a_restart(redis, tmp_path):
    """The set is there again at once after a restart of the daemon; a network is explained for the addresses in it."""
    with fleet(tmp_path, redis.url, "pbx1", "pbx2") as (one, two):
        two.wait_for(lambda: two.knows("pbx1"), "the other node")
        one.sipguard("ban", "203.0.113.64/26", "--jail", "freeswitch", "--reason", "a bad neighbourhood")
        two.wait_logged("[fleet] Ban 203.0.113.64/26")
        assert "as part of 203.0.113.64/26" in two.sipguard("explain", "203.0.113.77").stdout
        two.stop()
        two.start()
        two.wait_for(lambda: " 203.0.113.64/26 " in ask(two.socket, "firewall", what="show"), "others' bans")
        assert "(hand)" in two.sipguard("explain", "203.0.113.77").stdout
