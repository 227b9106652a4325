"""Finds the rotated files of a log: the one in which to continue reading, and the one after it.

The directory is searched each time and nothing is remembered, so the answer is the same after a restart.
"""

# No pathlib: these calls are made at every look, and its objects would cost more than the system calls.
# ruff: noqa: PTH100, PTH116, PTH119, PTH122

from __future__ import annotations

import os
import re
import stat
from dataclasses import dataclass
from typing import TYPE_CHECKING

from sipguard.files import open_regular
from sipguard.sources.lines import HEAD, hash_head

if TYPE_CHECKING:
    from collections.abc import Iterator

    from sipguard.model import Position

COMPRESSED = (".gz", ".xz", ".bz2", ".zst", ".lz4", ".lzma", ".zip", ".Z")

# Suffixes that logrotate and other programs add to a log's name, or before its extension:
# `.1`, `-20261121`, `.2026-11-21-03-00-00.1`, `.old`.
_SUFFIX = re.compile(r"[._-]\d[\dT:._+-]*Z?|[._-](?:old|bak|prev|save|orig)|~")


_LOOKS = 10  # most listings of a directory that keeps changing

ANY = (0, 0)
"""`identity` of a place that accepts any file with the name: there is no inode 0."""


@dataclass(frozen=True, slots=True)
class Place:
    """Where to continue reading: a file, and the byte offset in it."""

    path: str
    identity: tuple[int, int]
    offset: int


def is_rotated(name: str, base: str) -> bool:
    """Whether the file `name`, plain or compressed, looks like a rotated file of the log `base` beside it."""
    for ending in COMPRESSED:
        name = name.removesuffix(ending)
    stem, extension = os.path.splitext(base)
    for before, after in ((base, ""), (stem, extension)):
        if name.startswith(before) and name.endswith(after) and len(name) > len(before) + len(after):
            middle = name[len(before) : len(name) - len(after)]
            if _SUFFIX.fullmatch(middle):
                return True
    return False


def locate(position: Position) -> Place | None:
    """Find the file that contains `position`, whatever its name is by now; None if no readable file does.

    Tries the name itself, then the same inode under another name, then the same content under the log's name
    (a restored disk), then the same content under a rotated name (a rotation by copy). Raises OSError.
    """
    own = _stat(position.path)
    if own and own.st_ino == position.inode and _holds(position.path, own, position):
        return _place(position.path, own, position.offset)
    entries = list(_entries(position.path))
    for path, status, rotated in entries:
        # Of a file that was empty we know only the inode, which another log may have by now.
        alike = rotated or position.head_size
        if alike and status.st_ino == position.inode and _holds(path, status, position):
            return _place(path, status, position.offset)
    if not position.head_size:
        return None
    if own and _holds(position.path, own, position):
        return _place(position.path, own, position.offset)
    for path, status, rotated in entries:
        if rotated and _holds(path, status, position):
            return _place(path, status, position.offset)
    # A rotated file has the inode, but other content: the log was truncated, or removed and its inode used again, and then
    # rotated. All of it is unread.
    same = (each for each in entries if each[2] and each[1].st_ino == position.inode and _readable(each[0]))
    return next((_place(path, status, 0) for path, status, _ in same), None)


def successor(log: str, current: os.stat_result, reading: os.stat_result) -> Place:
    """The file to read after the rotated file `reading`: the next rotated one, or the log itself.

    `current` is the present status of `log`. Rotated files are ordered by their last change. Raises OSError.
    """
    ranked = sorted((_rank(path, status), path, status) for path, status, rotated in _entries(log) if rotated)
    here = (reading.st_dev, reading.st_ino)
    after = next((rank for rank, _, status in ranked if _identity(status) == here), None)
    for rank, path, status in ranked:
        newer = rank > after if after else status.st_mtime_ns > reading.st_mtime_ns
        if not newer or not status.st_size or _identity(status) in (here, _identity(current)):
            continue
        if _readable(path):  # an unreadable file must not keep us from the log itself
            return _place(path, status, 0)
    return _place(log, current, 0)


