"""Converts log positions between Fail2ban's form (hash of the first line, byte offset) and ours (`Position`)."""

from __future__ import annotations

import os
from collections.abc import Iterable
from hashlib import md5, sha1
from pathlib import Path

from sipguard.adopt.fail2ban_file import LogRow
from sipguard.files import open_regular
from sipguard.model import Position
from sipguard.sources.lines import LineReader
from sipguard.sources.rotated import is_rotated, locate

_LONGEST_LINE = 1 << 20
_MD5_DIGITS = 32


def positions_of(rows: Iterable[LogRow]) -> dict[str, Position]:
    """Path → position to continue at. If several jails read one log, the earliest position counts."""
    found: dict[str, Position] = {}
    for row in rows:
        position = _position(row)
        if position is not None and (row.path not in found or position.offset < found[row.path].offset):
            found[row.path] = position
    return found


def rows_of(positions: Iterable[Position], jails: Iterable[tuple[str, str]]) -> list[LogRow]:
    """Convert back to rows. `jails` has (jail, path) for each log that a jail reads."""
    known = {position.path: position for position in positions}
    rows = []
    for jail, path in jails:
        position = known.get(path)
        place = locate(position) if position else None
        if position and place and (digest := first_line_hash(Path(place.path))):
            rows.append(LogRow(jail, path, digest, position.offset))
    return rows


def first_line_hash(path: Path, like: str = "") -> str | None:
    """Hash of the first line including its newline, of the same kind as `like`; None without a file or a complete line.

    The column is called `firstlinemd5`, but under Python 3 Fail2ban writes SHA-1, because its MD5 code fails on a str.
    """
    try:
        with open_regular(path) as file:
            line = file.readline(_LONGEST_LINE)
    except OSError:
        return None
    kind = md5 if len(like) == _MD5_DIGITS else sha1
    return kind(line, usedforsecurity=False).hexdigest() if line.endswith(b"\n") else None


def _position(row: LogRow) -> Position | None:
    """Position in the file with this first line: the log, or a rotated copy. None if it no longer exists."""
    log = Path(row.path)
    try:
        beside = [one for one in log.parent.iterdir() if is_rotated(one.name, log.name)]
    except OSError:
        return None
    for path in (log, *sorted(beside)):
        if path.is_file() and row.first_line and first_line_hash(path, row.first_line) == row.first_line:
            if path.stat().st_size < row.offset:
                continue
            reader = LineReader(
                os.open(path, os.O_RDONLY | os.O_NONBLOCK | os.O_CLOEXEC), offset=row.offset, max_line=_LONGEST_LINE
            )
            try:
                return reader.position(row.path)
            finally:
                reader.close()
    return None
