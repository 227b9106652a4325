"""Programs that are told of bans: what they get, and how they fail."""

from __future__ import annotations

import asyncio
import json

import pytest
from notices import HOSTILE, action, ban

from sipguard.actions.base import ActionError
from sipguard.actions.command import Runner
from sipguard.actions.exec import Exec


def test_exec(tmp_path):
    """The program gets the ban as JSON on its standard input, and nothing as an argument."""
    program = tmp_path / "told"
    program.write_text(f'#!/bin/sh\necho "$#" "$@" > {tmp_path}/arguments\ncat > {tmp_path}/input\n')
    program.chmod(0o755)

    async def run():
        worker = Exec(action(type="exec", command=[str(program), "-v", "a b"]), Runner())
        await worker.handle([ban()])

    asyncio.run(run())
    assert (tmp_path / "arguments").read_text() == "2 -v a b\n"
    assert json.loads((tmp_path / "input").read_text())["lines"] == [HOSTILE, "second"]


EXEC_FAILURES = {
    "fails": ("echo 'bad \x1b[31m'; exit 3", "60", "exit status 3: bad \\x1b[31m"),
    "hangs": ("sleep 100 & sleep 100", "0.3", "stopped after its time limit of 0.3 s"),
    "killed": ("kill -9 $$", "60", "ended by signal 9"),
    "reads nothing": ("exit 0", "60", None),
}


@pytest.mark.parametrize(("script", "limit", "error"), EXEC_FAILURES.values(), ids=EXEC_FAILURES)
def test_exec_fails(tmp_path, script, limit, error):
    """How it ended is told."""
    program = tmp_path / "told"
    program.write_text(f"#!/bin/sh\n{script}\n")
    program.chmod(0o755)

    async def run():
        return await tells(Exec(action(type="exec", command=[str(program)], timeout=limit), Runner()))

    async def tells(worker):
        try:
            await worker.handle([ban()])
        except ActionError as failed:
            return str(failed)
        return None

    assert asyncio.run(run()) == (f"{program}: {error}" if error else None)
