"""The database is damaged, removed or refused while the daemon runs: protection goes on, and what it knows is written anew."""

import contextlib
import os
import resource
import socket
import sqlite3
import subprocess
import time
from pathlib import Path

import pytest
from running import append, failure, running

ATTACKER, SECOND, THIRD = "203.0.113.66", "203.0.113.67", "203.0.113.68"


@pytest.fixture
def log(tmp_path):
    """A log that is there and empty."""
    path = tmp_path / "freeswitch.log"
    path.touch()
    return path


def _damage(path):
    """Overwrite all but the first page: SQLite sees it at the next write into a table."""
    connection = sqlite3.connect(path)
    connection.execute("PRAGMA wal_checkpoint(TRUNCATE)")
    connection.close()
    with path.open("r+b") as file:
        file.seek(0, os.SEEK_END)
        size = file.tell()
        file.seek(4096)
        file.write(b"\x5a" * (size - 4096))


def _remove(path):
    path.unlink()


def _replace(path):
    path.rename(path.with_name("elsewhere"))
    path.write_bytes(b"")


@pytest.mark.parametrize("harm", [_damage, _remove, _replace])
def test_state_lost_while_running(tmp_path, log, harm):
    """Bans and counts from before are in the new database; a restart reads no line twice."""
    jails = {"freeswitch": {"logpath": str(log), "findtime": "1h"}}
    with running(tmp_path, jails) as daemon:
        append(log, failure(ATTACKER) * 5 + failure(SECOND) * 4)
        daemon.wait_logged(f"Ban {ATTACKER}")
        daemon.wait_logged("Found", times=9)
        time.sleep(0.3)
        harm(tmp_path / "state" / "sipguard.db")
        append(log, failure(THIRD) * 5)
        daemon.wait_logged(f"Ban {THIRD}")
        daemon.wait_logged("the live state is written anew")
    with running(tmp_path, jails) as daemon:
        assert daemon.banned("freeswitch") == {ATTACKER, THIRD}
        assert daemon.status("freeswitch")["detection"]["lines"] == 0
        append(log, failure(SECOND))
        daemon.wait_logged(f"Ban {SECOND}")
        assert daemon.logged().count(f"Ban {ATTACKER}") == 1
        assert daemon.logged().count("] Ban ") == 3


def test_the_rules_of_a_lost_state(tmp_path, log):
    """A jail that is wrong at the next start goes on rejecting on its ports, not on all."""
    jails = {"freeswitch": {"logpath": str(log)}}
    with running(tmp_path, jails) as daemon:
        append(log, failure(ATTACKER) * 5)
        daemon.wait_logged(f"Ban {ATTACKER}")
        daemon.wait_for(lambda: ATTACKER in daemon.stored())
        _remove(tmp_path / "state" / "sipguard.db")
        append(log, failure(THIRD) * 5)
        daemon.wait_logged("the live state is written anew")
    with contextlib.closing(sqlite3.connect(tmp_path / "state" / "sipguard.db")) as database:
        assert database.execute("SELECT jail FROM rules").fetchall() == [("freeswitch",)]


def test_reload_while_the_database_is_locked(tmp_path, log):
    """A reload goes on with what is in memory: no ban is forgotten, no line read again."""
    with running(tmp_path, {"freeswitch": {"logpath": str(log)}}) as daemon:
        append(log, failure(ATTACKER) * 5 + failure(SECOND) * 3)
        daemon.wait_logged("Found", times=8)
        daemon.wait_logged(f"Ban {ATTACKER}")
        other = sqlite3.connect(tmp_path / "state" / "sipguard.db", isolation_level=None)
        other.execute("BEGIN EXCLUSIVE")
        append(log, failure(THIRD) * 5 + failure(SECOND))
        daemon.wait_logged(f"Ban {THIRD}")
        daemon.wait_logged("bans go on")
        _reload_and_ban(daemon, log)
        other.execute("ROLLBACK")
        daemon.wait_logged("State: written again")
        other.close()


def _reload_and_ban(daemon, log):
    daemon.sipguard("reload")
    append(log, failure(SECOND))
    daemon.wait_logged(f"Ban {SECOND}")
    assert daemon.banned("freeswitch") == {ATTACKER, SECOND, THIRD}
    assert daemon.logged().count("] Ban ") == 3, "the reload has read no line again"


@pytest.mark.root
def test_read_only_disk(tmp_path, log):
    """Bans are made without a state, through a reload too, and written when the disk takes them."""
    disk = tmp_path / "state"
    disk.mkdir()
    subprocess.run(["mount", "-t", "tmpfs", "-o", "ro", "tmpfs", disk], check=True)
    try:
        with running(tmp_path, {"freeswitch": {"logpath": str(log)}}) as daemon:
            assert "Read-only file system" in daemon.sipguard("status").stdout
            append(log, failure(ATTACKER) * 5 + failure(SECOND) * 4 + failure(THIRD) * 5)
            daemon.wait_logged(f"Ban {THIRD}")
            _reload_and_ban(daemon, log)
            subprocess.run(["mount", "-o", "remount,rw", disk], check=True)
            daemon.wait_logged("State: written again")
        with running(tmp_path, {"freeswitch": {"logpath": str(log)}}) as daemon:
            assert daemon.banned("freeswitch") == {ATTACKER, SECOND, THIRD}
            assert daemon.status("freeswitch")["detection"]["lines"] == 0
    finally:
        subprocess.run(["umount", disk], check=True)


def test_ten_thousand_clients(tmp_path, log):
    """More than the daemon serves at once, and none of them says a word: bans are made, and who asks is answered."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (min(hard, 4096), hard))
    held = []
    try:
        with running(tmp_path, {"freeswitch": {"logpath": str(log)}}) as daemon:
            for n in range(10_000):
                client = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
                client.connect(str(daemon.socket))
                held.append(client)
                if len(held) > 900:
                    held.pop(0).close()
                if n == 5_000:
                    append(log, failure(ATTACKER) * 5)
            daemon.wait_logged(f"Ban {ATTACKER}")
            assert daemon.banned("freeswitch") == {ATTACKER}
            assert sum(1 for _ in Path(f"/proc/{daemon.process.pid}/fd").iterdir()) < 300
    finally:
        for client in held:
            client.close()
        resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))


def test_clients_that_never_read(tmp_path, log):
    """Their questions wait in their own buffers; everybody else is served."""
    with running(tmp_path, {"freeswitch": {"logpath": str(log)}}) as daemon:
        clients = []
        for _ in range(20):
            client = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
            client.connect(str(daemon.socket))
            client.setblocking(False)
            try:
                while True:
                    client.send(b'{"command": "status"}\n' * 100)
            except BlockingIOError:
                clients.append(client)
        append(log, failure(ATTACKER) * 5)
        daemon.wait_logged(f"Ban {ATTACKER}")
        assert daemon.banned("freeswitch") == {ATTACKER}
        for client in clients:
            client.close()
