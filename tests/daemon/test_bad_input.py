"""What goes wrong on real servers: one clear line, and what can run runs."""

import json
import os
import shutil
import sqlite3
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import pytest
from netns import namespace
from running import PATIENCE, RunningDaemon, append, failure, running

from tests.as_nobody import path_for_others

ATTACKER = "203.0.113.66"


def test_missing_log(tmp_path):
    """It is told of, waited for, and read from its start when it comes."""
    log = tmp_path / "later" / "freeswitch.log"
    with running(tmp_path, {"freeswitch": {"logpath": str(log)}}) as daemon:
        assert f"{log}: no such file" in daemon.sipguard("status", check=False).stdout
        log.parent.mkdir()
        append(log, failure(ATTACKER) * 5)
        daemon.wait_logged(f"Ban {ATTACKER}")


def test_half_a_character_in_json(tmp_path):
    """JSON can name what no text can hold: it is shown as `?`, and stops nothing."""
    log = tmp_path / "freeswitch.log"
    text = failure(ATTACKER, user="a\ud800").split("[WARNING] ")[1].partition(" ")[2].strip()
    entry = {"timestamp": int(time.time() * 1e6), "level": 4, "file": "sofia_reg.c", "line": 1787, "message": text}
    with running(tmp_path, {"freeswitch": {"logpath": str(log)}}) as daemon:
        append(log, f"{json.dumps(entry, separators=(',', ':'))}\n" * 5)
        daemon.wait_for(lambda: daemon.stored() == {ATTACKER})
        assert "a?" in daemon.sipguard("explain", ATTACKER).stdout


@pytest.fixture
def shared_folder():
    """A folder that another user may enter: pytest closes its own to all but us, again and again."""
    with tempfile.TemporaryDirectory() as name:
        Path(name).chmod(0o755)
        yield Path(name)


def test_unreadable_log(shared_folder):
    """Another user's log: told of, and read as soon as it may be."""
    log = shared_folder / "freeswitch.log"
    log.write_text(failure(ATTACKER) * 5)
    log.chmod(0)
    prefix = ("setpriv", "--reuid=65534", "--regid=65534", "--clear-groups") if os.geteuid() == 0 else ()
    env = {"PYTHONPATH": path_for_others()} if prefix else {}
    daemon = RunningDaemon(shared_folder / "run", {"freeswitch": {"logpath": str(log)}}, prefix=prefix, env=env)
    if prefix:
        shutil.chown(shared_folder / "run", 65534)
    with _ended(daemon):
        daemon.start()
        daemon.wait_for(lambda: f"{log}: permission denied" in daemon.sipguard("status", check=False).stdout)
        log.chmod(0o644)
        daemon.wait_logged(f"Ban {ATTACKER}")


class _ended:  # noqa: N801 - reads as a statement
    """End a daemon that was started inside, whatever happens."""

    def __init__(self, daemon):
        self.daemon = daemon

    def __enter__(self):
        return self.daemon

    def __exit__(self, *_):
        if self.daemon.process and self.daemon.process.poll() is None:
            self.daemon.stop()


def test_broken_regex_and_no_filter(tmp_path, log):
    """Two broken jails are told of with file and line; the third runs."""
    (tmp_path / "filters.d").mkdir()
    (tmp_path / "filters.d" / "broken.conf").write_text("[Definition]\n\nfailregex = ^from (<HOST>$\n")
    jails = {
        "freeswitch": {"logpath": str(log)},
        "one": {"filter": "broken", "logpath": str(log)},
        "two": {"filter": "absent", "logpath": str(log)},
        "three": {"logpath": str(log)},
    }
    with running(tmp_path, jails) as daemon:
        status = daemon.sipguard("status").stdout
        assert f"not running: {tmp_path}/filters.d/broken.conf:3: " in status
        assert f"{tmp_path}/jails.d/two.toml:2: jail two: filter = \"absent\": there is no filter 'absent'" in status
        assert f"{tmp_path}/jails.d/three.toml:1: jail three: no filter" in status
        append(log, failure(ATTACKER) * 5)
        daemon.wait_logged(f"Ban {ATTACKER}")
        checked = subprocess.run(
            [sys.executable, "-m", "sipguard", "check", "-c", daemon.config],
            capture_output=True,
            text=True,
            check=False,
        )
        assert checked.returncode == 2
        assert checked.stderr.count("\n") == 3
        assert "Traceback" not in checked.stderr


