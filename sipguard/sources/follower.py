"""Follows several logs, given as paths or globs, with one watcher, and reads changed logs in turns.

The watcher's threads only queue the path of a change and wake the loop. Everything else happens in the thread that calls
`read` and `rescan`.
"""

# These calls are made on every look, where pathlib would cost more than the kernel.
# ruff: noqa: PTH113, PTH116, PTH118, PTH119, PTH120, PTH122, PTH207

from __future__ import annotations

import fnmatch
import glob
import os
from collections import deque
from functools import partial
from typing import TYPE_CHECKING, BinaryIO

from sipguard.files import closed_folder
from sipguard.sources.rotated import COMPRESSED, is_rotated
from sipguard.sources.tail import DENIED, LONGEST_LINE, Tail, shown
from sipguard.sources.watcher import Watcher

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Mapping, Sequence

    from sipguard.model import Chunk, Position

_MOST_CHUNKS = 32
"""Logs read at once: each may cost milliseconds, and there may be thousands."""
_TURN = 262_144  # most bytes read from one log before it is the next one's turn


class Follower:
    """Follows every log matched by `patterns` (paths or globs), now or later.

    `positions` says where earlier runs stopped, by path. `notify` is called from the watcher's threads when there may be
    something to read, and must only wake the loop. `start` and `max_line` are as for `Tail`; `start` also gets the path, and
    is called only for logs that exist at the start. With `polling`, directories are checked every second, for file systems
    without inotify.
    """

    def __init__(
        self,
        patterns: Iterable[str],
        *,
        positions: Mapping[str, Position],
        notify: Callable[[], None],
        polling: bool = False,
        start: Callable[[str, BinaryIO], int] | None = None,
        max_line: int = LONGEST_LINE,
    ) -> None:
        self._patterns = tuple(dict.fromkeys(patterns))
        self._positions = dict(positions)
        self._globs = any(map(glob.has_magic, self._patterns))
        self._notify = notify
        self._max_line = max_line
        self._tails: dict[str, Tail] = {}
        self._unmatched: tuple[str, ...] = ()
        self._matched: dict[str, tuple[list[str], list[str]]] = {}
        self._index: dict[str, list[Tail]] = {}
        self._directories: frozenset[str] = frozenset()
        self._changes: deque[tuple[str, bool]] = deque()
        self._ready: dict[str, Tail] = {}
        self._seen: dict[str, tuple[int, int, int, int]] = {}
        """Path → device, inode, size and time at the last check of a busy directory."""
        self.busy = self.pending = False
        """Whether `read` is to be called again soon, since logs lie in busy directories, and whether it has left something."""
        self._watcher = Watcher(self._changed, polling=polling)
        self._discover(start)

    def start(self) -> None:
        """Start watching. Call this once."""
        self._watcher.start(self._directories)

    def stop(self) -> None:
        """Stop the watcher's threads and close the logs."""
        self._watcher.stop()
        for tail in self._tails.values():
            tail.close()

    @property
    def logs(self) -> dict[str, str | None]:
        """Every log, and every pattern without a match, with the reason why it cannot be read, or None."""
        waiting = {
            pattern: f"{shown(pattern)}: {DENIED if closed_folder(pattern) else 'no such file yet'}"
            for pattern in self._unmatched
        }
        return {**{path: tail.problem for path, tail in self._tails.items()}, **waiting}

    def _is_news(self, tail: Tail) -> bool:
        """Whether the log may have changed since the last check. This is cheaper than `read`, which matters for many logs.

        A change that leaves inode, size and time as they were is found by the next `rescan`.
        """
        try:
            status = os.stat(tail.path)
        except OSError:
            return True
        seen = status.st_dev, status.st_ino, status.st_size, status.st_mtime_ns
        if tail.at_end and self._seen.get(tail.path) == seen:
            return False
        self._seen[tail.path] = seen
        return True

    def read(self, limit: int = 1 << 20) -> list[Chunk]:
        """Read up to about `limit` bytes from changed logs, one block of each in turn; empty if nothing is left."""
        self._find_changed()
        chunks: list[Chunk] = []
        left = limit
        while left > 0 and self._ready and len(chunks) < _MOST_CHUNKS:
            path = next(iter(self._ready))
            tail = self._ready.pop(path)
            chunk = tail.read(min(left, _TURN)) or tail.beginning()
            if chunk is not None:
                chunks.append(chunk)
                if not tail.at_end:
                    self._ready[path] = tail  # after the others
                left -= len(chunk.data) or _TURN  # an empty chunk means that a block was read and skipped
        if chunks and self.busy:
            self._watcher.progress()
        self.pending = bool(self._ready)
        return chunks

    def rescan(self) -> None:
        """Look for new files and missed changes; the next `read` checks every log with stat(2)."""
        self._discover(None)
        self._watcher.watch(self._directories)
        self._notify()

    def _changed(self, path: str, appeared: bool) -> None:
        """Called from the watcher's threads: modifies only the queue, and reads only values that are replaced as a whole."""
        if path in self._index or (appeared and self._matches(path)):
            self._changes.append((path, appeared))
            self._notify()

    def _matches(self, path: str) -> bool:
        name = os.path.basename(path)
        return any(glob.has_magic(each) and fnmatch.fnmatch(name, os.path.basename(each)) for each in self._patterns)

    def _find_changed(self) -> None:
        """Take what the watcher has told, and look at the logs in busy directories, which are not watched."""
        busy, appeared = self._watcher.busy, False
        self.busy = bool(busy)
        for directory in busy:
            for tail in self._index.get(directory, ()):
                if self._is_news(tail):
                    self._ready[tail.path] = tail
        while self._changes:
            path, made = self._changes.popleft()
            for tail in self._index.get(path, ()):
                self._ready[tail.path] = tail
            # Expand a glob again only if it may match something new: busy directories are checked very often.
            appeared |= made and (path not in self._index or (path in self._directories and self._globs))
        if appeared:
            self._discover(None)

    def _discover(self, start: Callable[[str, BinaryIO], int] | None) -> None:
        """Find all existing logs and mark each for the next check."""
        found: list[str] = []
        unmatched = []
        for pattern in self._patterns:
            paths = self._find(pattern) if glob.has_magic(pattern) else [pattern]
            found += paths
            if not paths:
                unmatched.append(pattern)
        self._unmatched = tuple(unmatched)
        for path in found:
            if path not in self._tails:
                begin = partial(start, path) if start else None
                position = self._positions.pop(path, None)
                self._tails[path] = Tail(path, position=position, start=begin, max_line=self._max_line)
        for path in self._tails.keys() - found:
            if self._tails[path].finished:
                self._tails.pop(path).close()
                self._ready.pop(path, None)
                self._seen.pop(path, None)
        self._ready.update(self._tails)
        self._map()

    def _find(self, pattern: str) -> list[str]:
        """The logs that a glob matches: files, but not those that one of them was rotated to, nor compressed ones."""
        names = sorted(path for path in glob.glob(pattern) if not path.endswith(COMPRESSED) and os.path.isfile(path))
        there = set(names)
        known = [
            path for path in (*self._tails, *self._positions) if path not in there and fnmatch.fnmatch(path, pattern)
        ]
        seen = self._matched.get(pattern)
        if seen and seen[0] == names + known:
            return seen[1]
        stems: dict[str, list[str]] = {}
        for other in (*names, *known):
            stems.setdefault(os.path.splitext(other)[0], []).append(other)
        logs: dict[str, None] = {}
        for path in names:
            # A log that is stored or followed, and gone: what it was rotated to holds its unread rest.
            base = _rotated_from(path, stems)
            if base is None or base not in there:
                logs[path if base is None else base] = None
        self._matched[pattern] = names + known, list(logs)
        return list(logs)

    def _map(self) -> None:
        """Map files and directories to the logs that their change may concern, by real path as reported by the watcher."""
        index: dict[str, list[Tail]] = {}
        directories = {
            os.path.realpath(os.path.dirname(each))
            for each in self._patterns
            if not glob.has_magic(os.path.dirname(each))
        }
        for path, tail in self._tails.items():
            target = os.path.realpath(path)
            beside = os.path.realpath(os.path.dirname(path))
            for name in {target, os.path.join(beside, os.path.basename(path)), os.path.dirname(target), beside}:
                index.setdefault(name, []).append(tail)
            directories |= {beside, os.path.dirname(target)}
        for directory in directories:
            index.setdefault(directory, [])
        self._index = index
        self._directories = frozenset(directories)


def _rotated_from(path: str, stems: Mapping[str, Sequence[str]]) -> str | None:
    """Which of the logs this one was rotated from, if any; `stems` are those by their names without the extension."""
    name = os.path.basename(path)
    for end in range(len(path) - len(name) + 1, len(path) + 1):
        for other in stems.get(path[:end], ()):
            if other != path and is_rotated(name, os.path.basename(other)):
                return other
    return None
