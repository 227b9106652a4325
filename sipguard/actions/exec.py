"""Runs a program on a ban and gives it the ban as one line of JSON on its standard input: no shell, no argument to quote."""

from __future__ import annotations

import json
from collections.abc import Sequence

from sipguard.actions.base import ActionError, Notice
from sipguard.actions.command import Runner
from sipguard.actions.record import record
from sipguard.model import NativeAction


class Exec:
    """One `type = "exec"` action of a jail."""

    norestored = True
    essential = False
    flushes = True  # what ends with the daemon is no unban
    linger = 0.0
    batch = 1

    def __init__(self, action: NativeAction, runner: Runner) -> None:
        self._on = action.on
        self._command: Sequence[str] = action.options["command"]
        self._limit: float = action.options["timeout"]
        self._runner = runner
        self.longest = 86_400.0  # the wait for a free place; the run itself has its own limit

    async def handle(self, notices: Sequence[Notice]) -> None:
        """Run the program for each notice. Raises `ActionError`."""
        for notice in notices:
            if notice.verb not in self._on:
                continue
            line = json.dumps(record(notice)).encode() + b"\n"
            result = await self._runner.run(self._command, self._limit, stdin=line)
            if not result.ok:
                raise ActionError(f"{self._command[0]}: {result.problem}")

    async def close(self) -> None:
        """Nothing is held."""
