"""The local copy of every feed, in one SQLite file in the state directory.

Each page is stored with its next ID in one transaction, so a killed daemon resumes at the right page. Entries are `accepted`
once they are in the firewall; after a flush they are restored without a request. Request times are stored too, so that a
server's rate limit holds across restarts.

Use a store from one thread only.
"""

from __future__ import annotations

import contextlib
import logging
import sqlite3
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, fields
from pathlib import Path
from typing import Any, NamedTuple

from sipguard.errors import StateError
from sipguard.feeds.sieve import around
from sipguard.files import set_aside

log = logging.getLogger("sipguard.feeds")

SCHEMA_VERSION = 1
_SCHEMA = """
CREATE TABLE IF NOT EXISTS entries (
    feed TEXT, network TEXT, until REAL, accepted INTEGER, PRIMARY KEY (feed, network)) WITHOUT ROWID;
CREATE INDEX IF NOT EXISTS entries_by_network ON entries (network);
CREATE TABLE IF NOT EXISTS requests (feed TEXT, time REAL);
CREATE TABLE IF NOT EXISTS registrations (address TEXT PRIMARY KEY, time REAL) WITHOUT ROWID;
CREATE TABLE IF NOT EXISTS feeds (
    name TEXT PRIMARY KEY, source TEXT, next_id TEXT, etag TEXT, modified TEXT, fetched REAL, next_at REAL, failures INTEGER,
    problem TEXT, held TEXT, entries INTEGER, addresses INTEGER, refused INTEGER) WITHOUT ROWID;
"""


@dataclass(slots=True)
class FeedState:
    """State of one feed, without its entries. Times are POSIX seconds, 0 for never."""

    name: str
    source: str = ""
    """Where it was fetched from. State of another source is discarded."""
    next_id: str = ""
    """APIBAN: the ID of the next request."""
    etag: str = ""
    modified: str = ""
    """Validators (RFC 9110, 8.8) as received from the server."""
    fetched: float = 0.0
    """When it last arrived completely."""
    next_at: float = 0.0
    failures: int = 0
    """Number of failed fetches in a row."""
    problem: str = ""
    held: str = ""
    """Why the new list is held; empty if it is not."""
    entries: int = 0
    addresses: int = 0
    """Size when last applied completely, the base for `max_growth`. 0: never applied."""
    refused: int = 0


class Holding(NamedTuple):
    """An entry that covers a given address."""

    feed: str
    network: str
    until: float
    accepted: bool