def test_a_mended_jail_runs(tmp_path, log):
    """A broken filter stops its jail alone; once it is mended, the jail runs without anybody's asking."""
    (tmp_path / "filters.d").mkdir()
    broken = tmp_path / "filters.d" / "broken.conf"
    broken.write_text("[Definition]\nfailregex = ^from (<HOST>$\n")
    jails = {"freeswitch": {"logpath": str(log)}, "one": {"filter": "broken", "logpath": str(tmp_path / "one.log")}}
    daemon = RunningDaemon(tmp_path, jails)
    daemon._prefix = [sys.executable, "-c", _IMPATIENT]
    with _ended(daemon):
        daemon.start()
        assert "not running: " in daemon.sipguard("status").stdout
        broken.write_text("[Definition]\nfailregex = ^from <HOST>$\n")
        daemon.wait_logged("Reloaded: freeswitch, one")
        assert "not running: " not in daemon.sipguard("status").stdout


_IMPATIENT = """
import runpy, sys
import sipguard.daemon.daemon as daemon
daemon.LOOK_AROUND = daemon.RETRY_BROKEN = 0.3
sys.argv = sys.argv[3:]
runpy.run_module("sipguard", run_name="__main__", alter_sys=True)
"""
"""Starts the program that follows with shorter pauses."""


@pytest.mark.root
def test_full_disk(tmp_path, log):
    """Bans are made without a disk to write to, and written when there is room again."""
    disk = tmp_path / "state"
    disk.mkdir()
    subprocess.run(["mount", "-t", "tmpfs", "-o", "size=64k", "tmpfs", disk], check=True)
    try:
        (disk / "filler").write_bytes(b"x" * 65536)
        with running(tmp_path, {"freeswitch": {"logpath": str(log)}}) as daemon:
            append(log, failure(ATTACKER) * 5)
            daemon.wait_logged(f"Ban {ATTACKER}")
            assert daemon.logged().count("ERROR") == 1, daemon.logged()
            assert "is the disk full" in daemon.sipguard("status").stdout
            subprocess.run(["mount", "-o", "remount,size=4m", disk], check=True)
            daemon.wait_logged("State: written again")
        with running(tmp_path, {"freeswitch": {"logpath": str(log)}}) as daemon:
            assert daemon.banned("freeswitch") == {ATTACKER}
    finally:
        subprocess.run(["umount", disk], check=True)


def test_locked_database(tmp_path, log):
    """Another program holds the database: bans go on, and are written when it lets go."""
    with running(tmp_path, {"freeswitch": {"logpath": str(log)}}) as daemon:
        other = sqlite3.connect(tmp_path / "state" / "sipguard.db", isolation_level=None)
        other.execute("BEGIN EXCLUSIVE")
        append(log, failure(ATTACKER) * 5)
        daemon.wait_logged(f"Ban {ATTACKER}")
        daemon.wait_logged("database is locked; bans go on")
        other.execute("ROLLBACK")
        daemon.wait_logged("State: written again")
        assert other.execute("SELECT address FROM live_bans").fetchall() == [(ATTACKER,)]
        other.close()


def _over(host, what, where):
    """Start a program in this namespace, where for it alone `what` lies over `where` (mount_namespaces(7))."""
    mount = f'mount --bind {what} {where} && exec "$@"'
    return ["ip", "netns", "exec", host.name, "unshare", "--mount", "sh", "-c", mount, "sh"]


