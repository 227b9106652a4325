"""Unix sockets to answer on: private from the moment they exist; taken over from a dead process, never from a live one."""

from __future__ import annotations

import contextlib
import errno
import os
import socket
import stat
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING

from sipguard.errors import StateError

if TYPE_CHECKING:
    import asyncio


LONGEST_PATH = 107
"""Longest path of a Unix socket in bytes (unix(7), `sun_path`)."""


@contextlib.contextmanager
def listening(path: Path, *, mend: str, mode: int = 0o600) -> Iterator[socket.socket]:
    """Bind a stream socket at `path`, and remove it when the context ends. The caller's server calls listen(2).

    `mode` is its permissions. `mend` ends each message: how to choose another path. Raises `StateError` if the socket cannot be
    made, if something else than a socket is there, or if a process answers there.
    """
    check_place(path, mend=mend)
    try:
        path.parent.mkdir(parents=True, exist_ok=True, mode=0o755)
        _clear_stale(path, mend)
        sock = _bound(path, mode)
    except OSError as error:
        raise StateError(f"{path}: {error.strerror or error}; {mend}") from error
    try:
        yield sock
    finally:
        sock.close()
        path.unlink(missing_ok=True)


def check_place(path: Path, *, mend: str) -> None:
    """Raise `StateError` if no socket can be made at `path`: it is too long, or something else is there."""
    if len(os.fsencode(path)) > LONGEST_PATH:
        raise StateError(f"{path}: longer than the {LONGEST_PATH} bytes of a socket's path; {mend}")
    try:
        other = not stat.S_ISSOCK(path.lstat().st_mode)
    except FileNotFoundError:
        return
    except OSError as error:
        raise StateError(f"{path}: {error.strerror or error}; {mend}") from error
    if other:
        raise StateError(f"{path}: is not a socket; {mend}")


def _bound(path: Path, mode: int) -> socket.socket:
    sock = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
    old_mask = os.umask(0o777 & ~mode)
    try:
        sock.bind(str(path))
    except OSError:
        sock.close()
        raise
    finally:
        os.umask(old_mask)
    return sock


def _clear_stale(path: Path, mend: str) -> None:
    """Remove the socket of a killed process. Only ECONNREFUSED proves that nobody listens there."""
    if not path.exists():
        return
    with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as probe:
        probe.setblocking(False)  # EAGAIN: alive, but too busy to accept
        if probe.connect_ex(str(path)) != errno.ECONNREFUSED:
            raise StateError(f"{path}: another process answers there; stop it, or {mend}")
    path.unlink(missing_ok=True)


def cut(writer: asyncio.StreamWriter) -> None:
    """Abort a connection, open or closed; what the client has not read yet is lost."""
    # asyncio (3.11 to 3.13) raises AttributeError if the last bytes went out after `close`.
    with contextlib.suppress(AttributeError):
        writer.transport.abort()