class FeedStore:
    """The local copy on disk. Every method raises `StateError` if the file cannot be used."""

    def __init__(self, directory: Path) -> None:
        self.path = directory / "feeds.db"
        self._connection: sqlite3.Connection | None = None

    def close(self) -> None:
        if self._connection:
            self._connection.close()
            self._connection = None

    def state(self, name: str) -> FeedState:
        """State of a feed; an empty state if the feed is new."""
        names = ", ".join(field.name for field in fields(FeedState))
        with self._db() as db:
            row = db.execute(f"SELECT {names} FROM feeds WHERE name = ?", (name,)).fetchone()  # noqa: S608 - our own names
        return FeedState(*row) if row else FeedState(name)

    def save_state(self, state: FeedState) -> None:
        with self._db() as db:
            _write_state(db, state)

    def forget_others(self, names: Iterable[str]) -> None:
        """Remove every other feed."""
        known = set(names)
        with self._db() as db:
            gone = [row for row in db.execute("SELECT name FROM feeds").fetchall() if row[0] not in known]
            for table, column in (("entries", "feed"), ("requests", "feed"), ("feeds", "name")):
                db.executemany(f"DELETE FROM {table} WHERE {column} = ?", gone)  # noqa: S608 - our own names

    def add_page(self, state: FeedState, networks: Iterable[str], until: float) -> None:
        """Store one page with the new state. An entry listed again gets the later expiry. New entries are not yet accepted."""
        with self._db() as db:
            db.executemany(
                "INSERT INTO entries VALUES (?, ?, ?, 0) ON CONFLICT DO UPDATE SET until = max(until, excluded.until)",
                ((state.name, network, until) for network in networks),
            )
            _write_state(db, state)

    def replace(self, state: FeedState, networks: Iterable[str], until: float) -> None:
        """Replace all entries of a feed with a whole list, marked as accepted."""
        with self._db() as db:
            db.execute("DELETE FROM entries WHERE feed = ?", (state.name,))
            rows = ((state.name, network, until) for network in networks)
            db.executemany("INSERT INTO entries VALUES (?, ?, ?, 1)", rows)
            _write_state(db, state)

    def renew(self, state: FeedState, until: float) -> None:
        """Extend the expiry of all entries of a list that has not changed."""
        with self._db() as db:
            db.execute("UPDATE entries SET until = ? WHERE feed = ?", (until, state.name))
            _write_state(db, state)

    def accept(self, state: FeedState) -> None:
        """Mark all entries as accepted: they are in the firewall."""
        with self._db() as db:
            db.execute("UPDATE entries SET accepted = 1 WHERE feed = ? AND accepted = 0", (state.name,))
            _write_state(db, state)

    def entries(self, name: str, now: float, *, accepted: bool = False) -> list[tuple[str, float]]:
        """Network and expiry of each entry that is live at `now`; with `accepted`, only the accepted ones."""
        with self._db() as db:
            rows = db.execute(
                "SELECT network, until FROM entries WHERE feed = ? AND until > ? AND accepted >= ?",
                (name, now, accepted),
            )
            return rows.fetchall()

    def count(self, name: str, now: float) -> int:
        """Number of entries that are live at `now`."""
        with self._db() as db:
            row = db.execute("SELECT count(*) FROM entries WHERE feed = ? AND until > ?", (name, now)).fetchone()
        return int(row[0])

    def expire(self, name: str, now: float) -> int:
        """Remove expired entries and return their number."""
        with self._db() as db:
            return db.execute("DELETE FROM entries WHERE feed = ? AND until <= ?", (name, now)).rowcount

    def holding(self, text: str, now: float) -> list[Holding]:
        """The entries of every feed that cover an address or network."""
        names = list(around(text))
        marks = ", ".join("?" * len(names))
        query = f"SELECT feed, network, until, accepted FROM entries WHERE network IN ({marks}) AND until > ?"  # noqa: S608
        with self._db() as db:
            rows = db.execute(query, (*names, now))
            return [Holding(feed, network, until, bool(accepted)) for feed, network, until, accepted in rows]

    def requests(self, name: str) -> list[float]:
        """Times of a feed's last requests, oldest first."""
        with self._db() as db:
            return [row[0] for row in db.execute("SELECT time FROM requests WHERE feed = ? ORDER BY time", (name,))]

    def save_requests(self, name: str, times: Iterable[float]) -> None:
        with self._db() as db:
            db.execute("DELETE FROM requests WHERE feed = ?", (name,))
            db.executemany("INSERT INTO requests VALUES (?, ?)", ((name, when) for when in times))

    def registered(self, since: float) -> list[str]:
        """Addresses that have registered successfully since then. Older registrations are deleted."""
        with self._db() as db:
            db.execute("DELETE FROM registrations WHERE time < ?", (since,))
            return [row[0] for row in db.execute("SELECT address FROM registrations")]

    def forget_registrations(self, addresses: Iterable[str]) -> None:
        with self._db() as db:
            db.executemany("DELETE FROM registrations WHERE address = ?", ((address,) for address in addresses))

    def save_registrations(self, times: dict[str, float]) -> None:
        with self._db() as db:
            db.executemany("INSERT OR REPLACE INTO registrations VALUES (?, ?)", times.items())

    @contextlib.contextmanager
    def _db(self) -> Iterator[sqlite3.Connection]:
        """One transaction; opens the file if needed."""
        try:
            if self._connection is None:
                self._connection = _open(self.path)
            self._connection.execute("BEGIN")
            try:
                yield self._connection
            except BaseException:
                self._connection.execute("ROLLBACK")
                raise
            self._connection.execute("COMMIT")
        except sqlite3.Error as error:
            raise StateError(f"{self.path}: {error}") from error


def _write_state(db: sqlite3.Connection, state: FeedState) -> None:
    values: list[Any] = [getattr(state, field.name) for field in fields(FeedState)]
    db.execute(f"INSERT OR REPLACE INTO feeds VALUES ({', '.join('?' * len(values))})", values)  # noqa: S608 - marks alone


def _open(path: Path) -> sqlite3.Connection:
    """Open the file. A damaged file is moved aside, since every feed can be fetched again."""
    try:
        path.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
        return _connect(path)
    except OSError as error:
        raise StateError(f"{path}: {error.strerror}") from error
    except sqlite3.OperationalError:
        raise
    except sqlite3.DatabaseError as error:
        log.error("%s: %s; moved aside to %s; fetching all feeds again", path, error, set_aside(path))
        return _connect(path)


def _connect(path: Path) -> sqlite3.Connection:
    db = sqlite3.connect(path, timeout=1.0, isolation_level=None, check_same_thread=False)
    try:
        if db.execute("PRAGMA user_version").fetchone()[0] > SCHEMA_VERSION:
            raise sqlite3.DatabaseError("written by a newer sipguard")
        # As in state/database.py: committed data survives the death of the process at any instruction.
        db.execute("PRAGMA journal_mode = WAL")
        db.execute("PRAGMA synchronous = NORMAL")
        db.executescript(_SCHEMA)
        db.execute(f"PRAGMA user_version = {SCHEMA_VERSION}")
        path.chmod(0o600)
    except BaseException:
        db.close()
        raise
    return db
