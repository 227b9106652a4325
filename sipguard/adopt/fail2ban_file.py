"""Reads Fail2ban's database at a takeover, and writes it when going back.

Table version 4 (Fail2ban 0.11 to 1.1): `bips` has the live bans, `bans` all bans, `logs` the positions.
"""

from __future__ import annotations

import contextlib
import json
import math
import sqlite3
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from sipguard.addresses import canonical
from sipguard.errors import StateError
from sipguard.model import FOREVER, Ban

_PATIENCE = 5.0
"""Seconds to wait while Fail2ban writes."""


@dataclass(frozen=True, slots=True)
class LogRow:
    """How far Fail2ban has read one log for one jail."""

    jail: str
    path: str
    first_line: str
    """Hash of the file's first line; empty if there was none."""
    offset: int


@dataclass(slots=True)
class Kept:
    """Content of the database for the jails taken over."""

    bans: list[Ban] = field(default_factory=list)
    """Live bans."""
    history: list[Ban] = field(default_factory=list)
    """Ended bans, oldest first."""
    logs: list[LogRow] = field(default_factory=list)
    left: list[str] = field(default_factory=list)
    """One line for each ban that is not taken over."""


def read_file(path: Path, jails: Mapping[str, float], now: float) -> Kept:
    """Read the database. `jails` maps each running jail to its bantime in seconds. Raises `StateError`."""
    kept = Kept()
    with _opened(path, "ro") as db:
        live = db.execute("SELECT jail, ip, timeofban, bantime, bancount FROM bips ORDER BY timeofban").fetchall()
        all_bans = db.execute("SELECT jail, ip, timeofban, bantime, bancount FROM bans ORDER BY timeofban").fetchall()
        logs = db.execute("SELECT jail, path, firstlinemd5, lastfilepos FROM logs").fetchall()
    standing = set()
    for row in live:
        ban = _ban(row, jails)
        if ban is None and (row[3] < 0 or row[2] + row[3] > now):
            why = "not an address" if row[0] in jails else "the jail does not run"
            kept.left.append(f"{row[1]} in jail {row[0]}: {why}")
        elif ban is not None and ban.until > now:
            kept.bans.append(ban)
            standing.add((ban.jail, ban.address, ban.since))
    earlier = (ban for row in all_bans if (ban := _ban(row, jails)) is not None)
    kept.history = [ban for ban in earlier if (ban.jail, ban.address, ban.since) not in standing and ban.until <= now]
    kept.logs = [
        LogRow(str(row[0]), str(row[1]), row[2] or "", int(row[3] or 0)) for row in logs if row[0] in jails and row[1]
    ]
    return kept


def write_file(path: Path, bans: Iterable[Ban], logs: Sequence[LogRow]) -> None:
    """Write the live bans and positions while Fail2ban is stopped. Raises `StateError`."""
    with _opened(path, "rw") as db:
        db.execute("BEGIN IMMEDIATE")
        db.execute("DELETE FROM bips")
        for ban in bans:
            length = -1 if math.isinf(ban.until) else max(1, math.ceil(ban.until - math.floor(ban.since)))
            data = json.dumps({"matches": [], "failures": ban.attempts})
            row = (ban.jail, ban.address, int(ban.since), length, ban.count, data)
            db.execute("INSERT OR IGNORE INTO jails (name, enabled) VALUES (?, 1)", (ban.jail,))
            columns = "(jail, ip, timeofban, bantime, bancount, data) VALUES (?, ?, ?, ?, ?, ?)"
            known = "SELECT 1 FROM bans WHERE jail = ? AND ip = ? AND timeofban = ?"
            if db.execute(known, row[:3]).fetchone() is None:
                db.execute(f"INSERT INTO bans {columns}", row)
            db.execute(f"INSERT OR REPLACE INTO bips {columns}", row)
        for log in logs:
            db.execute("INSERT OR IGNORE INTO jails (name, enabled) VALUES (?, 1)", (log.jail,))
            db.execute(
                "INSERT OR REPLACE INTO logs (jail, path, firstlinemd5, lastfilepos) VALUES (?, ?, ?, ?)",
                (log.jail, log.path, log.first_line, log.offset),
            )
        db.execute("COMMIT")


@contextlib.contextmanager
def _opened(path: Path, mode: str) -> Iterator[sqlite3.Connection]:
    try:
        with contextlib.closing(
            sqlite3.connect(
                f"{path.absolute().as_uri()}?mode={mode}", uri=True, timeout=_PATIENCE, isolation_level=None
            )
        ) as db:
            yield db
    except sqlite3.Error as error:
        raise StateError(f"{path}: {error}; check that this is Fail2ban's database and that you may read it") from error


def _ban(row: Sequence[object], jails: Mapping[str, float]) -> Ban | None:
    """Convert one row; None if its jail does not run or its address is invalid."""
    jail, ip, since, length, count = str(row[0]), str(row[1]), float(str(row[2])), float(str(row[3])), int(str(row[4]))
    if jail not in jails:
        return None
    try:
        address = canonical(ip)
    except ValueError:
        return None
    if length < -1:  # unknown: a row left by an old Fail2ban
        length = jails[jail]
    until = FOREVER if length == -1 or math.isinf(length) else since + length
    return Ban(address, jail, since, until, attempts=1, count=max(count, 1), reason="taken over from Fail2ban")
