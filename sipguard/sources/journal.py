"""Follows systemd's journal through a journalctl(1) process, from where the last run stopped.

journalctl reads all journal files, notices rotation and vacuuming, and needs no library in this process. Whenever it ends,
it is restarted after the last entry read.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
import os
import subprocess
import time
from pathlib import Path
from typing import TYPE_CHECKING

from sipguard.files import open_regular
from sipguard.model import Chunk, Position
from sipguard.sources.journal_entry import JournalEntry, read_entry
from sipguard.text import printable

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence

    from sipguard.model import Clock
    from sipguard.sources.journal_query import Query

log = logging.getLogger("fail2ban.filter")

_SIGNATURE = b"LPKSHHRH"
_KEPT_IN = ("/run/log/journal", "/var/log/journal")
"""Where journald keeps its files, in a folder for each machine (systemd-journald.service(8))."""
LONGEST = 16 << 20
"""Longest entry as JSON, in bytes; longer ones are skipped and counted."""


class JournalFollower:
    """Follows the entries of one `Query`. Belongs to an event loop, which must be running when `start` is called.

    `position` is where an earlier run stopped. Without one, or if it is older, following starts `back` seconds ago: older
    entries can no longer lead to a ban. `notify` is called when there is something to read.
    """

    def __init__(
        self,
        query: Query,
        *,
        position: Position | None,
        notify: Callable[[], None],
        back: float,
        encoding: str = "utf-8",
        clock: Clock = time.time,
    ) -> None:
        self._query = query
        self._position = position
        self._notify = notify
        self._back = back
        self._encoding = encoding
        self._clock = clock
        self._process: subprocess.Popen[bytes] | None = None
        self._loop: asyncio.AbstractEventLoop | None = None
        self._partial = bytearray()
        self._skipping = False
        self._known_cursor = ""
        self._problem: str | None = None
        self._gave = False
        self._left_out: dict[str, tuple[int, int] | None] = {}
        self._suspicious = False
        """Whether journalctl has refused files that looked like journals: then it is asked about each."""
        self.busy = self.pending = False
        """Never busy: the pipe tells. Whether the last `read` may have left data; one that finds nothing waits for more."""

    def start(self) -> None:
        """Start following. Errors are reported in `logs` and retried by `rescan`."""
        self._loop = asyncio.get_running_loop()
        self._partial.clear()
        self._skipping = self._gave = False
        query = self._readable_part()
        if query is None:
            return
        if query.is_systems and not has_journal():
            self._problem = "this system has no journal; run systemd-journald, or read a file with logpath"
            return
        try:
            self._process = subprocess.Popen(
                query.command("--follow", "--no-tail", *self._begin()),
                stdin=subprocess.DEVNULL,
                stdout=subprocess.PIPE,
                stderr=subprocess.PIPE,
                env={**os.environ, "LC_ALL": "C.UTF-8"},
            )
        except OSError as error:
            self._problem = f"journalctl cannot be run: {error.strerror}; install systemd, or read a file with logpath"
            return
        self._problem = None
        for pipe in (self._process.stdout, self._process.stderr):
            assert pipe is not None  # noqa: S101 - asked for above
            os.set_blocking(pipe.fileno(), False)
        self._listen()

    def _readable_part(self) -> Query | None:
        """The query without the files that are no journals: one of them, and journalctl reads none. None if no file is left."""
        files = self._query.files
        bad = {file: _stamp(file) for file in files if not is_journal(file, thoroughly=self._suspicious)}
        for file in bad.keys() - self._left_out.keys():
            log.warning("%s: no journal, or a damaged one: it is left out, other files of the jail are followed", file)
        self._left_out = bad
        if files and len(bad) == len(files):
            self._problem = "none of its files is a journal that can be read; they are looked at again"
            return None
        return self._query.without(bad)

    def _begin(self) -> list[str]:
        """Start options for journalctl: at the last entry, not after it, or the next would be skipped if the last is gone."""
        earliest = self._clock() - self._back
        position = self._position
        self._known_cursor = ""
        if position is None or not position.head or position.offset / 1_000_000 < earliest:
            return [f"--since=@{max(0, int(earliest))}"]
        self._known_cursor = position.head
        return [f"--cursor={position.head}"]

    def stop(self) -> None:
        """Stop journalctl."""
        process = self._process
        if process is None:
            return
        self._ignore()
        self._process = None
        for pipe in (process.stdout, process.stderr):
            if pipe is not None:
                pipe.close()
        process.terminate()
        try:
            process.wait(timeout=1)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()

    @property
    def logs(self) -> dict[str, str | None]:
        """The query's name, and why it cannot be followed, or None."""
        return {self._query.name: self._problem}

    def read(self, limit: int) -> list[Chunk]:
        """Read entries from about `limit` bytes of JSON; empty if there are none for now."""
        process = self._process
        self.pending = False
        if process is None or process.stdout is None:
            return []
        entries: list[JournalEntry] = []
        oversize = 0
        while not entries and not oversize:
            try:
                block = os.read(process.stdout.fileno(), limit)
            except BlockingIOError:
                self._listen()
                return []
            if not block:
                self._ended(process)
                return []
            oversize = self._take(block, entries)
        self.pending = True
        return [self._chunk(entries, oversize)]

    def rescan(self) -> None:
        """Start a journalctl that has ended again, and one that lacks a file which has changed."""
        if self._process is not None and any(_stamp(file) != stamp for file, stamp in self._left_out.items()):
            self.stop()
        if self._process is None and self._loop is not None:
            self.start()

    def _take(self, block: bytes, entries: list[JournalEntry]) -> int:
        """Add the entries that end in `block` to `entries`; returns how many were too long."""
        *whole, rest = block.split(b"\n")
        oversize = 0
        for part in whole:
            line = bytes(self._partial) + part
            self._partial.clear()
            if self._skipping:
                self._skipping = False
                oversize += 1
                continue
            entry = read_entry(line, self._encoding)
            if entry and (self._gave or entry.cursor != self._known_cursor):
                entries.append(entry)
            self._gave = True
        if not self._skipping:
            self._partial += rest
        if len(self._partial) > LONGEST:
            self._partial.clear()
            self._skipping = True
        return oversize

    def _chunk(self, entries: list[JournalEntry], oversize: int) -> Chunk:
        if entries:
            last = entries[-1]
            self._position = Position(self._query.name, 0, 0, last.cursor, 0, last.received)
        position = self._position or Position(self._query.name, 0, 0, "", 0, 0)
        records = tuple((entry.time, entry.text) for entry in entries)
        return Chunk(self._query.name, b"", position, oversize, records)

    def _ended(self, process: subprocess.Popen[bytes]) -> None:
        said = b""
        with contextlib.suppress(OSError, ValueError):
            said = os.read(process.stderr.fileno(), 4096) if process.stderr else b""
        self.stop()
        self._suspicious |= b"open files" in said
        why = printable(said.decode("utf-8", "replace").strip().partition("\n")[0], 200)
        self._problem = f"journalctl has ended: {why or f'exit status {process.returncode}'}; it is started again"
        if not self._gave and self._position is not None:
            # It may be the cursor that this journal has never had: by the time alone, then.
            self._position = None

    def _listen(self) -> None:
        """Wake the loop as soon as there is something to read."""
        if self._loop and self._process and self._process.stdout:
            self._loop.add_reader(self._process.stdout.fileno(), self._readable)

    def _readable(self) -> None:
        self._ignore()
        self._notify()

    def _ignore(self) -> None:
        if self._loop and self._process and self._process.stdout and not self._loop.is_closed():
            self._loop.remove_reader(self._process.stdout.fileno())


