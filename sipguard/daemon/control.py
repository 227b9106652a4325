"""The control socket: one JSON object a line in, one a line out.

{"command": "ban", "address": "203.0.113.5", "jail": "asterisk"}
{"ok": true, "result": …, "took": 0.001}     or     {"ok": false, "error": "one line for people", "status": 1}

`took` are the seconds of the processor that this program needed meanwhile: who asks again and again can spare it.
"""

from __future__ import annotations

import asyncio
import contextlib
import grp
import json
import os
import time
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping
from pathlib import Path
from typing import Any

from sipguard.config.settings import Settings
from sipguard.errors import SipguardError, StateError
from sipguard.sockets import cut, listening
from sipguard.text import printable

Command = Callable[[Mapping[str, Any]], Awaitable[Any]]
"""Takes the request, gives what JSON can say. Raises `SipguardError` for the asker to read."""

LONGEST_REQUEST = 1 << 20
"""Bytes of one request: room for thousands of addresses, not for filling the memory."""
IDLE = 60.0
"""A client that sends or reads nothing for this many seconds is disconnected."""
MOST_CLIENTS = 200
"""Most connections at once. One more closes the oldest, so that a flood blocks nobody for long."""


MEND = "give another place with --socket"


def group_id(group: str) -> int:
    """The number of a group; -1, which changes nothing, for none. Raises `StateError`: there is no such group."""
    try:
        return grp.getgrnam(group).gr_gid if group else -1
    except KeyError as error:
        raise StateError(f'socket_group = "{group}": there is no such group; create it, or name another') from error


def read_socket(settings: Settings) -> Path:
    """Where questions alone are answered: where the settings say, or beside the socket for everything."""
    if settings.read_socket:
        return Path(settings.read_socket)
    full = Path(settings.socket)
    return full.with_name(f"{full.stem}-read.sock")


class Control:
    """Answers on a Unix socket. Raises `StateError` where the socket cannot be made."""

    def __init__(
        self, path: Path, commands: Mapping[str, Command], *, ready: Callable[[], Awaitable[object]], group: str = ""
    ) -> None:
        """Who asks before the daemon is `ready` waits for it."""
        self.path = path
        self._ready = ready
        self._commands = commands
        self._group = group
        self._clients: dict[asyncio.Task[None], None] = {}
        """Those that are connected, the oldest first."""

    @contextlib.asynccontextmanager
    async def serving(self) -> AsyncIterator[None]:
        """Answer for as long as this context lasts."""
        with listening(self.path, mend=MEND) as sock:
            self._share()
            server = await asyncio.start_unix_server(self._client, sock=sock, limit=LONGEST_REQUEST)
            try:
                yield
            finally:
                server.close()
                for client in self._clients:
                    client.cancel()

    def _share(self) -> None:
        """Let the configured group talk to it, too."""
        if self._group:
            number = group_id(self._group)
            try:
                os.chown(self.path, -1, number)
                self.path.chmod(0o660)
            except OSError as error:
                raise StateError(f'socket_group = "{self._group}": {error}') from error

    async def _client(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        task = asyncio.current_task()
        if task is None:
            return
        if len(self._clients) >= MOST_CLIENTS:
            oldest = next(iter(self._clients))
            del self._clients[oldest]  # now: it ends at the loop's next turn, and others may come before
            oldest.cancel()
        self._clients[task] = None
        try:
            async with asyncio.timeout(IDLE):
                while line := await reader.readline():
                    begun = time.process_time()
                    answer = await self._answer(line)
                    if answer["ok"]:
                        answer["took"] = round(time.process_time() - begun, 6)
                    writer.write(json.dumps(answer).encode() + b"\n")
                    await writer.drain()
                writer.close()
                await writer.wait_closed()
        except (TimeoutError, ConnectionError, ValueError, asyncio.CancelledError):
            pass  # the client hung up, idled or sent too much: drop it
        finally:
            self._clients.pop(task, None)
            # What was not read by now never will be: the buffers go with it.
            cut(writer)

    async def _answer(self, line: bytes) -> dict[str, Any]:
        try:
            request = json.loads(line)
            name = str(request["command"])
        except (ValueError, TypeError, KeyError, RecursionError):
            return {"ok": False, "error": "not a request: one JSON object a line, with a known command", "status": 2}
        command = self._commands.get(name)
        if command is None:
            return {"ok": False, "error": f"{printable(name, 100)}: unknown command", "status": 2}
        await self._ready()
        try:
            return {"ok": True, "result": await command(request)}
        except SipguardError as error:
            return {"ok": False, "error": str(error), "status": error.exit_status}
        except (KeyError, TypeError, ValueError, RecursionError) as error:
            return {"ok": False, "error": f"{name}: {error!r}", "status": 2}
