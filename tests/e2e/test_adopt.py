"""`sipguard adopt`: a real Fail2ban with 500 bans is taken over, and given back, while a banned attacker keeps sending."""

from __future__ import annotations

import contextlib
import json
import os
import re
import shutil
import socket
import sqlite3
import subprocess
import sys
import threading
import time
from pathlib import Path

import pytest
from needs import needs
from netns import link, missing, namespace
from running import ROOT

ATTACKER, SERVER = "198.51.100.66", "198.51.100.1"
BANNED = [ATTACKER, *(f"203.0.113.{n}" for n in range(1, 250)), *(f"192.0.2.{n}" for n in range(1, 251))]
FILTER = "[Definition]\nfailregex = sip guess from <HOST>$\ndatepattern = ^EPOCH\n"
JAILS = """
[DEFAULT]
backend = polling
banaction = nftables[type=multiport]
port = 5060
protocol = udp
bantime = 2h
findtime = 10m
maxretry = 5
[sip]
enabled = true
filter = guess
logpath = {log}
[other]
enabled = true
filter = guess
logpath = {other}
bantime = -1
"""


class Probe:
    """The attacker sends all the time; what reaches the server is counted."""

    def __init__(self, server, attacker):
        with server.inside():
            self._ear = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
            self._ear.bind((SERVER, 5060))
        with attacker.inside():
            self._mouth = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
            self._mouth.connect((SERVER, 5060))
        self._ear.settimeout(0.2)
        self.sent = self.arrived = 0
        self._over = threading.Event()
        self._threads = [threading.Thread(target=self._send), threading.Thread(target=self._count)]

    def __enter__(self):
        for thread in self._threads:
            thread.start()
        return self

    def __exit__(self, *_):
        self._over.set()
        for thread in self._threads:
            thread.join()
        self._ear.close()
        self._mouth.close()

    def _send(self):
        while not self._over.wait(0.005):
            with contextlib.suppress(OSError):  # the firewall's REJECT is told at the next call
                self._mouth.send(b"REGISTER")
            self.sent += 1

    def _count(self):
        while not self._over.is_set():
            with contextlib.suppress(TimeoutError):
                self._ear.recv(100)
                self.arrived += 1


class Fail2ban:
    """A real one, on a tree of its own in a network namespace."""

    def __init__(self, folder, host):
        self.folder, self.host = folder, host
        self.tree = folder / "fail2ban"
        shutil.copytree("/etc/fail2ban", self.tree)
        for path in [*(self.tree / "jail.d").iterdir(), *self.tree.glob("*.local")]:
            path.unlink()
        (self.tree / "filter.d/guess.conf").write_text(FILTER)
        log, other = self.log, folder / "other.log"
        log.write_text("".join(f"{time.time():.0f} a line that says nothing {n}\n" for n in range(100)))
        other.touch()
        (self.tree / "jail.local").write_text(JAILS.format(log=log, other=other))
        paths = {"socket": "f2b.sock", "pidfile": "f2b.pid", "dbfile": "f2b.sqlite3", "logtarget": "f2b.log"}
        lines = "".join(f"{key} = {folder / name}\n" for key, name in paths.items())
        (self.tree / "fail2ban.local").write_text(f"[Definition]\n{lines}")

    @property
    def log(self):
        return self.folder / "sip.log"

    def client(self, *arguments):
        command = ["ip", "netns", "exec", self.host.name, "fail2ban-client", "-c", str(self.tree), *arguments]
        done = subprocess.run(command, capture_output=True, text=True, check=False, timeout=100)
        assert done.returncode == 0, done.stdout + done.stderr
        return done.stdout

    def database(self):
        with contextlib.closing(sqlite3.connect(self.folder / "f2b.sqlite3")) as db:
            bans = {
                (jail, ip): (since, length)
                for jail, ip, since, length in db.execute("SELECT jail, ip, timeofban, bantime FROM bips")
            }
            return bans, dict(db.execute("SELECT path, lastfilepos FROM logs"))


def _sipguard(fail2ban, *arguments, status=0):
    run = ["ip", "netns", "exec", fail2ban.host.name, sys.executable, "-m", "sipguard", *map(str, arguments)]
    env = {**os.environ, "PYTHONPATH": str(ROOT)}
    done = subprocess.run(run, env=env, capture_output=True, text=True, check=False, timeout=100)
    assert done.returncode == status, done.stdout + done.stderr
    return done.stdout


