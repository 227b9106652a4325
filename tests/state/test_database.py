"""The database: whole moments, other owners, broken files."""

import sqlite3
from dataclasses import replace

import pytest

from sipguard.errors import StateBusyError, StateError
from sipguard.model import FOREVER, Ban, Position
from sipguard.state import database as database_module
from sipguard.state.changes import BURST, MAX_LINE, Changes, CountedAttempt
from sipguard.state.database import Database

ADDRESS = "203.0.113.5"
BAN = Ban(ADDRESS, "asterisk", since=100.0, until=700.0, attempts=5, reason="five")
KEY = ("asterisk", ADDRESS)


@pytest.fixture
def database(tmp_path):
    """An empty state."""
    with_state = Database(tmp_path / "state")
    yield with_state
    with_state.close()


def test_everything_comes_back(tmp_path):
    """What one daemon has written, the next one reads."""
    position = Position("/var/log/x.log", 1, 2, "abcd", 4, 1234)
    first = Database(tmp_path)
    changes = Changes(positions={position.path: position}, bans={KEY: BAN})
    changes.attempts = [CountedAttempt("asterisk", "203.0.113.6", 99.0, 2, "1000", "a line")]
    first.save(changes)
    first.close()
    second = Database(tmp_path)
    assert second.positions() == {position.path: position}
    assert second.attempts() == [CountedAttempt("asterisk", "203.0.113.6", 99.0, 2)]
    assert second.story("203.0.113.6") == (changes.attempts, [])
    assert second.bans(now=200.0) == [BAN]
    assert second.bans(now=700.0) == []
    second.close()


def test_a_ban_answers_its_attempts(database):
    """Attempts before a ban are kept for the story, and count no more."""
    database.save(Changes(attempts=[CountedAttempt(*KEY, 99.0, 1, "1000", "x" * 5000)]))
    database.save(Changes(bans={KEY: BAN}))
    assert database.attempts() == []
    attempts, bans = database.story(ADDRESS)
    assert [len(attempt.line) for attempt in attempts] == [MAX_LINE]
    assert bans == []


@pytest.mark.parametrize(("decided", "rows"), [(True, 3), (False, BURST)])
def test_a_burst(database, decided, rows):
    """Of many attempts at once, those on one user that have led to a ban are one row; the others each have their own."""
    attempts = [CountedAttempt(*KEY, 1000.0 + n, 1, str(n % 3), f"line {n}") for n in range(BURST)]
    database.save(Changes(attempts=attempts, decided={KEY} if decided else set()))
    found = database.attempts()
    assert (len(found), sum(one.attempts for one in found)) == (rows, BURST)
    assert found[-1].time == 999.0 + BURST


def test_an_ended_ban_is_history(database):
    """It is live no more, and counts as an earlier one."""
    database.save(Changes(bans={KEY: BAN}))
    database.save(Changes(ended={KEY: 700.0}))
    assert database.bans(now=0.0) == []
    assert database.ban_counts([ADDRESS])[KEY] == 1
    assert database.ban_counts([ADDRESS])["freeswitch", ADDRESS] == 0
    assert database.ban_counts([ADDRESS])[None, ADDRESS] == 1


def test_made_and_ended_in_one_moment(database):
    """A ban shorter than the time between two writes is history all the same."""
    database.save(Changes(bans={KEY: BAN}, ended={KEY: 101.0}))
    assert database.bans(now=0.0) == []
    assert database.ban_counts([ADDRESS])[KEY] == 1


def test_forgotten(database):
    """An unban by hand takes attempts and history back."""
    database.save(Changes(attempts=[CountedAttempt(*KEY, 99.0)], bans={KEY: BAN}))
    database.save(Changes(ended={KEY: 200.0}, forgotten={KEY}))
    assert database.story(ADDRESS) == ([], [])


