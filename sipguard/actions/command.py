"""Runs one command for an action: with a time limit, in a process group of its own, and with nothing of the daemon's open.

What it prints is kept up to a limit, for the message when it fails.
"""

from __future__ import annotations

import asyncio
import contextlib
import os
import signal
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Protocol

from sipguard.text import printable

GRACE = 0.5
"""Seconds between asking a process group to end and killing it."""
DRAIN = 0.2
"""Seconds for what is left in the pipe after the command has ended: a child in the background may hold it open."""
MAX_OUTPUT = 8_192
"""Bytes of output kept."""
AT_ONCE = 8
"""Commands that run at the same time."""
# For the daemon alone: a command that spoke to systemd would speak for the daemon.
_OWN = ("NOTIFY_SOCKET", "WATCHDOG_PID", "WATCHDOG_USEC", "LISTEN_FDS", "LISTEN_PID", "LISTEN_FDNAMES")


@dataclass(frozen=True, slots=True)
class Result:
    """How a command ended."""

    status: int | None
    """Exit status, negative for a signal; None when its time was up or it could not begin."""
    problem: str = ""
    """For people, one line: empty when it did its work."""
    output: str = ""
    """The end of what it printed, without a byte that a terminal obeys."""

    @property
    def ok(self) -> bool:
        return self.status == 0

    @property
    def timed_out(self) -> bool:
        """Whether it was cut by its time limit."""
        return self.status is None


class Run(Protocol):
    """Carries out a shell text; tests and `test-action` have their own."""

    async def __call__(self, script: str, variables: Mapping[str, str], limit: float) -> Result:
        """Run `script` with `variables` in its environment for `limit` seconds at most."""


class Runner:
    """Runs commands, so many at a time. The time limit counts from when the command begins."""

    def __init__(self, at_once: int = AT_ONCE) -> None:
        self._slots = asyncio.Semaphore(at_once)

    async def __call__(self, script: str, variables: Mapping[str, str], limit: float) -> Result:
        """Run a shell text, as Fail2ban does: by /bin/sh."""
        return await self.run(["/bin/sh", "-c", script], limit, variables=variables)

    async def run(
        self, command: Sequence[str], limit: float, *, variables: Mapping[str, str] | None = None, stdin: bytes = b""
    ) -> Result:
        """Run a program. Never raises but for cancellation, and then nothing of the command is left."""
        async with self._slots:
            try:
                process = await asyncio.create_subprocess_exec(
                    *command,
                    stdin=asyncio.subprocess.PIPE if stdin else asyncio.subprocess.DEVNULL,
                    stdout=asyncio.subprocess.PIPE,
                    stderr=asyncio.subprocess.STDOUT,
                    env=environment(variables or {}),
                    start_new_session=True,
                )
            except (OSError, ValueError) as error:  # ValueError: a NUL in the text
                reason = (error.strerror if isinstance(error, OSError) else None) or str(error)
                return Result(127, f"cannot be started: {reason}")
            return await _watch(process, limit, stdin)


def environment(variables: Mapping[str, str]) -> dict[bytes, bytes]:
    """The environment of a command: the daemon's own, without what speaks to systemd, and `variables`."""
    own = {os.fsencode(name): os.fsencode(value) for name, value in os.environ.items() if name not in _OWN}
    return own | {name.encode(): value.encode("utf-8", "surrogateescape") for name, value in variables.items()}


async def _watch(process: asyncio.subprocess.Process, limit: float, stdin: bytes) -> Result:
    output = bytearray()
    jobs = [asyncio.create_task(_read(process, output))]
    if stdin:
        jobs.append(asyncio.create_task(_write(process, stdin)))
    timed_out = False
    try:
        async with asyncio.timeout(limit):
            await process.wait()
    except TimeoutError:
        timed_out = True
    finally:
        if process.returncode is None:
            await asyncio.shield(end_group(process))
        await _drain(jobs)
        _close(process)
    lines = [printable(line) for line in bytes(output).decode("utf-8", "replace").strip().splitlines()]
    text = "\n".join(lines)
    if timed_out:
        return Result(None, f"cut after its time limit of {limit:g} s", text)
    status = process.returncode
    if status == 0:
        return Result(0, output=text)
    how = f"ended by signal {-status}" if status is not None and status < 0 else f"exit status {status}"
    return Result(status if status is not None else 1, f"{how}: {' '.join(lines)[-300:]}" if text else how, text)


async def _read(process: asyncio.subprocess.Process, output: bytearray) -> None:
    """Keep the end of what it prints, and read on, so that it never waits for a reader."""
    while process.stdout and (part := await process.stdout.read(4096)):
        output += part
        del output[:-MAX_OUTPUT]


async def _write(process: asyncio.subprocess.Process, data: bytes) -> None:
    if process.stdin is None:
        return
    with contextlib.suppress(BrokenPipeError, ConnectionResetError):  # it need not read what it is given
        process.stdin.write(data)
        await process.stdin.drain()
    process.stdin.close()


async def _drain(jobs: Sequence[asyncio.Task[None]]) -> None:
    _, pending = await asyncio.wait(jobs, timeout=DRAIN)
    for job in pending:
        job.cancel()
    await asyncio.gather(*jobs, return_exceptions=True)


def _close(process: asyncio.subprocess.Process) -> None:
    """Close our ends of its pipes: what still runs in the background writes to nobody."""
    process._transport.close()  # type: ignore[attr-defined]  # asyncio has no public way to it


async def end_group(process: asyncio.subprocess.Process) -> None:
    """End a process and all of its group: asked first, then killed."""
    for number in (signal.SIGTERM, signal.SIGKILL):
        with contextlib.suppress(ProcessLookupError, PermissionError):
            os.killpg(process.pid, number)
        if number == signal.SIGTERM:
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(GRACE):
                    await process.wait()
    # The group's leader has gone by now, or will as soon as the kernel lets it.
    with contextlib.suppress(TimeoutError):
        async with asyncio.timeout(GRACE):
            await process.wait()
