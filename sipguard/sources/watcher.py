"""Says when something in a directory changes: through inotify(7) by way of watchdog, or by looking every second.

An event costs watchdog some 0.1 ms of thread switches: nothing for a quiet log, half a core for one with 5,000 lines a
second. So a directory in which much happens is not watched: whoever reads looks at it by himself, some fifty times a
second, until nothing more is read there.
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

IDLE = 0.2
"""Seconds without anything read, after which a busy directory is watched again."""
BUSY = ((150, 0.1), (300, 2.0))
"""So many events within so many seconds make a directory busy. A burst of guesses must not: its ban would wait for a look."""
POLLING = 1.0
"""Seconds between two looks at every directory when polling."""

# Without IN_OPEN and IN_CLOSE: our own opening of a log must not be an event.
_EVENTS: list[type[FileSystemEvent]] = [FileModifiedEvent, FileCreatedEvent, FileMovedEvent, FileDeletedEvent]


class Watcher:
    """Watches directories, not what is below them.

    `changed(path, appeared)` is called from the watcher's threads: for a file that was written to or, with `appeared`,
    that was made, moved or removed; with the path of a directory when any file in it may have been written to or, with
    `appeared`, anything may have happened.
    """

    def __init__(self, changed: Callable[[str, bool], None], *, polling: bool) -> None:
        self._changed = changed
        self._polling = polling
        self._wanted: frozenset[str] = frozenset()
        self._watches: dict[str, tuple[ObservedWatch, tuple[int, int]]] = {}
        self.busy: frozenset[str] = frozenset()
        """Directories that nobody watches now, since they change all the time: the reader looks by himself."""
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
        """End the watcher's threads; `changed` is not called any more when this returns."""
        self._stopping.set()
        self._wake.set()
        if self._thread.is_alive():
            self._thread.join()
        if self._observer is not None:
            self._observer.stop()
            self._observer.join()
            self._observer = None

    def watch(self, directories: Iterable[str]) -> None:
        """Watch these directories and no others, anew those that vanished and came back. Returns at once."""
        self._wanted = frozenset(directories)
        self._wake.set()

    def progress(self) -> None:
        """Something was read: what is busy stays so."""
        self._progress = monotonic()

    def became_busy(self, directory: str) -> None:
        """Called by the events' handler, from watchdog's thread."""
        self._newly_busy.append(directory)
        self._wake.set()

    def event(self, event: FileSystemEvent) -> None:
        """Called by the events' handler, from watchdog's thread."""
        appeared = event.event_type != "modified"
        for path in (event.src_path, event.dest_path):
            if path:
                self._changed(os.fsdecode(path), appeared)

    # Everything below runs in this watcher's own thread (before that starts, in the caller's), which alone schedules.

    def _run(self) -> None:
        while not self._stopping.is_set():
            self._wake.wait()
            self._wake.clear()
            self._reconcile()
            self._leave_alone()

    def _leave_alone(self) -> None:
        """While something is busy, wait until nothing more is read."""
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
        """Stop watching what has become busy; whether anything is."""
        while self._newly_busy:
            directory = self._newly_busy.popleft()
            if directory in self._watches:
                self._unschedule(directory)
                self.busy |= {directory}
                self._changed(directory, False)
        return bool(self.busy)

    def _reconcile(self) -> None:
        """Watch what is wanted and there and not busy; forget the rest."""
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
                _log.warning("%s cannot be watched (%s): its logs are looked at every few seconds", directory, error)
                self._refused.add(directory)
            return
        self._refused.discard(directory)
        self._watches[directory] = watch, identity
        # What happened before the watch was there gave no event.
        self._changed(directory, True)

    def _unschedule(self, directory: str) -> None:
        watch, _ = self._watches.pop(directory)
        if self._observer is not None:
            # KeyError: its directory vanished, and watchdog has forgotten it by itself.
            with contextlib.suppress(KeyError, OSError):
                self._observer.unschedule(watch)


class _Handler(FileSystemEventHandler):
    """Takes the events of one directory and measures how many there are."""

    def __init__(self, watcher: Watcher, directory: str) -> None:
        self._watcher = watcher
        self._directory = directory
        self._spans = [[0.0, 0] for _ in BUSY]
        """For each of BUSY: since when, and how many."""

    def dispatch(self, event: FileSystemEvent) -> None:
        """Called by watchdog, in its dispatching thread, for every event."""
        if event.is_directory:
            return
        self._watcher.event(event)
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
            _log.warning(
                "no inotify (%s): looking at the logs every second; raise fs.inotify.max_user_instances", error
            )
    from watchdog.observers.polling import PollingObserver  # noqa: PLC0415 - not needed with inotify

    return PollingObserver(timeout=POLLING)


def _identity(directory: str) -> tuple[int, int] | None:
    try:
        status = os.stat(directory)
    except OSError:
        return None
    return status.st_dev, status.st_ino
