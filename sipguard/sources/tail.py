"""Follows one log through rotation and restart.

It loses and repeats nothing by one rule: a writer that has started the log's next file no longer writes to the previous
one. So a file is left only when the next one has content and this one, read once more after that, is at its end. The next
file is always found in the directory, never remembered. The `Position` of the last chunk is all that a restart needs.
"""

# These calls are made on every look, where pathlib would cost more than the kernel.
# ruff: noqa: PTH116

from __future__ import annotations

import errno
import logging
import os
import stat
from typing import TYPE_CHECKING, BinaryIO

from sipguard.files import descriptor_of
from sipguard.model import Chunk, Position
from sipguard.sources import rotated
from sipguard.sources.lines import LineReader, TruncatedError, hash_head

if TYPE_CHECKING:
    from collections.abc import Callable

_log = logging.getLogger(__name__)

LONGEST_LINE = 2 << 20
"""Bytes of a line that is read: a server's dump of a message may take one of more than a megabyte."""

LOOK_BACK = 262_144
"""Bytes before the place where reading begins that are read too: more than any message has that goes on there."""

# An opened file may turn out to be truncated, empty or replaced. After this many in one call, the rest waits.
_ROUNDS = 100

DENIED = "permission denied: let sipguard's user read it, and enter its directories"
_MENDING = {
    errno.ENOENT: "no such file",
    errno.EACCES: DENIED,
    errno.EPERM: DENIED,
    errno.EMFILE: "too many open files: raise LimitNOFILE, or follow fewer logs",
}


