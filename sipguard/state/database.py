"""The database: bans, attempts and log positions in one SQLite file, written in whole moments.

SQLite in WAL mode with `synchronous = NORMAL`: what is committed survives the death of the process at any instruction; after a
power cut the last moments may be missing, never half of one.
"""

from __future__ import annotations

import contextlib
import fcntl
import json
import logging
import os
import sqlite3
import sys
from collections import Counter
from collections.abc import Callable, Collection, Iterator, Sequence
from operator import attrgetter
from pathlib import Path
from typing import Any

from sipguard.errors import StateBusyError, StateError, StateLostError
from sipguard.files import set_aside
from sipguard.model import Ban, PortRange, Position, Rule
from sipguard.state.changes import MAX_LINE, Changes, CountedAttempt
from sipguard.wire_model import Unpaired

log = logging.getLogger("fail2ban.database")

SCHEMA_VERSION = 5
_SCHEMA = """
CREATE TABLE IF NOT EXISTS positions (
    path TEXT PRIMARY KEY, device INTEGER, inode INTEGER, head TEXT, head_size INTEGER, offset INTEGER) WITHOUT ROWID;
CREATE TABLE IF NOT EXISTS attempts (
    jail TEXT, address TEXT, time REAL, attempts INTEGER, user TEXT, line TEXT, ban REAL, regex INTEGER);
CREATE INDEX IF NOT EXISTS attempts_by_address ON attempts (address, jail);
DROP INDEX IF EXISTS attempts_by_time;
CREATE INDEX IF NOT EXISTS attempts_open ON attempts (time) WHERE ban IS NULL;
CREATE TABLE IF NOT EXISTS live_bans (
    jail TEXT, address TEXT, since REAL, until REAL, attempts INTEGER, count INTEGER, reason TEXT, evidence TEXT,
    PRIMARY KEY (jail, address)) WITHOUT ROWID;
CREATE TABLE IF NOT EXISTS rules (jail TEXT PRIMARY KEY, ports TEXT, protocols TEXT, verdict TEXT) WITHOUT ROWID;
CREATE TABLE IF NOT EXISTS history (
    jail TEXT, address TEXT, since REAL, until REAL, ended REAL, attempts INTEGER, reason TEXT,
    evidence TEXT, count INTEGER);
CREATE INDEX IF NOT EXISTS history_by_address ON history (address, jail);
CREATE TABLE IF NOT EXISTS unpaired (
    number INTEGER PRIMARY KEY, jail TEXT, kind TEXT, address TEXT, time REAL, user TEXT, line TEXT, regex INTEGER,
    tags TEXT);
CREATE TABLE IF NOT EXISTS spoilt_servers (server TEXT PRIMARY KEY, since REAL) WITHOUT ROWID;
CREATE TABLE IF NOT EXISTS logins (address TEXT PRIMARY KEY, time REAL) WITHOUT ROWID;
CREATE TABLE IF NOT EXISTS flows (address TEXT, port INTEGER, time REAL, PRIMARY KEY (address, port)) WITHOUT ROWID;
"""
_LATER_COLUMNS = (
    ("live_bans", "evidence", "TEXT"),
    ("history", "evidence", "TEXT"),
    ("history", "count", "INTEGER"),
    ("unpaired", "tags", "TEXT"),
)
"""Table, column and type of what an earlier sipguard did not have."""
_BAN_ANSWERS = attrgetter("since", "jail", "address")
_LIVE_BAN = attrgetter("jail", "address", "since", "until", "attempts", "count", "reason", "evidence")
_POSITION = attrgetter("path", "device", "inode", "head", "head_size", "offset")
"""The rows of these."""
MOST_ROWS = {"attempts": 500_000, "history": 200_000}
"""Rows of a table: an attack from many addresses fills it faster than age empties it."""
TRIM = 20_000
"""Rows forgotten at a time: the loop waits for it."""
_WAL_LIMIT = 16 << 20
"""Bytes that the write-ahead log keeps on disk after a checkpoint (`journal_size_limit`)."""
_BUSY_MS = 200
"""How long a write waits for another program's lock: it is made in the event loop, so not long. It is tried again later."""


