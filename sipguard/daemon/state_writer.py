"""Writes the state down, a moment after it changed, and keeps trying when that fails.

Protection never waits for the disk: when it is full or locked, what has changed stays in memory and is written later.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable, Container
from math import inf
from pathlib import Path
from typing import Concatenate, NamedTuple, ParamSpec, TypeVar

from sipguard.errors import StateBusyError, StateError, StateLostError
from sipguard.model import Ban, Clock, Position, Rule
from sipguard.state.changes import Changes, CountedAttempt
from sipguard.state.database import Database
from sipguard.wire_model import Unpaired

log = logging.getLogger("fail2ban.database")

P = ParamSpec("P")
T = TypeVar("T")

DELAY = 0.25
"""Seconds between a change and its writing: a crash loses none of it, since the log is read again from the stored position."""
RETRY = 2.0
"""Seconds between tries when writing fails."""
MOST_ATTEMPTS = 100_000
"""Attempts kept in memory while the disk refuses: the oldest go first."""


class Stored(NamedTuple):
    """What earlier runs have left."""

    bans: list[Ban]
    attempts: list[CountedAttempt]
    rules: dict[str, Rule]
    """Jail → what its bans reject, as it was when its configuration was last good."""
    positions: dict[str, Position]
    """How far each log has been read, as `Database.positions`."""
    fresh: bool
    """Whether it is empty, as a new one is: the kernel may know of bans that it does not."""


class StateWriter:
    """The database, or the wait for it. Raises `StateBusyError` when another daemon has it."""

    def __init__(self, directory: Path, *, clock: Clock) -> None:
        self.directory = directory
        self.clock = clock
        self.changes = Changes()
        self.everything: Callable[[], Changes] = Changes
        """Gives the live state as a whole, for a database that has to be begun anew."""
        self._positions: dict[str, Position] = {}
        """Those that were read or written in this run."""
        self._outdated = False
        """Whether a ban has ended since `read`."""
        self.is_read = False
        """Whether it is known what earlier runs have left; until then nothing of it may be removed anywhere."""
        self.late: Callable[[Stored], None] | None = None
        """Called with that, before anything is written, when it could not be read at the start."""
        self.problem: str | None = None
        self.database: Database | None = None
        self.saved: Callable[[Changes], None] | None = None
        """Called with what has just been written."""
        self._wake = asyncio.Event()
        self.touched = self._wake.set
        """To be called when something was put into `changes`."""
        self._open(start=True)

    def _open(self, *, start: bool = False) -> None:
        """Open the database. Raises `StateBusyError` at the start; later that is one more reason to try again."""
        try:
            self.database = Database(self.directory)
        except StateBusyError as error:
            if start:
                raise
            self._failed(error)
        except StateError as error:
            self._failed(error)

    def read(self, now: float) -> Stored | None:
        """What earlier runs have left, the bans as of `now`; None when that cannot be read: `late` is called once it can."""
        if self.database is None:
            self._open()
        if (database := self.database) is None:
            return None
        try:
            try:
                bans, positions = database.bans(-inf), database.positions()
                for ban in bans:  # those that ended while nobody ran are history
                    if ban.until <= now and (key := (ban.jail, ban.address)) not in self.changes.bans:
                        self.changes.ended.setdefault(key, ban.until)
                        self.touched()
                live = [ban for ban in bans if ban.until > now]
                is_fresh = not (bans or positions or self._positions)
                stored = Stored(live, database.attempts(), database.rules(), positions, is_fresh)
                self._positions = {**positions, **self._positions}
            except StateLostError as error:
                if self.is_read:
                    raise  # a reload: the next `save` begins anew with all that this run knows
                database.begin_anew(str(error))
                stored = Stored([], [], {}, {}, fresh=True)
        except StateError as error:
            self._failed(error)
            return None
        self.is_read, self._outdated = True, False
        return stored

    def bans(self, stored: Stored) -> list[Ban]:
        """Those of `stored`, what was read last, as far as they have not ended since; unless that cannot be read."""
        now = self.ask(Database.bans, self.clock()) if self._outdated else None
        return stored.bans if now is None else now

    def story(self, address: str) -> tuple[list[CountedAttempt], list[Ban]]:
        """As `Database.story`, as far as that can be read."""
        return self.ask(Database.story, address) or ([], [])

    def spoilt(self) -> list[str]:
        """The SIP servers whose nonces are known to be predictable, as far as that can be read."""
        return [*(self.ask(Database.spoilt) or ()), *self.changes.spoilt]

    def waiting(self, kinds: Container[str] = ("line", "wire")) -> list[tuple[str, Unpaired]]:
        """As `Database.waiting`, of these kinds, as far as that can be read."""
        return [(jail, row) for jail, row in self.ask(Database.waiting) or () if row.kind in kinds]

    def logins(self, since: float) -> dict[str, float]:
        """Who has logged in since then, as far as that can be read."""
        return {**(self.ask(Database.logins, since) or {}), **self.changes.logins}

    def flows(self, since: float) -> dict[tuple[str, int], float]:
        """As `Database.flows`, as far as that can be read."""
        return {**(self.ask(Database.flows, since) or {}), **self.changes.flows}

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
        if self.database is None or not (self.is_read or self._has_read()):
            return False
        if self.changes == Changes():
            return True
        try:
            try:
                self.database.save(self.changes)
            except StateLostError as error:
                self._begin_anew(self.database, error)
        except StateError as error:
            self._failed(error)
            del self.changes.attempts[:-MOST_ATTEMPTS]
            return False
        written, self.changes = self.changes, Changes()
        self._positions |= written.positions
        self._outdated |= bool(written.ended)
        if self.saved is not None:
            self.saved(written)
        if self.problem:
            log.info("State: written again")
            self.problem = None
        return True

    def _has_read(self) -> bool:
        """Whether nothing is left to be read before something may be written."""
        if self.late is None:
            return True
        stored = self.read(self.clock())
        if stored is not None:
            self.late(stored)
        return stored is not None

    def _begin_anew(self, database: Database, error: StateLostError) -> None:
        """Put what is left of the database aside, and write into a new one all that this run knows."""
        live, mine = self.everything(), self.changes
        live.positions = {**self._positions, **mine.positions}
        live.bans |= mine.bans
        live.rules |= mine.rules
        live.spoilt, live.logins, live.flows, live.waiting = mine.spoilt, mine.logins, mine.flows, mine.waiting
        for key in mine.ended:
            live.bans.pop(key, None)
        database.begin_anew(str(error))
        database.save(live)

    def positions(self) -> dict[str, Position]:
        """How far each log has been read, whether that is on disk or not."""
        return {**self._positions, **self.changes.positions}

    def ask(self, question: Callable[Concatenate[Database, P], T], *args: P.args, **kwargs: P.kwargs) -> T | None:
        """What the database answers; None when there is none, or it fails: what was to be written will be another time."""
        if self.database is None:
            return None
        try:
            return question(self.database, *args, **kwargs)
        except StateError as error:
            self._failed(error)
            return None

    def shift(self, seconds: float) -> None:
        """The clock was set: attempts that are stored move with it; the bans are changes like any other."""
        self.ask(Database.shift, seconds, self.clock())
        self.touched()

    def _failed(self, error: StateError) -> None:
        if self.problem != str(error):
            log.error("State: %s; bans go on, and are saved once it works again", error)
        self.problem = str(error)

    def close(self) -> None:
        """Write what is left, and let go."""
        self.save()
        if self.database is not None:
            self.database.close()
            self.database = None
