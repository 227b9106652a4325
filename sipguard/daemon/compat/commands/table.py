"""Every request of Fail2ban's clients, and who answers it."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Awaitable, Callable, Sequence
from typing import Any

from sipguard import __version__
from sipguard.daemon.compat.commands import bans, jail_get, jail_set, server_wide, status
from sipguard.daemon.compat.host import Host
from sipguard.fail2ban.protocol.messages import SPOKEN_VERSION, InvalidCommandError
from sipguard.text import printable

log = logging.getLogger("fail2ban.transmitter")

Request = Sequence[Any]

LONGEST_SLEEP = 3600.0
"""Seconds of `sleep`."""
MOST_SHOWN = 200
"""Characters of a request in the log."""


class RequestTable:
    """Answers requests. What is wrong with one is raised, to be told to the asker as Fail2ban does."""

    def __init__(self, host: Host) -> None:
        self._host = host
        self._plain: dict[str, Callable[[Request], Any]] = {
            # Of sipguard alone: its client asks who is there.
            "sipguard-version": lambda _: __version__,
            "ping": lambda _: "pong",
            "add": self._add,
            "set": self._set,
            "multi-set": lambda request: self._set(request, multiple=True),
            "get": self._get,
            "start": lambda request: jail_set.wake(host, str(request[1])),
            "stop": self._stop,
            "reload": self._reload,
            "unban": self._unban,
            "banned": lambda request: bans.banned(host, list(map(str, request[1:]))),
            "echo": lambda request: request[1:],
            "server-status": lambda _: "Server ready",
            "server-stream": self._server_stream,
            "sleep": lambda request: asyncio.sleep(min(float(request[1]), LONGEST_SLEEP)),
            "flushlogs": lambda _: "rolled over" if host.flush_logs() else "flushed",
            "status": lambda request: status.status(host, list(map(str, request[1:]))),
            "stats": lambda _: status.status(host, ["--all", "stats"]),
            "statistics": lambda _: status.status(host, ["--all", "stats"]),
            "version": lambda _: SPOKEN_VERSION,
            "config-error": lambda request: log.error("%s", printable(str(request[1]))),
        }

    async def answer(self, request: Any) -> Any:
        """What to answer: plain data. Raises what Fail2ban would."""
        try:
            action = self._plain.get(request[0]) if isinstance(request[0], str) else None
            if action is None:
                raise InvalidCommandError("Invalid command")
            answer = action(request)
            return await answer if isinstance(answer, Awaitable) else answer
        except Exception as error:
            log.error("Command %s has failed. Received %r", printable(repr(request)[:MOST_SHOWN]), error)
            raise

    def _server_stream(self, request: Request) -> Any:
        """A configuration that a client has read: sipguard reads its own, and runs by that."""
        log.info("A client sent a configuration of %d commands; sipguard's own is used", len(request[1]))

    async def _add(self, request: Request) -> Any:
        name = str(request[1])
        if name == "--all":
            raise InvalidCommandError(f"Reserved name {name!r}")
        await self._host.add(name, str(request[2]) if len(request) > 2 else "auto")
        return name

    async def _stop(self, request: Request) -> Any:
        if len(request) == 1:
            self._host.quit()
        elif request[1] == "--all":
            for name in self._host.names():
                await self._host.stop(name)
        else:
            await self._host.stop(str(request[1]))

    async def _reload(self, request: Request) -> Any:
        """`reload JAIL|--all [options] [configuration]`; the configuration is sipguard's own, whatever the client sends."""
        name, options = str(request[1]), list(request[2])
        if name != "--all":
            if name not in self._host.names() and "--if-exists" in options:
                return "OK"
            self._host.jail(name)
        if "--unban" in options:
            await self._host.unban(None if name == "--all" else name, None)
        await self._host.reload()
        return "OK"

    async def _unban(self, request: Request) -> Any:
        if len(request) < 2:
            raise InvalidCommandError("Invalid command")
        addresses = [str(one) for one in request[1:]]
        return len(await self._host.unban(None, None if addresses == ["--all"] else addresses))

    def _get(self, request: Request) -> Any:
        name = str(request[1])
        if name in server_wide.GET:
            return server_wide.GET[name](self._host)
        return jail_get.get(self._host, name, request[2:])

    async def _set(self, request: Request, *, multiple: bool = False) -> Any:
        name = str(request[1])
        if name in server_wide.SET:
            return server_wide.SET[name](self._host, request[2])
        key = str(request[2])
        if key in bans.SET:
            return await bans.SET[key](self._host, name, [str(one) for one in request[3:]])
        return jail_set.change(self._host, name, key, list(request[3:]), multiple=multiple)
