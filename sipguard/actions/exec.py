"""Runs a program on a ban, with the ban as one line of JSON on standard input: no shell, no quoting."""

from __future__ import annotations

import json
from collections.abc import Sequence

from sipguard.actions.base import ActionError, Notice, Worker
from sipguard.actions.command import Runner
from sipguard.actions.record import record
from sipguard.model import NativeAction


class Exec(Worker):
    """One `type = "exec"` action of a jail."""

    def __init__(self, action: NativeAction, runner: Runner) -> None:
        self._on = action.on
        self._command: Sequence[str] = action.options["command"]
        self._limit: float = action.options["timeout"]
        self._runner = runner
        self.longest = 86_400.0  # includes waiting for a free slot; the run itself has its own limit

    async def handle(self, notices: Sequence[Notice]) -> None:
        for notice in notices:
            if notice.verb not in self._on:
                continue
            line = json.dumps(record(notice)).encode() + b"\n"
            result = await self._runner.run(self._command, self._limit, stdin=line)
            if not result.ok:
                raise ActionError(f"{self._command[0]}: {result.problem}")