class Database:
    """The state directory. Raises `StateError` when it cannot be used, or is another daemon's."""

    def __init__(self, directory: Path) -> None:
        self.path = directory / "sipguard.db"
        self._lock = _take_lock(directory)
        try:
            self._db = self._open()
            self._inode = self.path.stat().st_ino
        except (sqlite3.Error, OSError) as error:
            os.close(self._lock)
            raise StateError(f"{self.path}: {error}") from error
        except BaseException:
            os.close(self._lock)
            raise

    def _open(self) -> sqlite3.Connection:
        try:
            return _connect(self.path)
        except sqlite3.OperationalError as error:
            raise StateError(f"{self.path}: {error}; is the disk full, or the file not ours to write?") from error
        except sqlite3.DatabaseError as error:
            self._move_aside(f"{error}; starting with an empty state")
            return _connect(self.path)

    def _move_aside(self, why: str) -> None:
        log.error("%s: %s (moved aside to %s)", self.path, why, set_aside(self.path))

    def begin_anew(self, why: str) -> None:
        """Move aside what cannot be used any more, and be an empty database. Raises `StateError`."""
        with contextlib.suppress(sqlite3.Error):
            self._db.close()
        try:
            self._move_aside(f"{why.removeprefix(f'{self.path}: ')}; the live state is written anew")
            self._db = _connect(self.path)
            self._inode = self.path.stat().st_ino
        except (sqlite3.Error, OSError) as error:
            raise StateError(f"{self.path}: {error}") from error

    def close(self) -> None:
        """Let go of the file and of the directory."""
        self._db.close()
        os.close(self._lock)

    def positions(self) -> dict[str, Position]:
        """How far each log has been read, by path."""
        rows = self._rows("SELECT path, device, inode, head, head_size, offset FROM positions")
        return {row[0]: Position(*row) for row in rows}

    def attempts(self) -> list[CountedAttempt]:
        """The attempts that no ban has answered yet, oldest first; without user, line and regex, which `story` tells."""
        with _told(self.path):
            rows = self._db.execute(
                "SELECT jail, address, time, attempts FROM attempts WHERE ban IS NULL ORDER BY time"
            )
            return [CountedAttempt(sys.intern(jail), address, time, attempts) for jail, address, time, attempts in rows]

    def attempts_since(self, since: float) -> list[tuple[str, str, float, str, bool]]:
        """Jail, address, time, line of each stored attempt from then on, and whether a ban has answered it."""
        rows = self._rows("SELECT jail, address, time, line, ban IS NOT NULL FROM attempts WHERE time >= ?", (since,))
        return [(jail, address, time, line, bool(answered)) for jail, address, time, line, answered in rows]

    def spoilt(self) -> list[str]:
        """The SIP servers whose nonces are known to be predictable."""
        return [row[0] for row in self._rows("SELECT server FROM spoilt_servers")]

    def waiting(self) -> list[tuple[str, Unpaired]]:
        """Jail, and a line that waited for the wire or an attempt that waited for its line, oldest first."""
        rows = self._rows(
            "SELECT jail, number, kind, address, time, user, line, regex, ifnull(tags, '') FROM unpaired ORDER BY number"
        )
        return [(row[0], Unpaired(*row[1:])) for row in rows]

    def logins(self, since: float) -> dict[str, float]:
        """Address → when it last logged in, of those from `since` on; the others are forgotten."""
        with _told(self.path), self._db:
            self._db.execute("DELETE FROM logins WHERE time < ?", (since,))
        return dict(self._rows("SELECT address, time FROM logins"))

    def flows(self, since: float) -> dict[tuple[str, int], float]:
        """Address and source port of proven logins → when, oldest first, of those from `since` on; the others are forgotten."""
        with _told(self.path), self._db:
            self._db.execute("DELETE FROM flows WHERE time < ?", (since,))
        rows = self._rows("SELECT address, port, time FROM flows ORDER BY time")
        return {(address, port): time for address, port, time in rows}

    def bans(self, now: float) -> list[Ban]:
        """The bans that have not ended at `now`, in the order of banning."""
        rows = self._rows(
            "SELECT address, jail, since, until, attempts, count, reason, evidence FROM live_bans WHERE until > ?"
            " ORDER BY since",
            (now,),
        )
        # Few jails and few reasons, in many bans: one text for each.
        share: Callable[[str], Any] = sys.intern
        return [
            Ban(address, share(jail), since, until, attempts, count, share(reason), evidence and share(evidence))
            for address, jail, since, until, attempts, count, reason, evidence in rows
        ]

    def rules(self) -> dict[str, Rule]:
        """Jail → what its bans rejected when its configuration was last good."""
        rows = self._rows("SELECT jail, ports, protocols, verdict FROM rules")
        return {
            jail: Rule(jail, tuple(map(_range, ports.split())), tuple(protocols.split()), verdict)
            for jail, ports, protocols, verdict in rows
        }

    def ban_counts(self, addresses: Collection[str]) -> Counter[tuple[str | None, str]]:
        """(jail, address) → how many bans of these addresses came before; (None, address) → how many in any jail."""
        question = "SELECT jail, address FROM history WHERE address IN (SELECT value FROM json_each(?))"
        rows = self._rows(question, (json.dumps(list(addresses)),))
        counts: Counter[tuple[str | None, str]] = Counter()
        for jail, address in rows:
            counts[jail, address] += 1
            counts[None, address] += 1
        return counts

    def story(self, address: str) -> tuple[list[CountedAttempt], list[Ban]]:
        """What is known of an address: its attempts, answered or not, and its bans that have ended; oldest first."""
        attempts = self._rows(
            "SELECT jail, address, time, attempts, user, line, regex FROM attempts WHERE address = ? ORDER BY time",
            (address,),
        )
        bans = self._rows(
            "SELECT address, jail, since, ended, attempts, 0, reason, evidence FROM history"
            " WHERE address = ? ORDER BY since",
            (address,),
        )
        return [CountedAttempt(*row) for row in attempts], [Ban(*row) for row in bans]

    def _rows(self, question: str, values: Sequence[object] = ()) -> list[Any]:
        with _told(self.path):
            return self._db.execute(question, values).fetchall()

    def save(self, changes: Changes) -> None:
        """Write one moment, all of it or nothing. Raises `StateError`; then the same changes can be written again."""
        # SQLite would go on writing into a file that somebody has removed or replaced.
        try:
            there = self.path.stat().st_ino
        except FileNotFoundError:
            raise StateLostError(f"{self.path}: the file is gone") from None
        except OSError as error:
            raise StateError(f"{self.path}: {error.strerror}") from error
        if there != self._inode:
            raise StateLostError(f"{self.path}: the file was replaced")
        run = self._db.executemany
        with _told(self.path), self._db:
            self._db.execute("BEGIN IMMEDIATE")
            if changes.rules or changes.spoilt or changes.logins or changes.flows or changes.waiting or changes.settled:
                self._write_aside(changes)
            bans = changes.bans.values()
            run("DELETE FROM attempts WHERE jail = ? AND time < ? AND ban IS NULL", changes.expired.items())
            run("UPDATE attempts SET ban = ? WHERE jail = ? AND address = ? AND ban IS NULL", map(_BAN_ANSWERS, bans))
            run("DELETE FROM attempts WHERE jail = ? AND address = ?", changes.forgotten)
            if changes.attempts:
                run("INSERT INTO attempts VALUES (?, ?, ?, ?, ?, ?, ?, ?)", changes.rows())
            run("INSERT OR REPLACE INTO live_bans VALUES (?, ?, ?, ?, ?, ?, ?, ?)", map(_LIVE_BAN, bans))
            for key, when in changes.ended.items():
                self._db.execute(
                    "INSERT INTO history (jail, address, since, until, ended, attempts, reason, evidence, count)"
                    " SELECT jail, address, since, until, ?3, attempts, reason, evidence, count FROM live_bans"
                    " WHERE jail = ?1 AND address = ?2",
                    (*key, when),
                )
            run("DELETE FROM live_bans WHERE jail = ? AND address = ?", changes.ended)
            run("DELETE FROM history WHERE jail = ? AND address = ?", changes.forgotten)
            run(
                "INSERT OR REPLACE INTO positions VALUES (?, ?, ?, ?, ?, ?)", map(_POSITION, changes.positions.values())
            )

    def shift(self, seconds: float, now: float) -> None:
        """Move the attempts that still count, none beyond `now`. Raises `StateError`."""
        with _told(self.path), self._db:
            self._db.execute("UPDATE attempts SET time = min(time + ?, ?) WHERE ban IS NULL", (seconds, now))

    def trim(self) -> None:
        """Forget the oldest rows of tables that have grown too long, up to `TRIM` at a time. Raises `StateError`."""
        with _told(self.path):
            for table, most in MOST_ROWS.items():
                first, last = self._db.execute(f"SELECT min(rowid), max(rowid) FROM {table}").fetchone()  # noqa: S608
                if first is not None and last - first >= most:
                    end = min(first + TRIM, last - most + 1)
                    with self._db:
                        self._db.execute(f"DELETE FROM {table} WHERE rowid < ?", (end,))  # noqa: S608
            # As a script: `execute` makes one step, which gives back one page.
            self._db.executescript("PRAGMA incremental_vacuum(1000)")

    def _write_aside(self, changes: Changes) -> None:
        """What few moments have."""
        run = self._db.executemany
        run("INSERT OR IGNORE INTO spoilt_servers VALUES (?, ?)", changes.spoilt.items())
        run("INSERT OR REPLACE INTO logins VALUES (?, ?)", changes.logins.items())
        run("INSERT OR REPLACE INTO flows VALUES (?, ?, ?)", [(*flow, time) for flow, time in changes.flows.items()])
        run("DELETE FROM unpaired WHERE number = ?", zip(changes.settled, strict=True))
        run(
            "INSERT OR REPLACE INTO unpaired (jail, number, kind, address, time, user, line, regex, tags)"
            " VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?)",
            [(jail, *row._replace(line=row.line[:MAX_LINE])) for jail, row in changes.waiting.values()],
        )
        run(
            "INSERT OR REPLACE INTO rules VALUES (?, ?, ?, ?)",
            [
                (jail, " ".join(map(str, rule.ports)), " ".join(rule.protocols), rule.verdict)
                for jail, rule in changes.rules.items()
            ],
        )

    def purge(self, before: float) -> bool:
        """Forget answered attempts and ended bans older than `before`, up to `TRIM` of each at a time; whether more are left.

        Rows are written in the order of time, so the first ones are asked: an index costs an attack more than it saves here.
        Raises `StateError`.
        """
        gone = []
        with _told(self.path):
            with self._db:
                for table, when in (("attempts", "time"), ("history", "ended")):
                    first = f"SELECT rowid, {when} AS time FROM {table} ORDER BY rowid LIMIT {TRIM}"  # noqa: S608 - names of ours
                    old = f"SELECT rowid FROM ({first}) WHERE time < ?"  # noqa: S608
                    done = self._db.execute(f"DELETE FROM {table} WHERE rowid IN ({old})", (before,))  # noqa: S608
                    gone.append(done.rowcount)
            self._db.executescript("PRAGMA incremental_vacuum(10000)")
        return max(gone) >= TRIM


