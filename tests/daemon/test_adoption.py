"""What is read of Fail2ban's database, and what is written back."""

import contextlib
import hashlib
import sqlite3
import time

import pytest

from sipguard.adopt import takeover
from sipguard.adopt.fail2ban_file import LogRow, read_file, write_file
from sipguard.adopt.positions import positions_of, rows_of
from sipguard.adopt.services import Services
from sipguard.adopt.takeover import Adoption, _as_changes
from sipguard.errors import FirewallError, StateError
from sipguard.firewall.memory import MemoryFirewall
from sipguard.model import FOREVER, Ban
from sipguard.state.database import Database

NOW = 1_795_302_000.0
SCHEMA = """
CREATE TABLE jails (name TEXT NOT NULL UNIQUE, enabled INTEGER NOT NULL DEFAULT 1);
CREATE TABLE logs (jail TEXT NOT NULL, path TEXT, firstlinemd5 TEXT, lastfilepos INTEGER DEFAULT 0, UNIQUE (jail, path));
CREATE TABLE bans (jail TEXT NOT NULL, ip TEXT, timeofban INTEGER NOT NULL, bantime INTEGER NOT NULL,
    bancount INTEGER NOT NULL DEFAULT 1, data JSON);
CREATE TABLE bips (ip TEXT NOT NULL, jail TEXT NOT NULL, timeofban INTEGER NOT NULL, bantime INTEGER NOT NULL,
    bancount INTEGER NOT NULL DEFAULT 1, data JSON, PRIMARY KEY (ip, jail));
"""


@pytest.fixture
def file(tmp_path):
    """A database as Fail2ban makes it, with some of everything."""
    path = tmp_path / "fail2ban.sqlite3"
    with contextlib.closing(sqlite3.connect(path)) as db:
        db.executescript(SCHEMA)
        rows = [
            ("sip", "203.0.113.1", NOW - 9000, 600, 1),
            ("sip", "203.0.113.1", NOW - 5000, 1200, 2),
            ("sip", "203.0.113.1", NOW - 100, 2400, 3),
            ("sip", "203.0.113.2", NOW - 100, -1, 1),
            ("sip", "2001:DB8::5", NOW - 100, 600, 1),
            ("sip", "a-user-name", NOW - 100, 600, 1),
            ("gone", "203.0.113.3", NOW - 100, 600, 1),
            ("sip", "203.0.113.4", NOW - 900, 600, 1),
        ]
        db.executemany("INSERT INTO bans VALUES (?, ?, ?, ?, ?, '{}')", rows)
        db.executemany(
            "INSERT OR REPLACE INTO bips (jail, ip, timeofban, bantime, bancount) VALUES (?, ?, ?, ?, ?)", rows
        )
        db.commit()
    return path


def test_live_bans_with_their_ends(file):
    """Each with its own end; what cannot be taken over is told, what has ended is history."""
    kept = read_file(file, {"sip": 600.0}, NOW)
    assert {ban.address: ban.until for ban in kept.bans} == {
        "203.0.113.1": NOW + 2300,
        "203.0.113.2": FOREVER,
        "2001:db8::5": NOW + 500,
    }
    assert kept.left == [
        "a-user-name in jail sip: not an address",
        "203.0.113.3 in jail gone: the jail does not run",
    ]
    assert [(ban.address, ban.since) for ban in kept.history] == [
        ("203.0.113.1", NOW - 9000),
        ("203.0.113.1", NOW - 5000),
        ("203.0.113.4", NOW - 900),
    ]


def test_history_counts_on(file, tmp_path):
    """An address that was banned twice before is at its third ban, and its next one is the fourth."""
    state = Database(tmp_path / "state")
    for changes in _as_changes(read_file(file, {"sip": 600.0}, NOW)):
        state.save(changes)
    try:
        assert {ban.address: ban.count for ban in state.bans(NOW)} == {
            "203.0.113.1": 3,
            "203.0.113.2": 1,
            "2001:db8::5": 1,
        }
        assert state.ban_counts(["203.0.113.1"])["sip", "203.0.113.1"] == 2
    finally:
        state.close()


def test_no_database(tmp_path):
    """One line that names the file."""
    with pytest.raises(StateError, match="unable to open database file; check that this is Fail2ban's database"):
        read_file(tmp_path / "none", {}, NOW)


@pytest.mark.parametrize("kind", [hashlib.sha1, hashlib.md5])
def test_positions_there_and_back(tmp_path, kind):
    """A log that was rotated since is found under its new name; the way back names the same byte."""
    log = tmp_path / "sip.log"
    log.write_text("first line\nsecond line\n")
    digest = kind(b"first line\n").hexdigest()
    rows = [LogRow("sip", str(log), digest, 23), LogRow("other", str(log), digest, 11)]
    found = positions_of(rows)
    assert found[str(log)].offset == 11, "nobody misses a line"
    back = rows_of(found.values(), [("sip", str(log)), ("none", "/nowhere")])
    assert back == [LogRow("sip", str(log), hashlib.sha1(b"first line\n").hexdigest(), 11)]
    inode = log.stat().st_ino
    log.rename(tmp_path / "sip.log.1")
    log.write_text("another first line\n")
    assert positions_of(rows)[str(log)].inode == inode
    assert positions_of([LogRow("sip", str(log), "0" * len(digest), 5)]) == {}


def test_write_back(file):
    """What was banned meanwhile is live there, what has ended is not; a ban that it knows is not doubled."""
    kept = read_file(file, {"sip": 600.0}, NOW)
    write_file(file, kept.bans[:2], [LogRow("sip", "/var/log/x", "ab", 7)])
    again = read_file(file, {"sip": 600.0}, NOW)
    assert {ban.address: ban.until for ban in again.bans} == {ban.address: ban.until for ban in kept.bans[:2]}
    assert again.logs == [LogRow("sip", "/var/log/x", "ab", 7)]
    with contextlib.closing(sqlite3.connect(file)) as db:
        assert db.execute("SELECT count(*) FROM bans").fetchone() == (8,)


def test_a_ban_that_fail2ban_does_not_restore(tmp_path, monkeypatch):
    """It is not waited for longer than others come."""
    client = tmp_path / "fail2ban-client"
    client.write_text("#!/bin/sh\necho 203.0.113.1\n")
    client.chmod(0o755)
    monkeypatch.setenv("PATH", str(tmp_path), prepend=":")
    monkeypatch.setattr(takeover, "STILL", 0.2)
    said = []
    adoption = Adoption(
        None, tmp_path, Services(tmp_path, tmp_path, ()), MemoryFirewall(clock=time.time), lambda: NOW, said.append
    )
    restored, lost = (Ban(f"203.0.113.{n}", "pbx", NOW, NOW + 9000) for n in (1, 2))
    adoption._wait_restored([restored])
    with pytest.raises(FirewallError, match=r"does not restore 1 bans, such as 203\.0\.113\.2 in jail pbx"):
        adoption._wait_restored([restored, lost])
    assert said == [f"Fail2ban is started; waiting until it has restored {n} bans" for n in (1, 2)]
