"""Follows the logs of all jails. Jails that read the same log share one reader."""

from __future__ import annotations

import logging
import os
import time
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from typing import BinaryIO, Protocol

from sipguard.detection.seek_by_time import CLOSE, offset_since
from sipguard.model import Chunk, Clock, Jail, Position
from sipguard.sources.follower import Follower
from sipguard.sources.journal_query import query_of

log = logging.getLogger("fail2ban.filter")


class Source(Protocol):
    """Follows some logs: files, or a part of the journal."""

    @property
    def logs(self) -> Mapping[str, str | None]:
        """Log → why it cannot be read; None if it can."""

    def start(self) -> None:
        """Begin to follow."""

    busy: bool
    """Whether there are logs of which nobody tells, so that `read` is to ask again soon."""
    pending: bool
    """Whether the last `read` may have left something."""

    def read(self, limit: int) -> Sequence[Chunk]:
        """What has come since."""

    def rescan(self) -> None:
        """Look for what announces itself by nothing."""

    def stop(self) -> None:
        """Follow no more."""


class LogSources:
    """The sources of all jails: files that inotify watches, files of jails with `polling`, and parts of the journal."""

    def __init__(
        self,
        jails: Iterable[Jail],
        positions: Mapping[str, Position],
        *,
        notify: Callable[[], None],
        clock: Clock = time.time,
    ) -> None:
        self._jails = [jail for jail in jails if not jail.idle]
        self._clock = clock
        self._followers: list[Source] = []
        self.busy = False
        """Whether to look again in a moment: there are logs of which nobody tells."""
        self.pending = False
        """Whether the last `read` may have left something that can be read right now."""
        for polling in (False, True):
            patterns = [
                log.pattern
                for jail in self._jails
                if jail.polling is polling and not jail.journal
                for log in jail.logpath
            ]
            if patterns:
                self._followers.append(
                    Follower(
                        dict.fromkeys(patterns),
                        positions=positions,
                        notify=notify,
                        polling=polling,
                        start=self._first_offset,
                    )
                )
        self._followers += _journals(self._jails, positions, notify)
        for follower in self._followers:
            follower.start()

    def read(self, limit: int) -> list[Chunk]:
        """What has come since, at most about `limit` bytes of each kind; nothing when there is nothing."""
        chunks: list[Chunk] = []
        self.busy = self.pending = False
        for follower in self._followers:
            chunks += follower.read(limit)
            self.busy |= follower.busy
            self.pending |= follower.pending
        return chunks

    def rescan(self) -> None:
        """Look for what announces itself by nothing."""
        for follower in self._followers:
            follower.rescan()

    def stop(self) -> None:
        for follower in self._followers:
            follower.stop()

    def problems(self, jail: Jail | None = None) -> dict[str, str | None]:
        """Log → why it cannot be read, None if it can; for one jail or all."""
        return {
            path: problem.removeprefix(f"{path}: ") if problem else None
            for follower in self._followers
            for path, problem in follower.logs.items()
            if jail is None or reads(jail, path)
        }

    def _first_offset(self, path: str, file: BinaryIO) -> int:
        """Where to begin in a log that no earlier run has read: its end if a jail says `tail`, else the earliest findtime."""
        size = file.seek(0, os.SEEK_END)
        if any(log.tail and log.matches(path) for jail in self._jails for log in jail.logpath):
            return size
        if size <= 2 * CLOSE:
            return 0
        offset = min(self._since_findtime(jail, file) for jail in self._jails if reads(jail, path))
        if offset:
            log.info(
                "%s: begins %d MB before its end; what is before that is too old to count", path, (size - offset) >> 20
            )
        return offset

    def _since_findtime(self, jail: Jail, file: BinaryIO) -> int:
        since = self._clock() - jail.findtime
        return offset_since(file, jail.filter, since, clock=self._clock, timezone=jail.timezone, encoding=jail.encoding)


def _journals(jails: Iterable[Jail], positions: Mapping[str, Position], notify: Callable[[], None]) -> Iterator[Source]:
    """One follower for each journal query; jails with the same query share it."""
    wanted: dict[str, list[Jail]] = {}
    for jail in jails:
        if jail.journal:
            wanted.setdefault(query_of(jail).name, []).append(jail)
    if not wanted:
        return
    from sipguard.sources.journal import JournalFollower  # noqa: PLC0415 - most hosts do not need it

    for name, sharing in wanted.items():
        yield JournalFollower(
            query_of(sharing[0]),
            position=positions.get(name),
            notify=notify,
            back=max(jail.findtime for jail in sharing),
            encoding=sharing[0].encoding,
        )


def reads(jail: Jail, path: str) -> bool:
    """Whether a jail reads this log. A pattern that matches no file yet is listed as a log itself."""
    if jail.journal:
        return path == query_of(jail).name
    return any(log.matches(path) for log in jail.logpath)
