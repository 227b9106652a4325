"""`python -m benchmarks.trace`: how many functions and files one ban touches on its way from a line of log to the kernel, and one
unban on its way from the control socket.

A daemon runs in this process, on a log with four failures of one address. Noted is every call inside `sipguard/` from the moment
that the fifth is written until the ban is logged (for the unban: from the request until its answer). Counted are distinct
functions, those of them that serve only what has come since d3a3447 (`since.toml`, as for `benchmarks.lines`), distinct files,
and how often a call was in another file than the call before it. With `--firewall nftables`, as root
in a network namespace, the way ends in the kernel: `ip netns exec NAME .venv/bin/python -m benchmarks.trace --firewall nftables`.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import sys
import tempfile
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import replace
from itertools import pairwise
from pathlib import Path
from types import CodeType, FrameType
from typing import Any

import sipguard
from benchmarks.lines import is_since
from sipguard.config.settings import load
from sipguard.daemon.start import protect

PACKAGE = str(Path(sipguard.__file__).parent)
ATTACKER = "203.0.113.66"
PATIENCE = 20.0
"""Seconds to wait for what should happen at once."""


class Trace:
    """The calls inside sipguard, in order, while it records."""

    def __init__(self) -> None:
        self.calls: list[CodeType] = []
        self._on = False
        # Threads take the hook over when they start, so it is set before the daemon makes any.
        threading.setprofile(self._note)
        sys.setprofile(self._note)

    @contextmanager
    def recording(self) -> Iterator[None]:
        """Begin anew, and note every call for as long as this context lasts."""
        self.calls.clear()
        self._on = True
        try:
            yield
        finally:
            self._on = False

    def _note(self, frame: FrameType, event: str, _argument: Any) -> None:
        if self._on and event == "call" and frame.f_code.co_filename.startswith(PACKAGE):
            self.calls.append(frame.f_code)

    def told(self) -> str:
        """The counts."""
        functions = set(self.calls)
        later = sum(is_since(*_place(code)) for code in functions)
        files = [code.co_filename for code in self.calls]
        changes = sum(before != after for before, after in pairwise(files))
        return (
            f"{len(functions)} functions, {later} of them new since; {len(set(files))} files, {changes} changes of file"
        )

    def listed(self) -> str:
        """Every function in the order of its first call."""
        places = dict.fromkeys((*_place(code), code.co_qualname) for code in self.calls)
        return "\n".join(f"{'+' if is_since(file, name) else ' '} {file} {whole}" for file, name, whole in places)


def _place(code: CodeType) -> tuple[str, str]:
    """The file below `sipguard/`, and the name of the function, of one within it that of the outer one."""
    return code.co_filename.removeprefix(f"{PACKAGE}/"), code.co_qualname.partition(".<locals>")[0]


def failure() -> str:
    """A line of FreeSWITCH's log: a wrong password, now."""
    date = time.strftime("%Y-%m-%d %H:%M:%S")
    return (
        f"{date}.123456 98.53% [WARNING] sofia_reg.c:1787 SIP auth failure (REGISTER) on sofia profile 'internal' "
        f"for [1000@192.0.2.10] from ip {ATTACKER}\n"
    )


async def ask(socket: Path, **request: str) -> dict[str, Any]:
    """One request to the control socket, and its answer."""
    reader, writer = await asyncio.open_unix_connection(socket)
    writer.write(json.dumps(request).encode() + b"\n")
    answer: dict[str, Any] = json.loads(await reader.readline())
    writer.close()
    await writer.wait_closed()
    return answer


async def logged(own_log: Path, text: str, times: int = 1) -> None:
    """Wait until our own log has it."""
    async with asyncio.timeout(PATIENCE):
        while not own_log.exists() or own_log.read_text().count(text) < times:
            await asyncio.sleep(0.01)


async def trace(folder: Path, firewall: str, *, names: bool) -> None:
    """Print what a ban and an unban touch."""
    # In folders of their own: that our log is written is no news of the other.
    log, own_log, socket = folder / "pbx" / "freeswitch.log", folder / "sipguard.log", folder / "sock"
    log.parent.mkdir()
    log.write_text("")
    (folder / "jails.d").mkdir()
    (folder / "jails.d" / "freeswitch.toml").write_text(f'enabled = true\nlogpath = "{log}"\n')
    (folder / "sipguard.toml").write_text(
        f'state_dir = "{folder}/state"\nsocket = "{socket}"\nlogtarget = "{own_log}"\n[firewall]\nbackend = "{firewall}"\n'
    )
    read = lambda: load(folder / "sipguard.toml")  # noqa: E731
    noted = Trace()
    daemon = asyncio.create_task(protect(replace(read()), read))
    await logged(own_log, "Jails started")
    with log.open("a") as file:
        file.write(failure() * 4)
        file.flush()
        await logged(own_log, "Found", times=4)
        await asyncio.sleep(1)  # until what is not part of the way (the state's being written) is over
        with noted.recording():
            file.write(failure())
            file.flush()
            await logged(own_log, f"Ban {ATTACKER}")
    print(f"ban: {noted.told()}")
    if names:
        print(noted.listed())
    await asyncio.sleep(1)
    with noted.recording():
        answer = await ask(socket, command="unban", address=ATTACKER)
    assert answer["ok"], answer
    print(f"unban: {noted.told()}")
    if names:
        print(noted.listed())
    daemon.cancel()
    with suppress(asyncio.CancelledError):
        await daemon


def main() -> None:
    """Trace one ban and one unban."""
    arguments = argparse.ArgumentParser(prog="benchmarks.trace", description=__doc__)
    arguments.add_argument("--firewall", default="memory", help="memory (default) or nftables")
    arguments.add_argument(
        "--names", action="store_true", help="list the functions too, with a + those that are new since"
    )
    given = arguments.parse_args()
    with tempfile.TemporaryDirectory(prefix="sipguard-trace-") as folder:
        asyncio.run(trace(Path(folder), given.firewall, names=given.names))


if __name__ == "__main__":
    main()
