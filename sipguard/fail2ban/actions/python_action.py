"""Runs a Python action of action.d (`smtp.py`) in its own process, which lives as long as the jail.

The process runs `python_runner`. It is started at the first notice, and again if it has died or was killed because a call
took too long. The action is then new, and its `start` is called first.
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

from sipguard.actions.base import ActionError, Notice, Worker
from sipguard.actions.command import end_group, environment
from sipguard.actions.tags import Values
from sipguard.actions.ticket import JailFacts, Ticket, blank
from sipguard.errors import ConfigError
from sipguard.model import Action, Clock
from sipguard.text import printable

log = logging.getLogger("fail2ban.actions")

TIMEOUT = 60.0
"""Time limit of one call, in seconds."""
_HERE = Path(__file__).parent
_NUMBERS = ("failures", "bantime", "bancount", "restored", "ipfailures", "ipjailfailures")


class PythonAction(Worker):
    """One action.d/*.py file running for one jail. Raises `ConfigError` if the file does not exist."""

    norestored = False  # the action itself decides; its runner asks it
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
        """Call the action's method named by each notice. Raises `ActionError`."""
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
        """Call `start`. It counts as started even if that fails, since bans may still work."""
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
        """Make sure that the action's process is running."""
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
        """Send one request and read its answer. Raises `ActionError`; after a timeout the process is ended."""
        what = request.get("call", "its beginning")
        try:
            async with asyncio.timeout(self._limit):
                answer = await self._exchange(request)
        except TimeoutError:
            await self.close()
            raise ActionError(f"{what}: stopped after its time limit of {self._limit:g} s") from None
        except (OSError, ValueError, asyncio.IncompleteReadError):  # ValueError: line too long, or not JSON
            await self.close()
            raise ActionError(f"{what}: its process has died") from None
        if "error" in answer:
            raise ActionError(f"{what}: {printable(str(answer['error']), 300)}")

    async def _exchange(self, request: Mapping[str, Any]) -> dict[str, Any]:
        process = self._process
        if process is None or process.stdin is None or process.stdout is None:
            raise BrokenPipeError
        process.stdin.write(json.dumps(request).encode() + b"\n")
        with contextlib.suppress(ConnectionResetError):  # then no answer follows either
            await process.stdin.drain()
        while True:
            answer = json.loads(await process.stdout.readuntil())
            if not isinstance(answer, dict):
                raise ValueError
            if "log" not in answer:
                return answer
            log.warning("[%s] %s: %s", self._jail.name, self._action.name, printable(str(answer["log"]), 300))


def info(ticket: Ticket) -> dict[str, Any]:
    """The tags as a Python action receives them: numbers as numbers."""
    found: dict[str, Any] = dict(Values(ticket).all())
    del found["ip-host"]  # looked up in the action's own process on demand
    found |= {tag: int(text) for tag, text in found.items() if tag in _NUMBERS or tag.startswith("jail.")}
    found["time"] = ticket.ban.since
    found["F-*"] = {"matches": list(ticket.matches), "failures": ticket.ban.attempts, **ticket.data}
    return found
