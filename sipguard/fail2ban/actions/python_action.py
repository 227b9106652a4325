"""A Python action of action.d (`smtp.py`), at work in a process of its own that lives as long as its jail.

The process is `python_runner`; it is started at the first notice, and again when it has died or was killed because a
call took too long, in which case the action is new and has its `start` called first.
"""

from __future__ import annotations

import asyncio
import contextlib
import json
import logging
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from sipguard.actions.base import ActionError, Notice
from sipguard.actions.command import end_group, environment
from sipguard.actions.tags import Values
from sipguard.actions.ticket import JailFacts, Ticket, blank
from sipguard.errors import ConfigError
from sipguard.model import Action, Clock
from sipguard.text import printable

log = logging.getLogger("fail2ban.actions")

TIMEOUT = 60.0
"""Seconds that a call may take."""
_HERE = Path(__file__).parent
_NUMBERS = ("failures", "bantime", "bancount", "restored", "ipfailures", "ipjailfailures")


class PythonAction:
    """One action.d/*.py file at work in one jail. Raises `ConfigError`: there is no such file."""

    essential = False
    norestored = False  # the action itself knows, and is asked by its runner
    linger = 0.0
    batch = 1
    flushes = False

    def __init__(self, action: Action, jail: JailFacts, *, clock: Clock, limit: float = TIMEOUT) -> None:
        if not Path(action.python).is_file():
            raise ConfigError(f"action {action.name}: there is no file {printable(action.python)}", action.origin)
        self.longest = 3 * limit
        self._action = action
        self._jail = jail
        self._clock = clock
        self._limit = limit
        self._process: asyncio.subprocess.Process | None = None
        self._started = False

    async def handle(self, notices: Sequence[Notice]) -> None:
        """Call the action's method of each notice's name. Raises `ActionError`."""
        for notice in notices:
            match notice.verb:
                case "start":
                    await self._begin()
                    await self._start()
                case "stop":
                    await self._stop()
                case "ban" | "unban" | "prolong":
                    await self._begin()
                    if not self._started:
                        await self._start()
                    await self._call(notice.verb, info(notice.ticket))

    async def _start(self) -> None:
        """Once tried, it counts as started: an action that cannot tell of the start can tell of bans, maybe."""
        self._started = True
        await self._call("start")

    async def _stop(self) -> None:
        if self._started and self._process is not None and self._process.returncode is None:
            self._started = False
            await self._call("stop")

    async def close(self) -> None:
        """End the process."""
        process, self._process = self._process, None
        self._started = False
        if process is not None and process.returncode is None:
            await end_group(process)

    async def _begin(self) -> None:
        """Make sure that there is a process with the action in it."""
        if self._process is not None and self._process.returncode is None:
            return
        self._started = False
        try:
            self._process = await asyncio.create_subprocess_exec(
                sys.executable,
                "-I",
                str(_HERE / "python_runner.py"),
                str(_HERE / "standin"),
                stdin=asyncio.subprocess.PIPE,
                stdout=asyncio.subprocess.PIPE,
                stderr=asyncio.subprocess.DEVNULL,
                env=environment({}),
                start_new_session=True,
            )
        except OSError as error:
            raise ActionError(f"cannot be started: {error.strerror}") from error
        bantime = blank(self._jail, self._clock()).bantime
        first = {"path": self._action.python, "name": self._action.name, "jail": self._jail.name, "bantime": bantime}
        try:
            await self._ask({**first, "options": dict(self._action.properties)})
        except ActionError:
            await self.close()
            raise

    async def _call(self, method: str, about: Mapping[str, Any] | None = None) -> None:
        await self._ask({"call": method, "info": about})

    async def _ask(self, request: Mapping[str, Any]) -> None:
        """One request and its answer. Raises `ActionError`; when the time is up, or it has died, the process ends."""
        what = request.get("call", "its beginning")
        try:
            async with asyncio.timeout(self._limit):
                answer = await self._exchange(request)
        except TimeoutError:
            await self.close()
            raise ActionError(f"{what}: cut after its time limit of {self._limit:g} s") from None
        except (OSError, ValueError, asyncio.IncompleteReadError):  # ValueError: a line too long, or no JSON
            await self.close()
            raise ActionError(f"{what}: its process has died") from None
        if "error" in answer:
            raise ActionError(f"{what}: {printable(str(answer['error']), 300)}")

    async def _exchange(self, request: Mapping[str, Any]) -> dict[str, Any]:
        process = self._process
        if process is None or process.stdin is None or process.stdout is None:
            raise BrokenPipeError
        process.stdin.write(json.dumps(request).encode() + b"\n")
        with contextlib.suppress(ConnectionResetError):  # then there is no answer either
            await process.stdin.drain()
        while True:
            answer = json.loads(await process.stdout.readuntil())
            if not isinstance(answer, dict):
                raise ValueError
            if "log" not in answer:
                return answer
            log.warning("[%s] %s: %s", self._jail.name, self._action.name, printable(str(answer["log"]), 300))


def info(ticket: Ticket) -> dict[str, Any]:
    """The tags as a Python action gets them: numbers are numbers."""
    found: dict[str, Any] = dict(Values(ticket).all())
    del found["ip-host"]  # looked up in the action's own process, if it asks
    found |= {tag: int(text) for tag, text in found.items() if tag in _NUMBERS or tag.startswith("jail.")}
    found["time"] = ticket.ban.since
    found["F-*"] = {"matches": list(ticket.matches), "failures": ticket.ban.attempts, **ticket.data}
    return found