def compressed(log: str) -> str | None:
    """Path of the log's most recently changed compressed file, or None. Raises OSError."""
    directory, base = os.path.split(log)
    found = [
        (status.st_mtime_ns, entry.path)
        for entry, status in _listing(directory)
        if entry.name.endswith(COMPRESSED) and is_rotated(entry.name, base)
    ]
    return max(found)[1] if found else None


def same_content(path: str, head: bytes, offset: int) -> bool:
    """Whether `path` begins with a complete `head` and has a line that starts at `offset`. Raises OSError."""
    if len(head) < HEAD or not offset:
        return False  # too little to tell one log from another
    with open_regular(path) as file:
        descriptor = file.fileno()
        return os.pread(descriptor, HEAD, 0) == head and os.pread(descriptor, 1, offset - 1) == b"\n"


def _entries(log: str) -> Iterator[tuple[str, os.stat_result, bool]]:
    """All uncompressed files beside the log or its symbolic link's target: path, status, and whether rotated from the log."""
    target = os.path.realpath(log)
    seen = set()
    for directory, base in {os.path.split(log), os.path.split(target)}:
        shape = _shape(os.path.basename(target))
        for entry, status in _listing(directory):
            if entry.name.endswith(COMPRESSED) or _identity(status) in seen:
                continue
            seen.add(_identity(status))
            alike = "#" in shape and _shape(entry.name) == shape and target != os.path.abspath(log)
            yield entry.path, status, alike or is_rotated(entry.name, base)


def _listing(directory: str) -> list[tuple[os.DirEntry[str], os.stat_result]]:
    """The regular files in a directory, once two listings in a row agree.

    readdir(3) may miss a file that is renamed meanwhile, and logrotate renames all rotated files one after the other.
    """
    before: list[tuple[str, int]] = []
    found: list[tuple[os.DirEntry[str], os.stat_result]] = []
    for _ in range(_LOOKS):
        try:
            with os.scandir(directory or ".") as listing:
                found = [(entry, status) for entry in listing if (status := _status(entry))]
        except (PermissionError, FileNotFoundError, NotADirectoryError):
            return []  # a directory may be searchable but not readable: then only the log itself can be followed
        now = sorted((entry.name, status.st_ino) for entry, status in found)
        if now == before:
            break
        before = now
    return found


def _status(entry: os.DirEntry[str]) -> os.stat_result | None:
    """Status of a directory entry if it is a regular file that still exists."""
    try:
        return entry.stat(follow_symlinks=False) if entry.is_file(follow_symlinks=False) else None
    except FileNotFoundError:
        return None


def _rank(path: str, status: os.stat_result) -> tuple[int, int, str]:
    """Sort key: older files first; for files changed within one clock tick, `.2` before `.1`, or by date."""
    number = re.search(r"\.(\d{1,5})(?:\.[a-z]+)?$", path)
    return status.st_mtime_ns, -int(number[1]) if number else 0, path


def _shape(name: str) -> str:
    return re.sub(r"\d+", "#", name)


def _holds(path: str, status: os.stat_result, position: Position) -> bool:
    if not stat.S_ISREG(status.st_mode) or status.st_size < max(position.offset, position.head_size):
        return False
    if not _readable(path):
        return False
    with open_regular(path) as file:
        return hash_head(os.pread(file.fileno(), position.head_size, 0)) == position.head


def _readable(path: str) -> bool:
    return os.access(path, os.R_OK, effective_ids=True)


def _stat(path: str) -> os.stat_result | None:
    try:
        return os.stat(path)
    except FileNotFoundError:
        return None


def _identity(status: os.stat_result) -> tuple[int, int]:
    return status.st_dev, status.st_ino


def _place(path: str, status: os.stat_result, offset: int) -> Place:
    return Place(path, _identity(status), offset)
