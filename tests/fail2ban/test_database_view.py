"""Fail2ban's database file: its tables and columns, live, and no harm from a file that is broken or locked."""

from __future__ import annotations

import json
import sqlite3

import pytest

from sipguard.fail2ban.database_view import DatabaseView
from sipguard.model import FOREVER, Ban, Position

NOW = 1_800_000_000.0
BAN = Ban("203.0.113.5", "alpha", NOW + 0.4, NOW + 600.4, attempts=5, count=2)


@pytest.fixture
def view(tmp_path):
    """A view of its own, with a clock that stands."""
    made = DatabaseView(tmp_path / "var" / "fail2ban.sqlite3", purge_age=86_400, clock=lambda: NOW)
    made.jails(["alpha", "beta"])
    yield made
    made.close()


def _rows(view, query, *values):
    """What another program sees."""
    with sqlite3.connect(f"file:{view.path}?mode=ro", uri=True) as db:
        rows = db.execute(query, values).fetchall()
    db.close()
    return rows


COLUMNS = {
    "fail2banDb": ["version"],
    "jails": ["name", "enabled"],
    "logs": ["jail", "path", "firstlinemd5", "lastfilepos"],
    "bans": ["jail", "ip", "timeofban", "bantime", "bancount", "data"],
    "bips": ["ip", "jail", "timeofban", "bantime", "bancount", "data"],
}


@pytest.mark.parametrize("table", COLUMNS)
def test_columns(view, table):
    """The tables of version 4, in the order of their columns."""
    view.write()
    assert [row[1] for row in _rows(view, f"PRAGMA table_info({table})")] == COLUMNS[table]
    assert _rows(view, "SELECT version FROM fail2banDb") == [(4,)]


def test_queries_of_known_readers(view):
    """The queries that exporters and dashboards are known to ask."""
    view.ban(BAN, ["line one", "line two"])
    view.ban(Ban("2001:db8::5", "beta", NOW, FOREVER), ())
    view.write()
    assert _rows(view, "SELECT name FROM jails WHERE enabled = 1") == [("alpha",), ("beta",)]
    assert _rows(view, "SELECT ip FROM bips ORDER BY ip") == [("2001:db8::5",), ("203.0.113.5",)]
    live = "SELECT ip FROM bans WHERE DATETIME(timeofban + ?, 'unixepoch') > DATETIME(?, 'unixepoch') AND jail = ?"
    assert _rows(view, live, 600, NOW, "alpha") == [("203.0.113.5",)]
    assert _rows(view, "SELECT json_extract(data, '$.failures') FROM bans WHERE jail = 'alpha'") == [(5,)]
    (row,) = _rows(view, "SELECT timeofban, bantime, bancount, data FROM bips WHERE jail = 'alpha'")
    assert row[:3] == (int(NOW), 600, 2)
    assert json.loads(row[3]) == {"matches": ["line one", "line two"], "failures": 5}
    assert _rows(view, "SELECT bantime FROM bans WHERE jail = 'beta'") == [(-1,)]


def test_unban_takes_it_out(view):
    """As Fail2ban does: an unban by hand leaves no history, one by time does."""
    view.ban(BAN, ())
    view.ban(Ban("203.0.113.6", "alpha", NOW, NOW + 600), ())
    view.forget("alpha", "203.0.113.5")
    view.write()
    assert _rows(view, "SELECT ip FROM bans UNION ALL SELECT ip FROM bips") == [("203.0.113.6",)] * 2


def test_positions(view, tmp_path):
    """How far each log is read, with the hash of its first line."""
    log = tmp_path / "a.log"
    log.write_bytes(b"first\nsecond\n")
    view.position("alpha", Position(str(log), 1, 2, "head", 4, 6))
    view.position("alpha", Position(str(log), 1, 2, "head", 4, 13))
    view.write()
    assert _rows(view, "SELECT * FROM logs") == [("alpha", str(log), "271ac93c44ac198d92e706c6d6f1d84aefcfa337", 13)]


def test_kept_bans_keep_their_lines(view):
    """A ban of an earlier run is added where it is missing and otherwise left as it is."""
    view.ban(BAN, ["line"])
    view.write()
    view.keep(BAN)
    view.keep(Ban("203.0.113.9", "beta", NOW, NOW + 60))
    view.write()
    rows = _rows(view, "SELECT ip, json_extract(data, '$.matches[0]') FROM bips ORDER BY ip")
    assert rows == [("203.0.113.5", "line"), ("203.0.113.9", None)]
    assert _rows(view, "SELECT count(*) FROM bans") == [(2,)]


def test_jails_that_end_and_bans_that_are_old(tmp_path):
    """Jails that run no more are marked; what ended long ago is purged."""
    now = [NOW]
    view = DatabaseView(tmp_path / "f2b.sqlite3", purge_age=1000, clock=lambda: now[0])
    view.jails(["alpha", "beta"])
    view.ban(BAN, ())
    view.ban(Ban("203.0.113.7", "alpha", NOW, FOREVER), ())
    view.write()
    view.jails(["alpha"])
    view.write()
    assert _rows(view, "SELECT name FROM jails WHERE enabled = 1") == [("alpha",)]
    now[0] += 4000
    view.jails(["alpha"])
    view.write()
    assert _rows(view, "SELECT ip FROM bans") == [("203.0.113.7",)]
    view.close()


@pytest.mark.parametrize("content", [b"this is no database" * 100, b"\0" * 5000], ids=["text", "zeros"])
def test_broken_file_is_moved_aside(view, content):
    """A broken file is kept beside the new one."""
    view.path.parent.mkdir()
    view.path.write_bytes(content)
    view.write()
    assert _rows(view, "SELECT name FROM jails") == [("alpha",), ("beta",)]
    (aside,) = view.path.parent.glob("*.aside-*")
    assert aside.read_bytes() == content


def test_other_version_is_moved_aside(view):
    """Tables of another version are not written into."""
    view.path.parent.mkdir()
    with sqlite3.connect(view.path) as db:
        db.execute("CREATE TABLE fail2banDb (version INTEGER)")
        db.execute("INSERT INTO fail2banDb VALUES (5)")
    db.close()
    view.write()
    assert _rows(view, "SELECT version FROM fail2banDb") == [(4,)]


def test_reader_that_holds_the_file(view):
    """A lock costs a moment; what was to be written is written later."""
    view.write()
    view.ban(BAN, ())
    with sqlite3.connect(view.path, isolation_level=None) as reader:
        reader.execute("BEGIN EXCLUSIVE")
        view.write()
        reader.execute("COMMIT")
    reader.close()
    assert _rows(view, "SELECT ip FROM bips") == []
    view.write()
    assert _rows(view, "SELECT ip FROM bips") == [("203.0.113.5",)]


def test_fail2bans_own_reader_accepts_it(view, debian_client):
    """The installed Fail2ban opens the file, finds nothing to mend, and reads the ban."""
    import subprocess
    from pathlib import Path

    view.ban(BAN, ["line"])
    view.write()
    interpreter = Path(debian_client).read_text().split("\n", 1)[0].removeprefix("#!").split()
    code = (
        "import sys; from fail2ban.server.database import Fail2BanDb; db = Fail2BanDb(sys.argv[1]);"
        "t, = db.getBansMerged(); print(db.getJailNames(), t.getIP(), t.getAttempt(), t.getMatches())"
    )
    command = [*interpreter, "-c", code, str(view.path)]
    done = subprocess.run(command, capture_output=True, text=True, check=True)
    assert "203.0.113.5 5 ['line']" in done.stdout
    assert "updat" not in done.stderr.lower()
