"""Keeps Fail2ban's database file (version 4 of its tables) up to date for programs that read it.

sipguard never reads this file: its own state is elsewhere, and this one can be recreated at any time. A disk error therefore
costs only this view. Failed writes are retried with the next change.
"""

from __future__ import annotations

import contextlib
import json
import logging
import sqlite3
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any

from sipguard.durations import whole_seconds
from sipguard.files import open_regular, set_aside
from sipguard.model import Ban, Clock, Position

log = logging.getLogger("fail2ban.database")

VERSION = 4
_BUSY = 0.05
"""Seconds to wait for a reader's lock. Short, because writes happen in the daemon's loop and are retried later."""
_LONGEST_LINE = 65_536
"""Longest first line of a log that is hashed, in bytes."""
_SCHEMA = """
CREATE TABLE IF NOT EXISTS fail2banDb (version INTEGER);
CREATE TABLE IF NOT EXISTS jails (name TEXT NOT NULL UNIQUE, enabled INTEGER NOT NULL DEFAULT 1);
CREATE TABLE IF NOT EXISTS logs (
    jail TEXT NOT NULL, path TEXT, firstlinemd5 TEXT, lastfilepos INTEGER DEFAULT 0,
    FOREIGN KEY (jail) REFERENCES jails (name) ON DELETE CASCADE,
    UNIQUE (jail, path), UNIQUE (jail, path, firstlinemd5));
CREATE TABLE IF NOT EXISTS bans (
    jail TEXT NOT NULL, ip TEXT, timeofban INTEGER NOT NULL, bantime INTEGER NOT NULL, bancount INTEGER NOT NULL DEFAULT 1,
    data JSON, FOREIGN KEY (jail) REFERENCES jails (name));
CREATE TABLE IF NOT EXISTS bips (
    ip TEXT NOT NULL, jail TEXT NOT NULL, timeofban INTEGER NOT NULL, bantime INTEGER NOT NULL,
    bancount INTEGER NOT NULL DEFAULT 1, data JSON, PRIMARY KEY (ip, jail), FOREIGN KEY (jail) REFERENCES jails (name));
CREATE INDEX IF NOT EXISTS bans_jail_timeofban_ip ON bans (jail, timeofban);
CREATE INDEX IF NOT EXISTS bans_jail_ip ON bans (jail, ip);
CREATE INDEX IF NOT EXISTS bans_ip ON bans (ip);
CREATE INDEX IF NOT EXISTS bips_timeofban ON bips (timeofban);
CREATE INDEX IF NOT EXISTS bips_ip ON bips (ip);
"""


_COLUMNS = "(jail, ip, timeofban, bantime, bancount, data) SELECT ?1, ?2, ?3, ?4, ?5, ?6"


