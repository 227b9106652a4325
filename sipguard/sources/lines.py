"""Reads whole lines of one open file from an offset on.

It knows nothing about names and rotation. It holds back an incomplete last line, and notices when bytes already read are
gone (the file was truncated, perhaps filled again).
"""

from __future__ import annotations

import contextlib
import os
import re
from typing import BinaryIO

from sipguard.model import Position

try:
    from _blake2 import blake2b  # hashlib would load OpenSSL, 4 MB, for the same function
except ImportError:
    from hashlib import blake2b

HEAD = 1024
"""Bytes at the beginning of a file that identify it: enough for a few dated lines."""

_LEADING_NULS = re.compile(rb"(?m)^\0+")


class TruncatedError(Exception):
    """The part already read is no longer in the file: it was truncated, and may have other content by now."""


def hash_head(head: bytes) -> str:
    """The value of `Position.head` for these first bytes: BLAKE2b (RFC 7693), 16 bytes, as hexadecimal digits."""
    return blake2b(head, digest_size=16).hexdigest()


class LineReader:
    """Reads an open regular file and owns its descriptor. Any method may raise OSError.

    `offset` is the start of the first line not yet returned, in bytes. `max_line` is the longest line returned, in bytes
    without its LF. Longer lines are counted and skipped, without being held in memory.
    """

    def __init__(self, descriptor: int, *, offset: int, max_line: int) -> None:
        status = os.fstat(descriptor)
        self.identity = (status.st_dev, status.st_ino)
        self.offset = offset
        self._descriptor = descriptor
        self._max_line = max_line
        self._cursor = offset
        self.at_end = False
        """Whether the last block read was the last one in the file at that moment."""
        self._partial = bytearray()
        self._skipping = False
        self.head = os.pread(descriptor, HEAD, 0)
        """The first bytes of the file, at most `HEAD`."""
        self._hashed = (b"", hash_head(b""))

    def close(self) -> None:
        """Close the descriptor. File system errors no longer matter and are ignored."""
        with contextlib.suppress(OSError):
            os.close(self._descriptor)

    def file(self) -> BinaryIO:
        """The same open file, for reading from its beginning. The caller closes it; this reader is unaffected."""
        return open(os.dup(self._descriptor), "rb")  # noqa: PTH123 - a descriptor

    def reopened(self) -> LineReader:
        """The same file from its beginning."""
        return LineReader(os.dup(self._descriptor), offset=0, max_line=self._max_line)

    def status(self) -> os.stat_result:
        """Status of the open file, whatever its name is by now."""
        return os.fstat(self._descriptor)

    @property
    def unfinished(self) -> bool:
        """Whether the part read so far ends within a line."""
        return self._skipping or bool(self._partial)

    @property
    def drained(self) -> bool:
        """Whether every line was returned and none is incomplete."""
        return not self.unfinished and self.status().st_size <= self._cursor

    def position(self, path: str) -> Position:
        """Position of the next line. `path` is the log's name, which may belong to a newer file by now."""
        if self._hashed[0] != self.head:
            self._hashed = (self.head, hash_head(self.head))
        return Position(path, *self.identity, self._hashed[1], len(self.head), self.offset)

    def before(self, offset: int, size: int) -> bytes:
        """The whole lines before this offset, of so many bytes at most; none if they cannot be read."""
        begin = max(offset - size, 0)
        with contextlib.suppress(OSError):
            data = os.pread(self._descriptor, offset - begin, begin)
            return data[data.find(b"\n") + 1 if begin else 0 : data.rfind(b"\n") + 1]
        return b""

    def read(self, limit: int) -> tuple[bytes, int] | None:
        """Read a block of `limit` bytes; returns its whole lines and the number of skipped long lines.

        None if there is no further whole line. Empty and 0 within a very long line: there is more to read now.
        Raises TruncatedError.
        """
        consumed = 0
        while consumed <= limit + self._max_line:
            block = self._block(limit)
            if not block:
                return None
            consumed += len(block)
            data, oversize = self._take(block)
            if data or oversize:
                return data, oversize
        return b"", 0

    def finish(self) -> tuple[bytes, int] | None:
        """Return the incomplete last line of a finished file; None if there is none."""
        if not self.unfinished:
            return None
        last = b"" if self._skipping else bytes(self._partial)
        skipped = int(self._skipping)
        self._skipping = False
        self._partial.clear()
        self.offset = self._cursor
        return last, skipped

    def _block(self, limit: int) -> bytes:
        size = os.fstat(self._descriptor).st_size
        if size < self._cursor:
            raise TruncatedError
        block = b""
        if size > self._cursor:
            block = os.pread(self._descriptor, min(limit, size - self._cursor), self._cursor)
            if block.startswith(b"\0") and not self.unfinished and self._skip_hole(size):
                return self._block(limit)
        self.at_end = self._cursor + len(block) >= size
        # After the data, not before, or a truncation in between would go unnoticed. Without data as well: the file may have
        # been truncated and filled to exactly the same size.
        head = os.pread(self._descriptor, HEAD, 0)
        if not head.startswith(self.head):
            raise TruncatedError
        if len(self.head) < HEAD:
            self.head = head
        return block

    def _skip_hole(self, size: int) -> bool:
        """Skip a hole without reading it: a writer without O_APPEND leaves one after a truncation (lseek(2))."""
        try:
            data = os.lseek(self._descriptor, self._cursor, os.SEEK_DATA)
        except OSError:
            # ENXIO: a hole up to the end. EINVAL: a file system without holes, whose NULs are then read and dropped.
            data = self._cursor
        moved = self._cursor < data <= size
        if moved:
            self._cursor = self.offset = data
        return moved

    def _take(self, block: bytes) -> tuple[bytes, int]:
        """Whole lines in the held-back bytes and `block`; moves `offset` behind them."""
        self._cursor += len(block)
        oversize = 0
        if self._skipping:
            end = block.find(b"\n") + 1
            if not end:
                return b"", 0
            self._skipping = False
            oversize = 1
            block = block[end:]
        cut = block.rfind(b"\n") + 1
        data = b""
        if cut:
            data = block if cut == len(block) else block[:cut]
            if self._partial:
                data = bytes(self._partial) + data
            if self.at_end:
                self._partial = bytearray(block[cut:])
            else:
                # There is more to read now, and reading this line's start again is cheaper than joining the parts.
                self._cursor -= len(block) - cut
                self._partial = bytearray()
            # Both are rare. A single byte is looked for: memchr(3) is ten times as fast as a search for two.
            if b"\0" in data or len(data) > self._max_line:
                data, dropped = self._clean(data)
                oversize += dropped
        else:
            self._partial += block
        if self._partial.startswith(b"\0"):
            self._partial = self._partial.lstrip(b"\0")
        self.offset = self._cursor - len(self._partial)
        if len(self._partial) > self._max_line:
            # `offset` stays at the line's start until its end is found, so that a restart finds the same line again.
            self._skipping = True
            self._partial.clear()
        return data, oversize

    def _clean(self, data: bytes) -> tuple[bytes, int]:
        """Remove NULs at the start of lines, and lines that are too long."""
        data = _LEADING_NULS.sub(b"", data)
        if len(data) <= self._max_line:
            return data, 0
        lines = data.split(b"\n")
        kept = [line for line in lines if len(line) <= self._max_line]
        return b"\n".join(kept), len(lines) - len(kept)
