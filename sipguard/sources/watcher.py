"""Reports changes in directories, through watchdog with inotify(7), or by polling every second.

An event costs watchdog about 0.1 ms of thread switches: nothing for a quiet log, half a core at 5,000 lines per second. So a
busy directory is not watched. The reader checks it about fifty times per second until nothing more is read there.
"""

# These calls are made on every look, where pathlib would cost more than the kernel.
# ruff: noqa: PTH116

from __future__ import annotations

import contextlib
import logging
import os
import threading
from collections import deque
from time import monotonic
from typing import TYPE_CHECKING

from watchdog.events import (
    FileCreatedEvent,
    FileDeletedEvent,
    FileModifiedEvent,
    FileMovedEvent,
    FileSystemEvent,
    FileSystemEventHandler,
)

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable

    from watchdog.observers.api import BaseObserver, ObservedWatch

_log = logging.getLogger(__name__)

IDLE = 1.0
"""Seconds without new data after which a busy directory is watched again: to find that it is busy costs hundreds of events."""
BUSY = ((150, 0.1), (300, 2.0))
"""(events, seconds): this many events within this time make a directory busy. A burst of guesses must not, or its ban
would be delayed."""
POLLING = 1.0
"""Polling interval in seconds."""

# Without IN_OPEN and IN_CLOSE: our own opening of a log must not be an event.
_EVENTS: list[type[FileSystemEvent]] = [FileModifiedEvent, FileCreatedEvent, FileMovedEvent, FileDeletedEvent]


class Watcher:
    """Watches directories without their subdirectories.

    `changed(path, appeared)` is called from the watcher's threads. A file was written to or, with `appeared`, created, moved
    or removed. For a directory, any file in it may have been written to or, with `appeared`, anything may have changed.
    """

    def __init__(self, changed: Callable[[str, bool], None], *, polling: bool) -> None:
        self.changed = changed
        self._polling = polling
        self._wanted: frozenset[str] = frozenset()
        self._watches: dict[str, tuple[ObservedWatch, tuple[int, int]]] = {}
        self.busy: frozenset[str] = frozenset()
        """Directories not watched now because they change all the time: the reader must check them itself."""
        self._newly_busy: deque[str] = deque()
        self._refused: set[str] = set()
        self._progress = 0.0
        self._wake = threading.Event()
        self._stopping = threading.Event()
        self._thread = threading.Thread(target=self._run, name="log-watcher", daemon=True)
        self._observer: BaseObserver | None = None

    def start(self, directories: Iterable[str]) -> None:
        """Watch `directories` (real paths) from now on."""
        self._observer = _observer(polling=self._polling)
        self._observer.start()
        self._wanted = frozenset(directories)
        self._reconcile()
        self._thread.start()

    def stop(self) -> None:
        """Stop the watcher's threads. `changed` is no longer called once this returns."""
        self._stopping.set()
        self._wake.set()
        if self._thread.is_alive():
            self._thread.join()
        if self._observer is not None:
            self._observer.stop()
            self._observer.join()
            self._observer = None

    def watch(self, directories: Iterable[str]) -> None:
        """Watch exactly these directories, including those that vanished and came back. Returns at once."""
        self._wanted = frozenset(directories)
        self._wake.set()

    def progress(self) -> None:
        """Report that data was read: busy directories stay busy."""
        self._progress = monotonic()

    def became_busy(self, directory: str) -> None:
        """Called by the events' handler, from watchdog's thread."""
        self._newly_busy.append(directory)
        self._wake.set()

    # Everything below runs in this watcher's own thread, the only one that schedules (in the caller's before it starts).

    def _run(self) -> None:
        while not self._stopping.is_set():
            self._wake.wait()
            self._wake.clear()
            self._reconcile()
            self._leave_alone()

    def _leave_alone(self) -> None:
        """Wait until nothing more is read from busy directories."""
        self._progress = monotonic()
        while self._take_busy() and monotonic() - self._progress < IDLE:
            if self._wake.wait(IDLE):
                if self._stopping.is_set():
                    return
                self._wake.clear()
                self._reconcile()
        if self.busy:
            self.busy = frozenset()
            self._reconcile()

    def _take_busy(self) -> bool:
        """Stop watching directories that have become busy; returns whether any is busy."""
        while self._newly_busy:
            directory = self._newly_busy.popleft()
            if directory in self._watches:
                self._unschedule(directory)
                self.busy |= {directory}
                self.changed(directory, False)
        return bool(self.busy)

    def _reconcile(self) -> None:
        """Watch the wanted directories that exist and are not busy; stop watching the others."""
        observer = self._observer
        if observer is None or self._stopping.is_set():
            return
        alive = {emitter.watch for emitter in observer.emitters if emitter.is_alive()}
        for directory, (watch, identity) in list(self._watches.items()):
            if directory not in self._wanted or watch not in alive or _identity(directory) != identity:
                self._unschedule(directory)
        self.busy &= self._wanted
        for directory in self._wanted - self.busy - self._watches.keys():
            self._schedule(observer, directory)

    def _schedule(self, observer: BaseObserver, directory: str) -> None:
        identity = _identity(directory)
        if identity is None:
            return
        try:
            watch = observer.schedule(_Handler(self, directory), directory, event_filter=_EVENTS)
        except OSError as error:
            if directory not in self._refused:
                _log.warning("%s cannot be watched (%s): checking its logs every few seconds", directory, error)
                self._refused.add(directory)
            return
        self._refused.discard(directory)
        self._watches[directory] = watch, identity
        # Changes before the watch existed caused no event.
        self.changed(directory, True)

    def _unschedule(self, directory: str) -> None:
        watch, _ = self._watches.pop(directory)
        if self._observer is not None:
            # KeyError: the directory vanished, and watchdog has dropped the watch itself.
            with contextlib.suppress(KeyError, OSError):
                self._observer.unschedule(watch)


class _Handler(FileSystemEventHandler):
    """Handles the events of one directory and measures their rate."""

    def __init__(self, watcher: Watcher, directory: str) -> None:
        self._watcher = watcher
        self._directory = directory
        self._spans = [[0.0, 0] for _ in BUSY]
        """For each entry of BUSY: start of the interval, and number of events."""

    def dispatch(self, event: FileSystemEvent) -> None:
        """Called by watchdog, in its dispatching thread, for every event."""
        if event.is_directory:
            return
        appeared = event.event_type != "modified"
        for path in (event.src_path, event.dest_path):
            if path:
                self._watcher.changed(os.fsdecode(path), appeared)
        now = monotonic()
        for span, (most, seconds) in zip(self._spans, BUSY, strict=True):
            if now - span[0] > seconds:
                span[:] = now, 0
            span[1] += 1
            if span[1] == most:
                self._watcher.became_busy(self._directory)


def _observer(*, polling: bool) -> BaseObserver:
    if not polling:
        try:
            from watchdog.observers.inotify import InotifyObserver  # noqa: PLC0415 - not needed when polling

            return InotifyObserver()
        except OSError as error:
            _log.warning("no inotify (%s): checking the logs every second; raise fs.inotify.max_user_instances", error)
    from watchdog.observers.polling import PollingObserver  # noqa: PLC0415 - not needed with inotify

    return PollingObserver(timeout=POLLING)


def _identity(directory: str) -> tuple[int, int] | None:
    try:
        status = os.stat(directory)
    except OSError:
        return None
    return status.st_dev, status.st_ino
