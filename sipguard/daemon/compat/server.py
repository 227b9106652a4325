"""Answers Fail2ban's clients on a Unix socket: one pickle and an end mark in, the same out, several on one connection.

Clients are bounded in number, in bytes and in time, all of them together too: whatever they send, others are answered.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
from collections.abc import AsyncIterator, Awaitable, Callable
from pathlib import Path
from typing import Any

from sipguard.fail2ban.protocol import pickle_out
from sipguard.fail2ban.protocol.messages import CLOSE, END
from sipguard.fail2ban.protocol.unpickle import LONGEST, UnpickleError, loads
from sipguard.sockets import cut, listening
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
        with listening(self.path, mend="give another place with --fail2ban-socket") as sock:
            server = await asyncio.start_unix_server(self._client, sock=sock, backlog=_ACCEPTED)
            sock.listen(_QUEUE)
            try:
                yield
            finally:
                server.close()
                for client in self._clients:
                    client.cancel()

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
            cut(writer)  # the client hung up, idled or does not read: drop it
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