@pytest.fixture
@needs("root", "fail2ban")
def fail2ban(tmp_path):
    """A Fail2ban with 500 bans, and the attacker's namespace."""
    if reason := missing("nft", "fail2ban-client", "fail2ban-server"):
        pytest.skip(reason)
    with namespace("nft") as server, namespace() as attacker:
        link(attacker, [f"{ATTACKER}/24"], server, [f"{SERVER}/24"])
        one = Fail2ban(tmp_path, server)
        one.client("start")
        one.attacker = attacker
        try:
            one.client("set", "sip", "banip", *BANNED)
            one.client("set", "other", "banip", "2001:db8::5")
            _wait(lambda: server.run("nft", "list", "ruleset").count("203.0.113.") >= 249)
            _wait(lambda: ATTACKER in server.run("nft", "list", "ruleset"))
            _wait(lambda: "192.0.2.250" in server.run("nft", "list", "ruleset"))
            _wait(lambda: "2001:db8::5" in server.run("nft", "list", "ruleset"))
            yield one
        finally:
            for process in server.run("ip", "netns", "pids", server.name, check=False).split():
                if Path(f"/proc/{process}/ns/net").exists() and int(process) != os.getpid():
                    with contextlib.suppress(ProcessLookupError):
                        os.kill(int(process), 9)


def _wait(condition):
    end = time.monotonic() + 90
    while not condition():
        assert time.monotonic() < end
        time.sleep(0.1)


@pytest.mark.timeout(600)
def test_taken_over_and_given_back(fail2ban):
    """Every ban with its time and every position; not one packet of the attacker arrives, there and back again."""
    where = ["--fail2ban-dir", fail2ban.tree, "--firewall", "nftables", "--socket", fail2ban.folder / "sg.sock"]
    told = _sipguard(fail2ban, "adopt", "--dry-run", *where)
    assert "501 live bans (other 1, sip 500)" in told
    assert "jail sip: action nftables: replaced by sipguard's firewall; it does firewall work alone (nft)" in told
    assert "inet sipguard" not in fail2ban.host.run("nft", "list", "ruleset")
    assert "pong" in fail2ban.client("ping")
    _sipguard(fail2ban, "adopt", *where, "--stop-fail2ban", "false", status=2)
    assert "inet sipguard" not in fail2ban.host.run("nft", "list", "ruleset"), "it goes on as it was"
    before, _ = fail2ban.database()
    with Probe(fail2ban.host, fail2ban.attacker) as probe:
        _sipguard(fail2ban, "adopt", *where)
        _compare(fail2ban, before)
        went = probe.sent
        _sipguard(fail2ban, "adopt", *where, status=2)
        _sipguard(fail2ban, "ban", "192.0.2.252", "--socket", fail2ban.folder / "sg.sock")
        told = _sipguard(fail2ban, "adopt", "--undo", *where)
        assert "not given back: 192.0.2.252 in jail by-hand: Fail2ban has no such jail" in told
        time.sleep(0.5)
        assert probe.sent > went > 50
        assert probe.arrived == 0
    assert "inet sipguard" not in fail2ban.host.run("nft", "list", "ruleset")
    after, positions = fail2ban.database()
    assert after.keys() == before.keys()
    assert all(abs(sum(after[key]) - sum(before[key])) <= 2 for key in before if before[key][1] > 0)
    assert positions[str(fail2ban.log)] == fail2ban.log.stat().st_size


def _compare(fail2ban, before):
    """sipguard has Fail2ban's bans with their time, in its list and in the kernel, and reads on where it stopped."""
    asked = _sipguard(fail2ban, "status", "sip", "--json", "--socket", fail2ban.folder / "sg.sock")
    jail = json.loads(asked)["jails"][0]
    ends = {ban["address"]: ban["until"] for ban in jail["banned"]}
    assert ends.keys() == set(BANNED)
    assert all(abs(ends[address] - sum(before["sip", address])) <= 2 for address in BANNED)
    kernel = fail2ban.host.run("nft", "list", "table", "inet", "sipguard")
    # Whoever goes on sending is dropped for a while: that is no ban.
    bans = re.sub(r"set (?!a4_|a6_|n4_|n6_)\w+ \{.*?\n\t\}", "", kernel, flags=re.DOTALL)
    assert bans.count("expires") == len(BANNED)
    assert "2001:db8::5" in kernel
    assert jail["detection"]["lines"] == 0
    with fail2ban.log.open("a") as log:
        log.write(f"{time.time():.0f} sip guess from 192.0.2.251\n" * 5)
    _wait(lambda: "192.0.2.251" in fail2ban.host.run("nft", "list", "table", "inet", "sipguard"))
    _sipguard(fail2ban, "unban", "192.0.2.251", "--socket", fail2ban.folder / "sg.sock")
