"""Unix sockets to answer on: for few from their first moment on, taken over from a dead process but never from one that lives."""

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
"""Bytes: unix(7), `sun_path`."""


@contextlib.contextmanager
def listening(path: Path, *, mend: str, mode: int = 0o600) -> Iterator[socket.socket]:
    """A stream socket at `path` (unix(7)) for as long as the context lasts; to listen(2) is left to the server.

    `mode` are its permissions; `mend` says how to name another place, for messages. Raises `StateError` when it cannot be
    made, when the path is something else than a socket, or when somebody answers there.
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
    """Raise `StateError` if no socket can be made at `path`: too long a name, or something else is there."""
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
    """Remove what a killed process has left: only a socket on which the kernel knows that nobody listens (ECONNREFUSED)."""
    if not path.exists():
        return
    with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as probe:
        probe.setblocking(False)  # one that is too busy to accept is alive: EAGAIN
        if probe.connect_ex(str(path)) != errno.ECONNREFUSED:
            raise StateError(f"{path}: another process answers there; stop it, or {mend}")
    path.unlink(missing_ok=True)


def cut(writer: asyncio.StreamWriter) -> None:
    """End a connection now, whether it has ended already or not, with all that its client has not read."""
    # asyncio (3.11 to 3.13) raises this for one whose last bytes went out after `close`.
    with contextlib.suppress(AttributeError):
        writer.transport.abort()