@pytest.mark.root
def test_no_nft_program(tmp_path, log):
    """Failures are counted, bans wait, and the message names what is missing."""
    (tmp_path / "empty").mkdir()
    with namespace("nft", "unshare") as host:
        options = {"firewall": "nftables", "prefix": _over(host, tmp_path / "empty", "/usr/sbin")}
        with running(tmp_path, {"freeswitch": {"logpath": str(log)}}, **options) as daemon:
            append(log, failure(ATTACKER) * 5)
            daemon.wait_logged("Found", times=5)
            status = daemon.sipguard("status", check=False)
            assert "firewall: no program 'nft' in" in status.stdout
            assert status.returncode == 1
            assert f"Ban {ATTACKER}" not in daemon.logged()


@pytest.mark.root
def test_no_right_to_change_the_firewall(shared_folder):
    """Without CAP_NET_ADMIN it does not start: the message names it, and what to do."""
    jails = {"freeswitch": {"logpath": str(shared_folder / "freeswitch.log")}}
    env = {"PYTHONPATH": path_for_others()}
    daemon = RunningDaemon(shared_folder / "run", jails, firewall="nftables", env=env)
    with namespace("nft", "setpriv") as host, _ended(daemon):
        user = ["setpriv", "--reuid=65534", "--regid=65534", "--clear-groups"]
        daemon._prefix = ["ip", "netns", "exec", host.name, *user]
        shutil.chown(shared_folder / "run", 65534)
        daemon.spawn()
        said = daemon.process.communicate(timeout=PATIENCE)[0]
        assert daemon.process.returncode == 2
        assert "run lacks rights: CAP_NET_ADMIN, to change the firewall" in said
        assert ". Use sudo" in said


@pytest.mark.root
def test_firewall_comes_back(tmp_path, log):
    """Bans that had to wait are made when the firewall can be used again."""
    with namespace("nft") as host:
        real = Path(shutil.copy(shutil.which("nft"), tmp_path / "real-nft"))
        wrapper = tmp_path / "nft"
        wrapper.write_text(f'#!/bin/sh\n[ -e {tmp_path}/broken ] && exit 1\nexec {real} "$@"\n')
        wrapper.chmod(0o755)
        (tmp_path / "broken").touch()
        prefix = _over(host, wrapper, shutil.which("nft"))
        jails = {"freeswitch": {"logpath": str(log)}}
        with running(tmp_path, jails, firewall="nftables", prefix=prefix) as daemon:
            append(log, failure(ATTACKER) * 5)
            daemon.wait_logged("Found", times=5)
            assert f"Ban {ATTACKER}" not in daemon.logged()
            (tmp_path / "broken").unlink()
            daemon.wait_logged(f"Ban {ATTACKER}")
            assert ATTACKER in host.run("nft", "list", "ruleset")


def test_second_daemon(tmp_path, log):
    """One line, exit status 2; the first goes on."""
    with running(tmp_path, {"freeswitch": {"logpath": str(log)}}) as first:
        second = RunningDaemon(tmp_path, {"freeswitch": {"logpath": str(log)}})
        second.spawn()
        said = second.process.communicate(timeout=PATIENCE)[0]
        assert second.process.returncode == 2
        assert said == (
            f"sipguard: {tmp_path}/state: another sipguard is running on this state; "
            "stop it, or give another --state-dir\n"
        )
        assert first.answers()


def test_junk_in_the_log(tmp_path, log):
    """Control bytes, invalid UTF-8 and a line of 10 MB cost nothing but themselves."""
    with running(tmp_path, {"freeswitch": {"logpath": str(log)}}) as daemon:
        with log.open("ab") as file:
            file.write(b"\xff\xfe\x00\x1b[31m\x85\r\n" * 100 + b"x" * 10_000_000 + b"\n")
        append(log, failure(ATTACKER) * 5)
        daemon.wait_logged(f"Ban {ATTACKER}")
        assert daemon.status("freeswitch")["totals"]["oversize"] == 1