class DatabaseView:
    """The database file. No method raises: errors are logged once and the write is retried."""

    def __init__(self, path: Path, *, purge_age: float, clock: Clock) -> None:
        self.path = path
        self.purge_age = purge_age
        """How long an ended ban is kept, in seconds."""
        self.max_matches = 10
        """Log lines kept with a ban."""
        self._clock = clock
        self._db: sqlite3.Connection | None = None
        self._problem = ""
        self._pending: list[tuple[str, Sequence[Any]]] = []
        self._purged = 0.0
        self._hashes: dict[tuple[str, str], str] = {}

    def jails(self, names: Iterable[str]) -> None:
        """Mark exactly these jails as running."""
        self._later("UPDATE jails SET enabled = 0", ())
        for name in names:
            self._later(
                "INSERT INTO jails (name, enabled) VALUES (?, 1) ON CONFLICT (name) DO UPDATE SET enabled = 1", (name,)
            )

    def ban(self, ban: Ban, lines: Sequence[str]) -> None:
        """Record a ban that the kernel has; `lines` are the log lines that led to it."""
        matches = list(lines[-self.max_matches :]) if self.max_matches else []
        row = _row(ban, matches)
        self._later(f"INSERT INTO bans {_COLUMNS}", row)
        self._later(f"INSERT OR REPLACE INTO bips {_COLUMNS}", row)

    def keep(self, ban: Ban) -> None:
        """Make sure that a live ban of an earlier run is recorded; its lines are kept if it already is."""
        missing = "WHERE NOT EXISTS (SELECT 1 FROM {} WHERE jail = ?1 AND ip = ?2 AND timeofban = ?3)"
        for table in ("bans", "bips"):
            self._later(f"INSERT OR REPLACE INTO {table} {_COLUMNS} {missing.format(table)}", _row(ban, []))

    def forget(self, jail: str, address: str) -> None:
        """Delete a ban, history included: what Fail2ban does on a manual unban."""
        for table in ("bips", "bans"):
            self._later(f"DELETE FROM {table} WHERE jail = ? AND ip = ?", (jail, address))  # noqa: S608 - two constant names

    def position(self, jail: str, position: Position) -> None:
        """Record how far a jail has read in a log."""
        self._later(
            "INSERT OR REPLACE INTO logs (jail, path, firstlinemd5, lastfilepos) VALUES (?, ?, ?, ?)",
            (jail, position.path, self._first_line(position), position.offset),
        )

    def write(self) -> None:
        """Write all queued changes in one transaction; keep them queued if that fails."""
        if not self._pending:
            return
        now = self._clock()
        if now > self._purged + 3600:
            self._purged = now
            self._purge(now)
        try:
            if self._db is None:
                self._db = _open(self.path)
            with self._db:
                self._db.execute("BEGIN IMMEDIATE")
                for statement, values in self._pending:
                    self._db.execute(statement, values)
        except (sqlite3.Error, OSError) as error:
            self._failed(error)
            return
        self._pending.clear()
        self._problem = ""

    def close(self) -> None:
        """Mark that no jail runs, write the rest and close the file."""
        self.jails(())
        self.write()
        if self._db is not None:
            self._db.close()
            self._db = None

    def _later(self, statement: str, values: Sequence[Any]) -> None:
        self._pending.append((statement, values))
        del self._pending[:-100_000]  # after a long disk failure the oldest changes are lost

    def _purge(self, now: float) -> None:
        """Delete ended bans that began longer ago than the purge age: Fail2ban's rule."""
        for table in ("bans", "bips"):
            self._later(
                f"DELETE FROM {table} WHERE bantime >= 0 AND timeofban < ? AND timeofban + bantime < ?",  # noqa: S608 - as above
                (now - self.purge_age, now),
            )
        self._later(
            "DELETE FROM jails WHERE enabled = 0 AND NOT EXISTS (SELECT 1 FROM bans WHERE bans.jail = jails.name)"
            " AND NOT EXISTS (SELECT 1 FROM bips WHERE bips.jail = jails.name)",
            (),
        )

    def _first_line(self, position: Position) -> str:
        """SHA-1 of the log's first line, by which Fail2ban recognises a log (despite the column's name). Read once per file."""
        key = (position.path, position.head)
        if key not in self._hashes:
            self._hashes = {known: value for known, value in self._hashes.items() if known[0] != position.path}
            try:
                with open_regular(position.path) as file:
                    line = file.readline(_LONGEST_LINE)
            except OSError:
                return ""
            from hashlib import sha1  # noqa: PLC0415 - loads OpenSSL, 4 MB

            self._hashes[key] = sha1(line, usedforsecurity=False).hexdigest()
        return self._hashes[key]

    def _failed(self, error: Exception) -> None:
        if self._problem != str(error):
            log.error("%s: %s; programs that read it see an old state until this is fixed", self.path, error)
        self._problem = str(error)
        if self._db is not None and not isinstance(error, sqlite3.OperationalError):
            self._db.close()
            self._db = None


def _row(ban: Ban, matches: Sequence[str]) -> tuple[Any, ...]:
    data = json.dumps({"matches": matches, "failures": ban.attempts}, ensure_ascii=False)
    return (ban.jail, ban.address, round(ban.since), whole_seconds(ban), ban.count, data)


def _open(path: Path) -> sqlite3.Connection:
    """Open the file. A damaged file, or one with another version of the tables, is moved aside."""
    path.parent.mkdir(parents=True, exist_ok=True, mode=0o755)
    try:
        return _connect(path)
    except sqlite3.OperationalError:
        raise
    except sqlite3.DatabaseError as error:
        log.error("%s: %s; moved aside to %s and recreated", path, error, set_aside(path))
        return _connect(path)


def _connect(path: Path) -> sqlite3.Connection:
    db = sqlite3.connect(path, timeout=_BUSY, isolation_level=None)
    with contextlib.ExitStack() as undo:
        undo.callback(db.close)
        # No fsync: the file can be recreated after a power cut. No WAL: readers may lack the right to write beside the file.
        db.execute("PRAGMA synchronous = OFF")
        db.executescript(_SCHEMA)
        row = db.execute("SELECT version FROM fail2banDb LIMIT 1").fetchone()
        if row is None:
            db.execute("INSERT INTO fail2banDb (version) VALUES (?)", (VERSION,))
            path.chmod(0o600)
        elif row[0] != VERSION:
            raise sqlite3.DatabaseError(f"has version {row[0]} of Fail2ban's tables, not {VERSION}")
        undo.pop_all()
    return db