def test_what_is_counted_after_that(database):
    """A login forgives what was before it, not what comes in the same moment."""
    changes = Changes(attempts=[CountedAttempt(*KEY, 99.0), CountedAttempt("asterisk", "203.0.113.6", 99.0)])
    changes.forget([KEY])
    changes.attempts.append(CountedAttempt(*KEY, 99.5))
    database.save(changes)
    assert [(one.address, one.time) for one in database.attempts()] == [("203.0.113.6", 99.0), (ADDRESS, 99.5)]


def test_a_ban_for_good(database):
    """Infinity survives the database."""
    ban = Ban(ADDRESS, "asterisk", 1.0, FOREVER)
    database.save(Changes(bans={KEY: ban}))
    assert database.bans(now=1e12) == [ban]


def test_purge(database):
    """Old stories go, live bans stay."""
    other = Ban("203.0.113.6", "asterisk", 900.0, 5000.0)
    database.save(Changes(attempts=[CountedAttempt(*KEY, 99.0)], bans={KEY: BAN, ("asterisk", other.address): other}))
    database.save(Changes(ended={KEY: 700.0}))
    database.purge(before=1000.0)
    assert database.story(ADDRESS) == ([], [])
    assert database.bans(now=1000.0) == [other]


def test_second_daemon_is_refused(database, tmp_path):
    """One state, one daemon; the message says what to do."""
    with pytest.raises(
        StateBusyError, match="another sipguard is running on this state; stop it, or give another --state-dir"
    ):
        Database(tmp_path / "state")


def test_the_lock_goes_with_its_owner(tmp_path):
    """After the first has ended, the next may begin."""
    Database(tmp_path).close()
    Database(tmp_path).close()


def test_corrupt_file_is_moved_aside(tmp_path, caplog):
    """Garbage is kept for a look, and running goes on."""
    (tmp_path / "sipguard.db").write_bytes(b"this is no database, whatever it says" * 100)
    database = Database(tmp_path)
    assert database.bans(0.0) == []
    database.close()
    assert len(list(tmp_path.glob("sipguard.db.aside-*"))) == 1
    assert "moved aside" in caplog.text


def test_newer_file_is_refused(tmp_path):
    """A downgrade does not guess at tables it does not know, and leaves them alone."""
    with sqlite3.connect(tmp_path / "sipguard.db") as newer:
        newer.execute("PRAGMA user_version = 99")
    newer.close()
    before = (tmp_path / "sipguard.db").read_bytes()
    with pytest.raises(
        StateError, match=r"sipguard\.db: written by a newer sipguard \(version 99 of its tables\); install"
    ):
        Database(tmp_path)
    assert (tmp_path / "sipguard.db").read_bytes() == before


def test_locked_by_another_program(tmp_path):
    """A write fails with a line that names the file, and works later with the same changes."""
    database = Database(tmp_path)
    changes = Changes(bans={KEY: BAN})
    other = sqlite3.connect(database.path, isolation_level=None)
    other.execute("BEGIN IMMEDIATE")
    with pytest.raises(StateError, match=r"sipguard\.db: database is locked"):
        database.save(changes)
    other.execute("ROLLBACK")
    other.close()
    database.save(changes)
    assert database.bans(now=200.0) == [BAN]
    database.close()


def test_folder_cannot_be_made(tmp_path):
    """A file where the folder should be."""
    (tmp_path / "state").write_text("")
    with pytest.raises(StateError, match="--state-dir"):
        Database(tmp_path / "state")


def test_number_of_rows_is_bounded(tmp_path, monkeypatch):
    """A table that an attack has filled loses its oldest rows, and the file becomes smaller."""
    monkeypatch.setitem(database_module.MOST_ROWS, "attempts", 1000)
    database = Database(tmp_path)
    try:
        for start in range(0, 30_000, 5000):
            attempts = [
                CountedAttempt("sip", "203.0.113.5", float(n), line="x" * 500) for n in range(start, start + 5000)
            ]
            database.save(Changes(attempts=attempts))
        before = _pages(database)
        for _ in range(20):
            database.trim()
        times = [attempt.time for attempt in database.attempts()]
        assert times == [float(n) for n in range(29_000, 30_000)]
        assert _pages(database) < before / 5
    finally:
        database.close()


