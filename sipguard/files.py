"""Files that strangers may have put something else in the place of: opened without waiting, and only if they are files."""

from __future__ import annotations

import contextlib
import errno
import glob
import os
import stat
import time
from pathlib import Path
from typing import BinaryIO


def open_regular(path: str | Path) -> BinaryIO:
    """A regular file, opened for reading. Raises `OSError` as `descriptor_of` does."""
    return open(descriptor_of(path), "rb")


def descriptor_of(path: str | Path) -> int:
    """A descriptor of a regular file, for reading; the caller closes it.

    Raises:
        OSError: it cannot be opened, or is a FIFO, whose open(2) would wait for a writer, a device or a directory.
    """
    descriptor = os.open(path, os.O_RDONLY | os.O_NONBLOCK | os.O_NOCTTY | os.O_CLOEXEC)
    try:
        if not stat.S_ISREG(os.fstat(descriptor).st_mode):
            raise OSError(errno.EINVAL, "not a regular file", str(path))
    except BaseException:
        os.close(descriptor)
        raise
    return descriptor


def set_aside(path: Path) -> Path:
    """Rename a database that cannot be used, with what SQLite keeps beside it; gives the new name. Raises `OSError`."""
    stamp = f"{path}.aside-{time.strftime('%Y%m%d-%H%M%S')}"
    aside = next(one for n in range(1000) if not (one := Path(f"{stamp}-{n}" if n else stamp)).exists())
    for suffix in ("", "-wal", "-shm"):
        with contextlib.suppress(FileNotFoundError):
            Path(f"{path}{suffix}").rename(f"{aside}{suffix}")
    return aside


def closed_folder(pattern: str) -> str:
    """The folder above a path or glob that this process may not enter, or in which a glob cannot look; "" if there is none."""
    for folder in reversed(Path(pattern).parents):
        if glob.has_magic(str(folder)):
            break
        try:
            os.stat(f"{folder}/.")  # noqa: PTH116 - a Path has no dot at its end
            if glob.has_magic(pattern.removeprefix(f"{folder}/").partition("/")[0]):
                os.scandir(folder).close()
        except PermissionError:
            return str(folder)
        except OSError:
            break
    return ""