def read_journal(query: Query, encoding: str = "utf-8") -> Iterator[JournalEntry]:
    """Read all present entries, oldest first. Raises OSError if journalctl cannot be run or fails."""
    with subprocess.Popen(
        query.command(), stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.PIPE
    ) as process:
        assert process.stdout is not None and process.stderr is not None  # noqa: S101, PT018 - asked for
        try:
            for line in process.stdout:
                if entry := read_entry(line, encoding):
                    yield entry
            said = process.stderr.read().decode("utf-8", "replace").strip()
            if process.wait() and said:
                raise OSError(0, printable(said.partition("\n")[0], 200))
        finally:
            process.kill()


def is_journal(path: str, *, thoroughly: bool) -> bool:
    """Whether this begins like a file of the journal (systemd's JOURNAL_FILE_FORMAT); `thoroughly`, journalctl(1) is asked."""
    try:
        with open_regular(path) as file:
            if file.read(len(_SIGNATURE)) != _SIGNATURE:
                return False
    except OSError:
        return False
    if not thoroughly:
        return True
    try:
        ask = ["journalctl", "--quiet", "--lines=0", f"--file={path}"]
        return subprocess.run(ask, capture_output=True, timeout=5, check=False).returncode == 0
    except (OSError, subprocess.TimeoutExpired):
        return False


def has_journal(folders: Sequence[str] = _KEPT_IN) -> bool:
    """Whether the system keeps a journal, as far as can be seen: journalctl waits in silence where there is none."""
    for folder in folders:
        try:
            machines = [one for one in Path(folder).iterdir() if one.is_dir()]
            if any(".journal" in file.name for machine in machines for file in machine.iterdir()):
                return True
        except PermissionError:
            return True
        except OSError:  # no such folder
            continue
    return False


def _stamp(path: str) -> tuple[int, int] | None:
    try:
        status = Path(path).stat()
    except OSError:
        return None
    return status.st_size, status.st_mtime_ns
