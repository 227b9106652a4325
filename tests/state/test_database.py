"""The database: whole moments, other owners, broken files."""

import sqlite3

import pytest

from sipguard.errors import StateBusyError, StateError
from sipguard.model import FOREVER, Ban, Position
from sipguard.state.changes import MAX_LINE, Attempt, Changes
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
    changes.attempts = [Attempt("asterisk", "203.0.113.6", 99.0, 2, "1000", "a line")]
    first.save(changes)
    first.close()
    second = Database(tmp_path)
    assert second.positions() == {position.path: position}
    assert second.attempts() == changes.attempts
    assert second.bans(now=200.0) == [BAN]
    assert second.bans(now=700.0) == []
    second.close()


def test_a_ban_answers_its_attempts(database):
    """Attempts before a ban are kept for the story, and count no more."""
    database.save(Changes(attempts=[Attempt(*KEY, 99.0, 1, "1000", "x" * 5000)]))
    database.save(Changes(bans={KEY: BAN}))
    assert database.attempts() == []
    attempts, bans = database.story(ADDRESS)
    assert [len(attempt.line) for attempt in attempts] == [MAX_LINE]
    assert bans == []


def test_an_ended_ban_is_history(database):
    """It is live no more, and counts as an earlier one."""
    database.save(Changes(bans={KEY: BAN}))
    database.save(Changes(ended={KEY: 700.0}))
    assert database.bans(now=0.0) == []
    assert database.ban_count(*KEY) == 1
    assert database.ban_count("freeswitch", ADDRESS) == 0
    assert database.ban_count(None, ADDRESS) == 1


def test_made_and_ended_in_one_moment(database):
    """A ban shorter than the time between two writes is history all the same."""
    database.save(Changes(bans={KEY: BAN}, ended={KEY: 101.0}))
    assert database.bans(now=0.0) == []
    assert database.ban_count(*KEY) == 1


def test_forgotten(database):
    """An unban by hand takes attempts and history back."""
    database.save(Changes(attempts=[Attempt(*KEY, 99.0)], bans={KEY: BAN}))
    database.save(Changes(ended={KEY: 200.0}, forgotten={KEY}))
    assert database.story(ADDRESS) == ([], [])


def test_a_ban_for_good(database):
    """Infinity survives the database."""
    ban = Ban(ADDRESS, "asterisk", 1.0, FOREVER)
    database.save(Changes(bans={KEY: ban}))
    assert database.bans(now=1e12) == [ban]


def test_purge(database):
    """Old stories go, live bans stay."""
    other = Ban("203.0.113.6", "asterisk", 900.0, 5000.0)
    database.save(Changes(attempts=[Attempt(*KEY, 99.0)], bans={KEY: BAN, ("asterisk", other.address): other}))
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


def test_newer_file_is_moved_aside(tmp_path, caplog):
    """A downgrade does not guess at tables it does not know."""
    with sqlite3.connect(tmp_path / "sipguard.db") as newer:
        newer.execute("PRAGMA user_version = 99")
    newer.close()
    Database(tmp_path).close()
    assert "written by a newer sipguard" in caplog.text


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
