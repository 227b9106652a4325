"""Records at the end of a log that may go on: who waits for them, and for how long.

A server writes a record with one write, so that one at the end of a log is whole when the log still ends there a moment later.
Until then the log's stored position is the beginning of that record: who starts again reads it again. Of jails that hold less
back than others it is stored how much further they are, in positions of their own: they do not count that again.
"""

from __future__ import annotations

from contextlib import suppress
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

from sipguard.daemon.log_detectors import Told
from sipguard.detection.record_rule import DOUBT_SETTLES, FOLDED_SETTLES, RECORD_SETTLES
from sipguard.sources.rotated import locate

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable

    from sipguard.daemon.jail_runner import JailRunner
    from sipguard.daemon.state_writer import StateWriter
    from sipguard.model import Chunk, Position


_AT_ONCE = 50
"""Logs between two looks of the loop at everything else."""
_LATE = 1e-6
"""Seconds, so that a difference of times is not a little too small."""


class _Held(NamedTuple):
    since: float
    """When the log had something new for the last time, by the loop's clock."""
    position: Position
    """Behind the record."""


class HeldRecords:
    """The logs whose last record is held back."""

    def __init__(self, store: StateWriter, readers: Callable[[str], Iterable[JailRunner]]) -> None:
        self._store = store
        self._readers = readers
        self.logs: dict[str, _Held] = {}
        """By path."""
        self._ahead: dict[tuple[str, str], int] = {}
        """Jail and log → up to where it has read before what is read now."""

    def begin(self) -> None:
        """The logs are read on from their stored positions."""
        positions = self._store.positions()
        self._ahead = {}
        for key, own in positions.items():
            jail, _, path = key.partition("\n")
            log = positions.get(path)
            if log is not None and own.offset > log.offset and replace(own, path=path, offset=log.offset) == log:
                with suppress(OSError):  # a file that is gone is not read on: another may be read from its beginning
                    if (place := locate(log)) is not None and place.offset == log.offset:
                        self._ahead[jail, path] = own.offset

    def unread(self, jail: str, chunk: Chunk) -> Chunk:
        """What a jail has not read yet of a chunk."""
        known = self._ahead.get((jail, chunk.path))
        if known is None:
            return chunk
        left = chunk.position.offset - known
        if left >= 0:
            del self._ahead[jail, chunk.path]
        known = max(0, len(chunk.data) - max(0, left))
        return replace(chunk, data=chunk.data[known:], before=chunk.before + chunk.data[:known])

    def position(self, position: Position, since: float) -> Position:
        """Where a log that was read up to here, and has had nothing new `since`, is to be read on after a restart."""
        path, sizes, holds = position.path, dict[str, int](), False
        for runner in self._readers(path):
            held = runner.detectors.held(path)
            sizes[runner.jail.name], holds = held or 0, holds or held is not None
        if not holds:
            self.logs.pop(path, None)
            return position
        self.logs[path] = _Held(since, position)
        begin = max(0, position.offset - max(sizes.values()))
        for jail, size in sizes.items() if position.inode else ():  # the journal has none
            if (own := position.offset - size) > begin:
                key = f"{jail}\n{path}"
                self._store.changes.positions[key] = replace(position, path=key, offset=own)
        return replace(position, offset=begin) if position.inode else position

    def release(self, now: float) -> float | None:
        """Read what is whole by now; seconds until to ask again, None when nothing is left."""
        read = 0
        for path, held in list(self.logs.items()):
            idle, unread = now - held.since, _unread(held.position)
            if unread != 0 and idle < (FOLDED_SETTLES if unread is None else DOUBT_SETTLES):
                continue  # what stands behind it is read first: it may be the rest of the record
            if read == _AT_ONCE:
                return 0.0
            self._read(path, held, idle)
            read += 1
        if not self.logs:
            return None
        return min(_until_next(now - held.since) for held in self.logs.values())

    def release_all(self) -> None:
        """Nothing is read any more: what is held is read as it is.

        A record behind which the file goes on is left to whoever reads on, and reads it whole.
        """
        for path, held in list(self.logs.items()):
            kept = {one: size for one in self._readers(path) if (size := one.detectors.held(path)) is not None}
            if _unread(held.position) and all(kept.values()):
                for runner in kept:
                    runner.detectors.drop(path)
            else:
                self._read(path, held, float("inf"))
        self.logs.clear()

    def _read(self, path: str, held: _Held, idle: float) -> None:
        told: Told = {}
        for runner in self._readers(path):
            runner.release(path, idle, self._store.changes, told)
        self._store.changes.positions[path] = self.position(held.position, held.since)
        self._store.touched()


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