class Tail:
    """Follows one log file (one path), synchronously and without threads.

    `position` is where an earlier run stopped. Without one, and if the file exists at the start, `start` returns the byte
    offset to begin at (0 by default). A file that appears later is read from its beginning. `max_line` is in bytes.
    """

    def __init__(
        self,
        path: str,
        *,
        position: Position | None = None,
        start: Callable[[BinaryIO], int] | None = None,
        max_line: int = LONGEST_LINE,
    ) -> None:
        self.path = path
        self.problem: str | None = None
        self._position = position
        self._start = start
        self._max_line = max_line
        self._reader: LineReader | None = None
        self._ended: tuple[int, int] | None = None
        """The file whose end was read last."""
        self._own = False  # whether the open file had the log's name when last checked
        self._began_at: int | None = None
        """Where reading of the open file has begun, until somebody is told of what is before."""
        self._before = b""
        """That, of a file that is closed already."""
        self._begun = False  # whether nobody has been told yet where reading began
        self.at_end = False
        """Whether `read` will return nothing until the log changes, so that calling it can be skipped."""
        self._look()

    def read(self, limit: int = 262_144) -> Chunk | None:
        """Read the next whole lines, at most about `limit` bytes; None if there is nothing to read now.

        A chunk without lines means that there is more to read: a line longer than `max_line` was skipped or is incomplete.
        Never raises OSError: `problem` says what is wrong, and the next call retries.
        """
        limit = max(limit, 1)
        try:
            for _ in range(_ROUNDS):
                reader = self._reader or self._open()
                if reader is None:
                    return None
                try:
                    found = self._lines(reader, limit)
                    following = None
                    if found is None:
                        following = self._following(reader)
                        if following is None:
                            self._ended = reader.identity
                            return None
                        # Once more, now that the next file is known to exist.
                        found = self._lines(reader, limit) or (None if following.offset else reader.finish())
                except TruncatedError:
                    self._truncated(reader)
                    continue
                if found is not None:
                    live, ended = self._ended == reader.identity, self._ended is not None
                    if reader.at_end:
                        self._ended = reader.identity
                    before = self._before if self._began_at is None else self._look_back(reader, self._began_at)
                    self._begun, self._before = False, b""
                    return Chunk(self.path, found[0], reader.position(self.path), found[1], (), live, ended, before)
                if following is not None:
                    self._switch(reader, following)
        except OSError as error:
            self._fail(error)
        finally:
            self.at_end = self._own and self._reader is not None and self._reader.at_end
        return None

    def beginning(self) -> Chunk | None:
        """Once, and before anything was read: a chunk without lines, for the position at which a new log begins.

        Stored, it lets a restart find the file again though it was rotated before its first line was read.
        """
        if not self._begun or self._reader is None:
            return None
        self._begun = False
        return Chunk(self.path, b"", self._reader.position(self.path))

    @property
    def finished(self) -> bool:
        """Whether the file was removed and read completely: nothing follows unless the log is created again."""
        if self._reader is None:
            return self._position is None
        try:
            return self._reader.drained and not self._reader.status().st_nlink
        except OSError:
            return False  # not known; `read` will say what is wrong

    def close(self) -> None:
        """Release the file. A later `read` continues where the last one stopped."""
        self._let_go()

    def _lines(self, reader: LineReader, limit: int) -> tuple[bytes, int] | None:
        try:
            return reader.read(limit)
        except OSError:
            # EIO, ESTALE and the like: reopen the file next time and continue there.
            self._let_go()
            raise

    def _truncated(self, reader: LineReader) -> None:
        """Continue in the copy made before the truncation if there is one, else at the start of the same file."""
        self._ended = (0, 0) if self._ended else None  # what is in it now may have been there for a while
        _log.debug("%s was truncated", shown(self.path))
        place = rotated.locate(reader.position(self.path))
        if place is None or place.identity == reader.identity:
            # By its descriptor: it may have been renamed since.
            self._reader = reader.reopened()
        else:
            copy = self._open_file(place.path, place.offset)
            if copy.identity != place.identity:
                copy.close()  # rotated at this moment: look again
                return
            self._reader = copy
        if self._began_at is not None:
            self._began_at = self._reader.offset
        self._own = False  # unknown; checked at its end
        reader.close()

    def _following(self, reader: LineReader) -> rotated.Place | None:
        """The file to read after `reader`; None if that is the log's own file, or the next one is still empty."""
        current = self._look()
        if current is None:
            return None
        self._own = (current.st_dev, current.st_ino) == reader.identity
        if self._own or not current.st_size:
            return None
        own = rotated.Place(self.path, (current.st_dev, current.st_ino), reader.offset)
        if rotated.same_content(self.path, reader.head, reader.offset):
            # Rewritten in place of what was read (by an editor, from a backup), or copied and not truncated yet.
            return own
        return rotated.successor(self.path, current, reader.status())

    def _switch(self, reader: LineReader, following: rotated.Place) -> None:
        opened = self._open_file(following.path, following.offset)
        if opened.identity != following.identity or self._following(reader) != following:
            # Rotated again at this moment: another file may come first by now. Look again.
            opened.close()
            return
        if self._began_at is not None:
            self._before = self._look_back(reader, self._began_at)
        reader.close()
        self._reader = opened
        self._own = following.path == self.path

    def _look_back(self, reader: LineReader, begin: int) -> bytes:
        """What stands before the place where reading has begun. It is asked for with the first chunk: of most logs none comes."""
        self._began_at = None
        return reader.before(begin, LOOK_BACK)

    def _open(self) -> LineReader | None:
        """Open the file that contains `_position`, else the log's own; None, with the reason in `problem`, if neither exists."""
        current = self._look()
        if self._position:
            place = self._locate(self._position, missing=current is None)
            if place is None:
                return None
            opened = self._open_file(place.path, place.offset)
            head = hash_head(opened.head[: self._position.head_size])
            if place.identity not in (rotated.ANY, opened.identity) or (place.offset and head != self._position.head):
                opened.close()  # rotated in this moment, by renaming or by copying; the next call finds it
                return None
        elif current is None:
            return None
        else:
            opened = self._open_file(self.path, 0)
            if self._start:
                opened = self._begin(opened, self._start)
            self._begun = True
        self._reader, self._began_at, self._before = opened, opened.offset, b""
        self._own = current is not None and (current.st_dev, current.st_ino) == opened.identity
        self._position = self._start = None
        return opened

    def _begin(self, opened: LineReader, start: Callable[[BinaryIO], int]) -> LineReader:
        """The same file, starting at the offset returned by `start`."""
        try:
            with opened.file() as file:
                offset = min(max(start(file), 0), os.fstat(file.fileno()).st_size)
                return LineReader(os.dup(file.fileno()), offset=offset, max_line=self._max_line)
        finally:
            opened.close()

    def _locate(self, position: Position, *, missing: bool) -> rotated.Place | None:
        try:
            place = rotated.locate(position)
        except FileNotFoundError:
            return None  # removed at this moment, or its directory is gone
        if place or missing:
            return place
        packed = rotated.compressed(self.path)
        if packed:
            _log.warning(
                "%s: unread lines may be in %s, which is compressed and not read", *map(shown, (self.path, packed))
            )
        else:
            _log.info("%s: the file read before is gone; reading from the beginning", shown(self.path))
        return rotated.Place(self.path, rotated.ANY, 0)

    def _open_file(self, path: str, offset: int) -> LineReader:
        descriptor = descriptor_of(path)
        try:
            return LineReader(descriptor, offset=offset, max_line=self._max_line)
        except OSError:
            os.close(descriptor)
            raise

    def _look(self) -> os.stat_result | None:
        """Status of the log's path; None, with the reason in `problem`, if it is not a readable file."""
        try:
            status = os.stat(self.path)
        except OSError as error:
            if error.errno in (errno.ENOENT, errno.ENOTDIR):
                self._start = None
            self._fail(error)
            return None
        if stat.S_ISREG(status.st_mode):
            self.problem = None
            return status
        kind = (
            "a directory" if stat.S_ISDIR(status.st_mode) else "a FIFO" if stat.S_ISFIFO(status.st_mode) else "a device"
        )
        self.problem = f"{shown(self.path)}: {kind}, not a log file"
        return None

    def _fail(self, error: OSError) -> None:
        reason = _MENDING.get(error.errno or 0) or (error.strerror or str(error)).lower()
        self.problem = f"{shown(self.path)}: {reason}"

    def _let_go(self) -> None:
        if self._reader:
            self._position = self._reader.position(self.path)
            self._reader.close()
            self._reader = None


def shown(path: str) -> str:
    """A printable path: control bytes in the file name are escaped."""
    return path if path.isprintable() else path.encode("unicode_escape", "backslashreplace").decode("ascii")