def test_purged_a_little_at_a_time(tmp_path, monkeypatch):
    """What is old goes, all of it in the end, and nothing else."""
    monkeypatch.setattr(database_module, "TRIM", 300)
    database = Database(tmp_path)
    try:
        for start in (0.0, 5000.0):
            attempts = [CountedAttempt("sip", f"2001:db8::{n:x}", start + n) for n in range(1000)]
            database.save(Changes(attempts=attempts, bans={KEY: replace(BAN, since=start)}))
            database.save(Changes(ended={KEY: start + 10.0}))
        assert [database.purge(4000.0) for _ in range(4)] == [True, True, True, False]
        assert [attempt.time for attempt in database.attempts()] == [5000.0 + n for n in range(1000)]
        assert [ban.since for ban in database.story(ADDRESS)[1]] == [5000.0]
    finally:
        database.close()


def test_what_is_answered_costs_nothing(database):
    """The loop waits for every write: hundreds of thousands of answered attempts, kept for their story, are not looked at."""
    for start in range(0, 20_000, 5000):
        names = [f"2001:db8::{n:x}" for n in range(start, start + 5000)]
        attempts = [CountedAttempt("sip", name, float(start), line="x" * 100) for name in names]
        bans = {("sip", name): replace(BAN, jail="sip", address=name) for name in names}
        database.save(Changes(attempts=attempts, bans=bans))
    database.save(
        Changes(
            attempts=[CountedAttempt("sip", "203.0.113.5", 30_000.0), CountedAttempt("sip", "203.0.113.6", 40_000.0)]
        )
    )
    hundreds = []
    database._db.set_progress_handler(lambda: hundreds.append(1), 100)
    database.save(Changes(expired={"sip": 35_000.0}))
    left = database.attempts()
    database._db.set_progress_handler(None, 0)
    assert [attempt.address for attempt in left] == ["203.0.113.6"]
    assert len(hundreds) < 20, f"{100 * len(hundreds)} instructions of SQLite for two attempts"


def _pages(database):
    return database._db.execute("PRAGMA page_count").fetchone()[0]


def test_a_file_of_version_1(tmp_path):
    """It gets the new column; nothing in it is lost."""
    path = tmp_path / "sipguard.db"
    old = sqlite3.connect(path)
    old.execute(
        "CREATE TABLE attempts (jail TEXT, address TEXT, time REAL, attempts INTEGER, user TEXT, line TEXT, ban REAL)"
    )
    old.execute("INSERT INTO attempts VALUES ('sip', '203.0.113.5', 1.0, 1, NULL, 'a line', NULL)")
    old.execute("PRAGMA user_version = 1")
    old.commit()
    old.close()
    database = Database(tmp_path)
    try:
        assert database.story("203.0.113.5")[0] == [CountedAttempt("sip", "203.0.113.5", 1.0, line="a line")]
        database.save(Changes(attempts=[CountedAttempt("sip", "203.0.113.6", 2.0, regex=3)]))
        assert database.story("203.0.113.6")[0] == [CountedAttempt("sip", "203.0.113.6", 2.0, regex=3)]
        assert len(database.attempts()) == 2
    finally:
        database.close()


def test_the_class_of_a_ban_and_logins_are_kept(database):
    """What a ban rests on survives; logins that are too old are forgotten."""
    proven = replace(BAN, address="203.0.113.6", evidence="proven")
    changes = Changes(
        bans={KEY: BAN, ("asterisk", proven.address): proven}, logins={"192.0.2.1": 50.0, "192.0.2.2": 150.0}
    )
    database.save(changes)
    assert database.bans(200.0) == [BAN, proven]
    assert database.logins(100.0) == {"192.0.2.2": 150.0}
    assert database.logins(0.0) == {"192.0.2.2": 150.0}
