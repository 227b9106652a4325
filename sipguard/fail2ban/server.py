"""Answers Fail2ban's clients on a Unix socket: one pickle and an end mark in, the same out, several on one connection.

Clients are bounded in number, in bytes and in time, all of them together too: whatever they send, others are answered.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
import os
import socket
import stat
from collections.abc import AsyncIterator, Awaitable, Callable
from pathlib import Path
from typing import Any

from sipguard.errors import StateError
from sipguard.fail2ban import pickle_out
from sipguard.fail2ban.protocol import CLOSE, END
from sipguard.fail2ban.unpickle import LONGEST, UnpickleError, loads
from sipguard.text import printable

log = logging.getLogger("fail2ban.asyncserver")

IDLE = 60.0
"""Seconds that a client may take for a request."""
SLOW = 10.0
"""Seconds that a client may take to read an answer."""
MOST_CLIENTS = 200
"""Connections at once. For one more, the one that has been silent for longest goes: who only connects keeps nobody out."""
MOST_WAITING = 3 * LONGEST
"""Bytes of unfinished requests of all clients together; whoever goes beyond is closed."""

_ACCEPTED = 50
"""Connections that asyncio accepts before it looks at anything else; it takes the queue's length for that."""
_QUEUE = 1024
"""Connections that the kernel keeps waiting."""

Answer = Callable[[Any], Awaitable[Any]]


class Server:
    """The socket. `answer` takes a request and gives plain data, or raises what the client is to be told."""

    def __init__(self, path: Path, answer: Answer) -> None:
        self.path = path
        self._answer = answer
        self._clients: set[asyncio.Task[None]] = set()
        self._silent: dict[asyncio.Task[None], None] = {}
        """Clients between requests, the one that has been so for longest first."""
        self._waiting = 0

    @contextlib.asynccontextmanager
    async def serving(self) -> AsyncIterator[None]:
        """Answer for as long as this context lasts. Raises `StateError` where the socket cannot be made."""
        sock = _listen(self.path)
        server = await asyncio.start_unix_server(self._client, sock=sock, backlog=_ACCEPTED)
        sock.listen(_QUEUE)
        try:
            yield
        finally:
            server.close()
            for client in self._clients:
                client.cancel()
            self.path.unlink(missing_ok=True)

    async def _client(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        task = asyncio.current_task()
        if task is None or not self._make_room():
            writer.close()
            return
        self._clients.add(task)
        pending = bytearray()
        try:
            while True:
                self._silent[task] = None
                request = await self._request(reader, pending)
                self._silent.pop(task, None)
                if request is None:
                    break
                writer.write(await self._reply(request) + END)
                async with asyncio.timeout(SLOW):
                    await writer.drain()
        except (TimeoutError, ConnectionError, asyncio.CancelledError):
            writer.transport.abort()  # one that goes, sleeps or does not read: its own affair
        finally:
            self._waiting -= len(pending)
            self._silent.pop(task, None)
            self._clients.discard(task)
            writer.close()

    def _make_room(self) -> bool:
        """Whether there is room for one more client; somebody silent may have to go for it."""
        if len(self._clients) < MOST_CLIENTS:
            return True
        oldest = next(iter(self._silent), None)
        if oldest is None:
            return False
        del self._silent[oldest]
        self._clients.discard(oldest)
        oldest.cancel()
        return True

    async def _request(self, reader: asyncio.StreamReader, pending: bytearray) -> bytes | None:
        """The next request; None when the client has no more, or must have no more."""
        searched = 0
        async with asyncio.timeout(IDLE):
            while (end := pending.find(END, searched)) < 0:
                searched = max(0, len(pending) - len(END))
                piece = await reader.read(1 << 16)
                if not piece or len(pending) > LONGEST or self._waiting > MOST_WAITING:
                    return None
                pending += piece
                self._waiting += len(piece)
        request = bytes(pending[:end])
        del pending[: end + len(END)]
        self._waiting -= end + len(END)
        return None if request == CLOSE else request

    async def _reply(self, request: bytes) -> bytes:
        try:
            command = loads(request)
        except UnpickleError as error:
            log.error("PROTO-error: load message failed: %s", printable(str(error)))
            return pickle_out.unreadable(error)
        try:
            return pickle_out.success(await self._answer(command))
        except asyncio.CancelledError:
            raise
        except Exception as error:  # whatever a request leads to is told to the asker, and never ends the daemon
            return pickle_out.failure(error)


def _listen(path: Path) -> socket.socket:
    """A socket for its owner alone, from its first moment on; one that a dead server left is replaced."""
    _clear_stale(path)
    sock = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
    old_mask = os.umask(0o177)
    try:
        sock.bind(str(path))
    except OSError as error:
        sock.close()
        raise StateError(f"{path}: {error.strerror or error}; give another place with --fail2ban-socket") from error
    finally:
        os.umask(old_mask)
    return sock


def _clear_stale(path: Path) -> None:
    try:
        path.parent.mkdir(parents=True, exist_ok=True, mode=0o755)
        if not stat.S_ISSOCK(path.lstat().st_mode):
            raise StateError(f"{path}: is not a socket; give another place with --fail2ban-socket")
    except FileNotFoundError:
        return
    except OSError as error:
        raise StateError(f"{path}: {error.strerror or error}; give another place with --fail2ban-socket") from error
    with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as probe:
        probe.settimeout(1)
        try:
            probe.connect(str(path))
        except OSError:
            path.unlink(missing_ok=True)
            return
    raise StateError(f"{path}: a Fail2ban answers there; stop it, or give another place with --fail2ban-socket")
