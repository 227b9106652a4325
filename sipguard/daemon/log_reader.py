"""Reads every followed log and hands each chunk to the jails that want it.

Whoever has something new wakes it. A busy log announces nothing (`sources.watcher`), and is looked at every 20 ms: that often
only if a look is cheap, for each finds cold caches and costs a millisecond on a slow machine, whatever it reads.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
import time
from collections.abc import Callable, Mapping
from functools import cache
from itertools import islice
from typing import TYPE_CHECKING

from sipguard.daemon.held_records import HeldRecords
from sipguard.daemon.jail_runner import JailRunner
from sipguard.daemon.log_detectors import Told
from sipguard.daemon.log_problems import LogProblems
from sipguard.daemon.log_sources import LogSources, reads
from sipguard.daemon.progress import Progress
from sipguard.detection.record_rule import RECORD_SETTLES

if TYPE_CHECKING:
    from sipguard.daemon.examiner import Examiner
    from sipguard.daemon.state_writer import StateWriter
    from sipguard.model import Chunk, Clock, Position

log = logging.getLogger("fail2ban.server")

SLICE = 131_072
"""Bytes of log between two looks at everything else: the longest that a full log keeps a ban or a question waiting."""
PULSE = 0.02, 0.1
"""Seconds between two looks at a busy log, at least and at most: a ban waits so long."""
SHARE = 0.01
"""Of one processor's time, what looking may take before it becomes rarer."""
RELEASED = 50
"""Logs whose last records are told between two looks at everything else."""
TOLD_WITHIN = 0.1
"""Seconds that our own log may wait for more lines while another log is busy."""


class LogReader:
    """Follows the logs, and is the job that reads them."""

    def __init__(
        self, runners: Mapping[str, JailRunner], store: StateWriter, *, clock: Clock, check_clock: Callable[[], None]
    ) -> None:
        """`check_clock` is called before anything is counted."""
        self.paused = asyncio.Lock()
        """Nothing is read while somebody holds it: the jails stay as they are."""
        self.logs = LogSources((), {}, notify=lambda: None)
        self._runners = runners
        self.readers = cache(self._find_readers)
        """Path → the jails that read this log now."""
        self._store = store
        self._clock = clock
        self._check_clock = check_clock
        self._progress = Progress()
        self._problems = LogProblems()
        self._loop = asyncio.get_running_loop()
        self._changed = asyncio.Event()
        self._timer: asyncio.TimerHandle | None = None
        self._held = HeldRecords(store)
        self._release_timer: asyncio.TimerHandle | None = None
        self._told = 0.0
        self._error: Exception | None = None

    def follow(self) -> None:
        """Follow the logs of the jails that there are now, on from where each was left."""
        self.stop()
        self._held.begin()
        self.readers.cache_clear()
        self.logs = LogSources(
            [runner.jail for runner in self._runners.values()],
            self._store.positions(),
            notify=self._wake_up,
            clock=self._clock,
        )
        self._problems.begin(self.logs.problems())
        self._changed.set()

    def know(self, positions: Mapping[str, Position]) -> None:
        """The state can be read at last. Earlier runs have read the logs up to `positions`: that is not counted again."""
        self._held.know(positions, self._runners.values())

    def stop(self) -> None:
        """Follow nothing, until `follow`."""
        if self._timer is not None:
            self._timer.cancel()
        for chunk in self._held.left():
            self._take(chunk)
        self.logs.stop()
        for runner in self._runners.values():
            runner.tell()

    def rescan(self) -> None:
        """Look for what announces itself by nothing."""
        self._problems.look(self.logs.problems())
        self.logs.rescan()
        self._changed.set()

    def _wake_up(self) -> None:
        """Called from the watcher's thread."""
        with contextlib.suppress(RuntimeError):  # the loop has just ended: nothing is left to wake
            self._loop.call_soon_threadsafe(self._changed.set)

    async def run(self) -> None:
        """Read until cancelled. Raises what nobody foresaw."""
        while True:
            await self._changed.wait()
            self._changed.clear()
            if self._error is not None:
                raise self._error
            more = True
            while more:
                async with self.paused:
                    more = self._turn()
                if more or self._changed.is_set():
                    await asyncio.sleep(0)

    def _pulse(self) -> None:
        """A turn for busy logs, without waking the job: that costs as much again."""
        try:
            if not self.paused.locked() and not self._turn():
                return
        except Exception as error:
            self._error = error
        self._changed.set()

    def _turn(self) -> bool:
        """One slice of what there is, and when to look again; whether there is more right now."""
        if self._timer is not None:
            self._timer.cancel()
        begun = time.thread_time()
        for chunk in self.logs.read(SLICE):
            self._take(chunk)
        if busy := self.logs.busy:
            pause = (time.thread_time() - begun) / SHARE
            self._timer = self._loop.call_later(min(max(pause, PULSE[0]), PULSE[1]), self._pulse)
        if not busy or self._loop.time() > self._told + TOLD_WITHIN:
            self._told = self._loop.time()
            for runner in self._runners.values():  # what they have held back
                runner.tell()
        return self.logs.pending

    def _release(self) -> None:
        """Have the records at the ends of logs told that have turned out to be whole."""
        now, wait = self._loop.time(), RECORD_SETTLES
        try:
            if not self.paused.locked():
                whole = self._held.whole(now)
                for chunk in islice(whole, RELEASED):
                    self._take(chunk)
                if any(whole):
                    wait = 0.0
                elif self._held.logs:
                    wait = self._held.wait(now)
        except Exception as error:
            self._error = error
            self._changed.set()
        self._release_timer = self._loop.call_later(wait, self._release) if self._held.logs else None

    def _take(self, chunk: Chunk) -> None:
        """One chunk through every jail that reads its log; its position is stored with what it caused."""
        self._check_clock()
        told: Told = {}
        held: dict[JailRunner, int | None] = {}
        for runner in self.readers(chunk.path):
            runner.patient = self.logs.busy
            runner.totals.oversize += chunk.oversize
            part = self._held.unread(runner.jail.name, chunk) if self._held.ahead else chunk
            held[runner] = runner.take(part, self._store.changes, told) if part is not None else None
            if runner.examiner is not None:
                self._hear(runner, runner.examiner, chunk)
        for detector in told:
            detector.looked_back = []
        self._store.changes.positions[chunk.path] = self._held.position(chunk, held, self._loop.time())
        if self._held.logs and self._release_timer is None:
            self._release_timer = self._loop.call_later(RECORD_SETTLES, self._release)
        if self.logs.pending:
            self._progress.took(chunk)
        if chunk.oversize:
            self._problems.oversize(chunk.path, chunk.oversize)
        self._store.touched()

    def _find_readers(self, path: str) -> list[JailRunner]:
        return [runner for runner in self._runners.values() if not runner.jail.idle and reads(runner.jail, path)]

    def _hear(self, runner: JailRunner, examiner: Examiner, chunk: Chunk) -> None:
        """The second reading of a chunk, where the wire proves who fails: see `liberal`."""
        with runner.degrading():
            if heard := examiner.hear(chunk, self._clock()):
                runner.take_examined(heard, self._store.changes)