@contextlib.contextmanager
def _told(path: Path) -> Iterator[None]:
    """SQLite's errors as ours: a damaged file, or one that is none, cannot be mended by trying again."""
    try:
        yield
    except (sqlite3.OperationalError, sqlite3.IntegrityError, sqlite3.ProgrammingError) as error:
        raise StateError(f"{path}: {error}") from error
    except sqlite3.DatabaseError as error:
        raise StateLostError(f"{path}: {error}") from error


def _connect(path: Path) -> sqlite3.Connection:
    db = sqlite3.connect(path, timeout=_BUSY_MS / 1000, isolation_level=None)
    try:
        version = db.execute("PRAGMA user_version").fetchone()[0]
        if version > SCHEMA_VERSION:
            newer = f"written by a newer sipguard (version {version} of its tables)"
            raise StateError(f"{path}: {newer}; install that version again, or move the file away")
        if version == 0:
            db.execute("PRAGMA auto_vacuum = INCREMENTAL")
        db.execute("PRAGMA journal_mode = WAL")
        db.execute("PRAGMA synchronous = NORMAL")
        db.execute(f"PRAGMA journal_size_limit = {_WAL_LIMIT}")
        db.executescript(_SCHEMA)
        if version == 1:
            db.execute("ALTER TABLE attempts ADD COLUMN regex INTEGER")
        for table, column, kind in _LATER_COLUMNS:
            if not any(row[1] == column for row in db.execute(f"PRAGMA table_info({table})")):
                db.execute(f"ALTER TABLE {table} ADD COLUMN {column} {kind}")
        db.execute(f"PRAGMA user_version = {SCHEMA_VERSION}")
    except BaseException:
        db.close()
        raise
    path.chmod(0o600)
    return db


def _range(text: str) -> PortRange:
    first, _, last = text.partition("-")
    return PortRange(int(first), int(last or first))


def _take_lock(directory: Path) -> int:
    """Hold the directory for this process alone, until it ends in whatever way: the kernel lets a dead owner's lock go."""
    try:
        directory.mkdir(parents=True, exist_ok=True, mode=0o700)
        handle = os.open(directory / "lock", os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
    except OSError as error:
        raise StateError(f"{directory}: {error.strerror}; give another place with --state-dir") from error
    try:
        fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError as error:
        os.close(handle)
        raise StateBusyError(
            f"{directory}: another sipguard is running on this state; stop it, or give another --state-dir"
        ) from error
    return handle
