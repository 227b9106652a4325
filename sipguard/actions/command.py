"""Runs one command for an action: with a time limit, in its own process group, without the daemon's open files.

The end of its output is kept for the error message.
"""

from __future__ import annotations

import asyncio
import contextlib
import os
import signal
from collections.abc import Coroutine, Mapping, Sequence
from dataclasses import dataclass
from typing import Protocol, Self

from sipguard.text import printable

GRACE = 0.5
"""Seconds between asking a process group to end and killing it."""
MAX_OUTPUT = 8_192
"""Bytes of output kept."""
AT_ONCE = 8
"""Most commands that run at the same time."""
# Hidden from commands: one that notified systemd would do so in the daemon's name.
_OWN = ("NOTIFY_SOCKET", "WATCHDOG_PID", "WATCHDOG_USEC", "LISTEN_FDS", "LISTEN_PID", "LISTEN_FDNAMES")


@dataclass(frozen=True, slots=True)
class Result:
    """How a command ended."""

    status: int | None
    """Exit status, negative for a signal; None if it timed out or could not start."""
    problem: str = ""
    """One line for the operator; empty on success."""
    output: str = ""
    """The end of its output, without terminal control bytes."""

    @property
    def ok(self) -> bool:
        return self.status == 0

    @property
    def timed_out(self) -> bool:
        return self.status is None


class Run(Protocol):
    """Runs shell code; tests and `test-action` have their own implementation."""

    async def __call__(self, script: str, variables: Mapping[str, str], limit: float) -> Result:
        """Run `script` with `variables` in its environment, for at most `limit` seconds."""


class Runner:
    """Runs a limited number of commands at a time. A time limit counts from the command's start."""

    def __init__(self, at_once: int = AT_ONCE) -> None:
        self._slots = asyncio.Semaphore(at_once)

    async def __call__(self, script: str, variables: Mapping[str, str], limit: float) -> Result:
        """Run shell code with /bin/sh, like Fail2ban."""
        return await self.run(["/bin/sh", "-c", script], limit, variables=variables)

    async def run(
        self, command: Sequence[str], limit: float, *, variables: Mapping[str, str] | None = None, stdin: bytes = b""
    ) -> Result:
        """Run a program. Raises nothing but cancellation, after which no process of the command remains."""
        async with self._slots:
            with _Streams(stdin) as streams:
                try:
                    process = await asyncio.create_subprocess_exec(
                        *command,
                        stdin=streams.stdin,
                        stdout=streams.write_end,
                        stderr=streams.write_end,
                        env=environment(variables or {}),
                        start_new_session=True,
                    )
                except (OSError, ValueError) as error:  # ValueError: a NUL in the text
                    reason = (error.strerror if isinstance(error, OSError) else None) or str(error)
                    return Result(127, f"cannot be started: {reason}")
                return await _watch(process, limit, streams)


class _Streams:
    """The standard streams of a command.

    Not asyncio's pipes: with those, a process counts as ended only once all its children have closed them too.
    """

    def __init__(self, stdin: bytes) -> None:
        self.stdin: int = asyncio.subprocess.DEVNULL
        if stdin:
            # A file in memory: no writer is needed, even if the command reads slowly or not at all.
            self.stdin = os.memfd_create("ban")
            os.write(self.stdin, stdin)
            os.lseek(self.stdin, 0, os.SEEK_SET)
        self._read_end, self.write_end = os.pipe()
        os.set_blocking(self._read_end, False)
        self._output = bytearray()
        self._loop = asyncio.get_running_loop()

    def __enter__(self) -> Self:
        self._loop.add_reader(self._read_end, self._read)
        return self

    def __exit__(self, *_: object) -> None:
        self._loop.remove_reader(self._read_end)
        for descriptor in (self._read_end, self.write_end, self.stdin):
            if descriptor >= 0:
                os.close(descriptor)

    def _read(self) -> None:
        """Keep the end of the output, and keep reading so that the command never blocks."""
        with contextlib.suppress(BlockingIOError):
            self._output += os.read(self._read_end, 65_536)
            del self._output[:-MAX_OUTPUT]

    def lines(self) -> list[str]:
        """The last lines of output, made printable."""
        self._read()
        return [printable(line) for line in bytes(self._output).decode("utf-8", "replace").strip().splitlines()]


def environment(variables: Mapping[str, str]) -> dict[bytes, bytes]:
    """The environment of a command: the daemon's, without systemd's variables, plus `variables`."""
    own = {os.fsencode(name): os.fsencode(value) for name, value in os.environ.items() if name not in _OWN}
    return own | {name.encode(): value.encode("utf-8", "surrogateescape") for name, value in variables.items()}


async def _watch(process: asyncio.subprocess.Process, limit: float, streams: _Streams) -> Result:
    try:
        async with asyncio.timeout(limit):
            status = await process.wait()
    except TimeoutError:
        status = None
    finally:
        if process.returncode is None:
            await _surely(end_group(process))
    lines = streams.lines()
    text = "\n".join(lines)
    if status is None:
        return Result(None, f"stopped after its time limit of {limit:g} s", text)
    if status == 0:
        return Result(0, output=text)
    how = f"ended by signal {-status}" if status < 0 else f"exit status {status}"
    return Result(status, f"{how}: {' '.join(lines)[-300:]}" if text else how, text)


async def _surely(ending: Coroutine[object, object, None]) -> None:
    """Let it come to its end, and only then be cancelled: at the daemon's stop nobody else would kill the group."""
    task = asyncio.ensure_future(ending)
    try:
        await asyncio.shield(task)
    except asyncio.CancelledError:
        await asyncio.wait([task])
        raise


async def end_group(process: asyncio.subprocess.Process) -> None:
    """End a process and its whole group: SIGTERM first, then SIGKILL."""
    for number in (signal.SIGTERM, signal.SIGKILL):
        with contextlib.suppress(ProcessLookupError, PermissionError):
            os.killpg(process.pid, number)
        if number == signal.SIGTERM:
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(GRACE):
                    await process.wait()
    # The group's leader has ended by now, or will as soon as the kernel allows.
    with contextlib.suppress(TimeoutError):
        async with asyncio.timeout(GRACE):
            await process.wait()
