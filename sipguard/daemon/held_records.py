"""Records at the end of a log that may go on: who waits for them, and for how long.

A server writes a record with one write, so that one at the end of a log is whole when the log still ends there a moment later.
Until then the log's stored position is the beginning of that record: who starts again reads it again. Of jails that hold less
back than others it is stored how much further they are, in positions of their own: they do not count that again.
"""

from __future__ import annotations

from contextlib import suppress
from dataclasses import replace
from math import inf
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

from sipguard.daemon.log_sources import reads
from sipguard.detection.record_rule import DOUBT_SETTLES, FOLDED_SETTLES, RECORD_SETTLES
from sipguard.model import Chunk, Position
from sipguard.sources.rotated import locate

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping

    from sipguard.daemon.jail_runner import JailRunner
    from sipguard.daemon.state_writer import StateWriter

_LATE = 1e-6
"""Seconds, so that a difference of times is not a little too small."""


class _Held(NamedTuple):
    since: float
    """When the log had something new for the last time, by the loop's clock."""
    position: Position
    """Behind the record."""
    sizes: Mapping[JailRunner, int | None]
    """How many bytes of it each jail holds back; None for nothing, 0 where that is not known."""


class HeldRecords:
    """The logs whose last record is held back."""

    def __init__(self, store: StateWriter) -> None:
        self._store = store
        self.logs: dict[str, _Held] = {}
        """By path."""
        self.ahead: dict[tuple[str, str], Position] = {}
        """Jail and log → up to where it has read before what is read now."""

    def begin(self) -> None:
        """The logs are read on from their stored positions."""
        positions = self._store.positions()
        self.ahead = {}
        for key, own in positions.items():
            jail, _, path = key.partition("\n")
            log = positions.get(path)
            if log is not None and _reached(positions, jail, path) > log.offset:
                with suppress(OSError):  # a file that is gone is not read on: another may be read from its beginning
                    if (place := locate(log)) is not None and place.offset == log.offset:
                        device, inode = place.identity
                        self.ahead[jail, path] = replace(own, device=device, inode=inode)

    def know(self, positions: Mapping[str, Position], runners: Iterable[JailRunner]) -> None:
        """These jails have begun to read their logs again: they leave out what earlier runs have read, up to `positions`.

        Their places are stored with the next changes, as what those runs have counted is stored already.
        """
        runners, mine = list(runners), self._store.changes.positions
        for path, there in positions.items():
            here = _in_log(there)
            if here is None:
                continue
            for runner in [one for one in runners if reads(one.jail, path)]:
                known = _reached(positions, runner.jail.name, path)
                if known > _reached(mine, runner.jail.name, path):
                    key = f"{runner.jail.name}\n{path}"
                    runner.detectors.drop(path)  # what it holds back, an earlier run has counted
                    self.ahead[runner.jail.name, path] = mine[key] = replace(here, path=key, offset=known)

    def unread(self, jail: str, chunk: Chunk) -> Chunk | None:
        """What a jail has not read yet of a chunk: all, unless it was `ahead` in that log; None if it was further than that."""
        known = self.ahead.get((jail, chunk.path))
        if known is None:
            return chunk
        is_other = (known.device, known.inode) != (chunk.position.device, chunk.position.inode)
        left = len(chunk.data) if is_other else chunk.position.offset - known.offset
        if left < 0:
            return None
        del self.ahead[jail, chunk.path]
        size = max(0, len(chunk.data) - left)
        return replace(chunk, data=chunk.data[size:], before=chunk.before + chunk.data[:size])

    def position(self, chunk: Chunk, held: Mapping[JailRunner, int | None], now: float) -> Position:
        """Where to read on after a restart of a log that was read up to here, if each jail holds back so much of it.

        `now` is by the loop's clock.
        """
        path, position = chunk.path, chunk.position
        if set(held.values()) <= {None}:
            self.logs.pop(path, None)
            if not self.ahead:
                return position
        else:
            self.logs[path] = _Held(self.logs[path].since if chunk.idle else now, position, held)
        if not position.inode:
            return position  # of the journal
        begin = max(0, position.offset - max(filter(None, held.values()), default=0))
        for runner, size in held.items():
            ahead = self.ahead.get((runner.jail.name, path))
            if (own := max(position.offset - (size or 0), ahead.offset if ahead is not None else 0)) > begin:
                key = f"{runner.jail.name}\n{path}"
                self._store.changes.positions[key] = replace(position, path=key, offset=own)
        return replace(position, offset=begin)

    def whole(self, now: float) -> Iterator[Chunk]:
        """Chunks without lines, of logs that have stood still: what is whole by now is to be told."""
        for path, held in list(self.logs.items()):
            idle, unread = now - held.since, _unread(held.position)
            # What stands behind it is read first: it may be the rest of the record.
            if unread == 0 or idle >= (FOLDED_SETTLES if unread is None else DOUBT_SETTLES):
                yield Chunk(path, b"", held.position, idle=idle)

    def wait(self, now: float) -> float:
        """Seconds until more can be whole of what is left."""
        return min(_until_next(now - held.since) for held in self.logs.values())

    def left(self) -> Iterator[Chunk]:
        """As `whole`, when nothing is read any more: what is held is told as it is.

        A record behind which the file goes on is left to whoever reads on, and reads it whole.
        """
        for path, held in list(self.logs.items()):
            if 0 in held.sizes.values() or not _unread(held.position):
                yield Chunk(path, b"", held.position, idle=inf)
                continue
            for runner, size in held.sizes.items():
                if size is not None:
                    runner.detectors.drop(path)
        self.logs.clear()


def _reached(positions: Mapping[str, Position], jail: str, path: str) -> int:
    """Up to where a jail has read a log; -1 for not at all."""
    log, own = positions.get(path), positions.get(f"{jail}\n{path}")
    if log is None:
        return -1
    is_ahead = own is not None and replace(own, path=path, offset=log.offset) == log
    return max(log.offset, own.offset) if own is not None and is_ahead else log.offset


def _in_log(position: Position) -> Position | None:
    """As it is in the file that has the log's name now; None where that is another file, of the journal, or behind its end."""
    try:
        place, status = locate(position) if position.inode else None, Path(position.path).stat()
    except (OSError, ValueError):
        return None
    if place is None or place.offset != position.offset or place.identity != (status.st_dev, status.st_ino):
        return None
    return replace(position, device=status.st_dev, inode=status.st_ino)


def _until_next(idle: float) -> float:
    """Seconds until more can be whole of a log that has had nothing new for `idle` seconds."""
    step = next((step for step in (RECORD_SETTLES, FOLDED_SETTLES, DOUBT_SETTLES) if idle < step), idle + DOUBT_SETTLES)
    return step - idle + _LATE


def _unread(position: Position) -> int | None:
    """Bytes of a file behind this; None of the journal, and of a file that is gone or was cut: there only time tells."""
    try:
        status = Path(position.path).stat()
    except (OSError, ValueError):
        return None
    if (status.st_dev, status.st_ino) != (position.device, position.inode) or status.st_size < position.offset:
        return None
    return status.st_size - position.offset
