"""Writes the state down, a moment after it changed, and keeps trying when that fails.

Protection never waits for the disk: when it is full or locked, what has changed stays in memory and is written later.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable
from pathlib import Path

from sipguard.errors import StateBusyError, StateError
from sipguard.state.changes import Changes
from sipguard.state.database import Database

log = logging.getLogger("fail2ban.database")

DELAY = 0.05
"""Seconds between a change and its writing: a crash loses none of it, since the log is read again from the stored position."""
RETRY = 2.0
"""Seconds between tries when writing fails."""
MOST_ATTEMPTS = 100_000
"""Attempts kept in memory while the disk refuses: the oldest go first."""


class Store:
    """The database, or the wait for it. Raises `StateBusyError` when another daemon has it."""

    def __init__(self, directory: Path) -> None:
        self.directory = directory
        self.changes = Changes()
        self.problem: str | None = None
        self.database: Database | None = None
        self.saved: Callable[[Changes], None] = lambda _changes: None
        """Called with what has just been written."""
        self._wake = asyncio.Event()
        self._open()

    def _open(self) -> None:
        try:
            self.database = Database(self.directory)
        except StateBusyError:
            raise
        except StateError as error:
            self._failed(error)

    def touched(self) -> None:
        """Something was put into `changes`."""
        self._wake.set()

    async def run(self) -> None:
        """Write changes until cancelled."""
        while True:
            await self._wake.wait()
            await asyncio.sleep(DELAY)
            self._wake.clear()
            if not self.save():
                await asyncio.sleep(RETRY)
                self._wake.set()

    def save(self) -> bool:
        """Write all that has changed; False if that failed, then it stays to be written."""
        if self.database is None:
            self._open()
        if self.database is None:
            return False
        if not self.changes:
            return True
        try:
            self.database.save(self.changes)
        except StateError as error:
            self._failed(error)
            del self.changes.attempts[:-MOST_ATTEMPTS]
            return False
        written, self.changes = self.changes, Changes()
        self.saved(written)
        if self.problem:
            log.info("State: written again")
            self.problem = None
        return True

    def purge(self, before: float) -> None:
        """Forget what is older than `before`; when that fails now it will be done another time."""
        if self.database is not None:
            try:
                self.database.purge(before)
            except StateError as error:
                self._failed(error)

    def _failed(self, error: StateError) -> None:
        if self.problem != str(error):
            log.error("State: %s; bans go on, and are written as soon as that works", error)
        self.problem = str(error)

    def close(self) -> None:
        """Write what is left, and let go."""
        self.save()
        if self.database is not None:
            self.database.close()
            self.database = None
