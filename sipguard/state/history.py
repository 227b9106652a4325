"""Bans of the past and the users behind bans, read beside the daemon's own connection.

A question here may go through every row, which takes a second with hundreds of thousands: it is asked in a thread, on a
connection of its own that only reads. Nothing is kept in memory but the answer.
"""

from __future__ import annotations

import contextlib
import sqlite3
from collections.abc import Collection, Iterator
from pathlib import Path
from typing import NamedTuple

from sipguard.errors import StateError
from sipguard.model import Ban

_PATIENCE = 2.0
"""Seconds to wait for a lock: a reader of WAL hardly ever waits."""
MOST_USERS = 1000
"""Most users that are reported for one ban: an attacker may try a million."""


class PastBan(NamedTuple):
    """A ban that is over."""

    ban: Ban
    ended: float
    """When it ended, in POSIX seconds: by itself, or by an unban."""


@contextlib.contextmanager
def reading(path: Path) -> Iterator[History]:
    """The history in this database. Raises `StateError`."""
    try:
        with contextlib.closing(sqlite3.connect(f"{path.as_uri()}?mode=ro", uri=True, timeout=_PATIENCE)) as db:
            yield History(db)
    except sqlite3.Error as error:
        raise StateError(f"{path}: {error}") from error


class History:
    """Questions to one database; any may raise `sqlite3.Error`."""

    def __init__(self, db: sqlite3.Connection) -> None:
        self._db = db

    def ended(self, since: float) -> Iterator[PastBan]:
        """The bans that were live at some time from `since` on and are over now, in no order."""
        rows = self._db.execute(
            "SELECT address, jail, since, until, attempts, count, reason, evidence, ended FROM history WHERE ended >= ?",
            (since,),
        )
        for address, jail, begun, until, attempts, count, reason, evidence, ended in rows:
            yield PastBan(Ban(address, jail, begun, until, attempts, count or 1, reason, evidence), ended)

    def bans_of_user(self, user: str) -> set[tuple[str, str]]:
        """(jail, address) of every ban with attempts that named this user."""
        return set(self._db.execute("SELECT DISTINCT jail, address FROM attempts WHERE user = ?", (user,)))

    def users(self, bans: Collection[Ban]) -> dict[Ban, dict[str, int]]:
        """Ban → user → attempts that led to it, most first; up to `MOST_USERS` of each ban."""
        question = (
            "SELECT user, sum(attempts) AS number FROM attempts WHERE address = ? AND jail = ? AND ban = ?"
            " AND user IS NOT NULL GROUP BY user ORDER BY number DESC, user LIMIT ?"
        )
        return {
            ban: dict(self._db.execute(question, (ban.address, ban.jail, ban.since, MOST_USERS)).fetchall())
            for ban in bans
        }
