"""How the host's own programs are run: nft, ipset, iptables. The only place that knows of processes.

A process costs about a millisecond whatever it is told, so callers tell it much at once, on its standard input.
"""

from __future__ import annotations

import shutil
import subprocess
from typing import TYPE_CHECKING

from sipguard.errors import FirewallError

if TYPE_CHECKING:
    from collections import deque
    from collections.abc import Sequence

PATH = "/usr/local/sbin:/usr/sbin:/sbin:/usr/local/bin:/usr/bin:/bin"
"""Where programs are looked for: a service's own PATH often lacks sbin, and one set by somebody else is not to be trusted."""


REMEMBERED = 64
"""Numbers of processes that are kept, to know our own changes among those that the kernel tells of."""


class ProgramError(FirewallError):
    """A program was not found, hung, was killed, or refused; `stderr` is what it said then."""

    def __init__(self, what: str, stderr: str = "") -> None:
        self.stderr = stderr
        super().__init__(what)


def installed(name: str) -> bool:
    return shutil.which(name, path=PATH) is not None


def absent(name: str, package: str) -> ProgramError:
    """What to say where a program is not there; `package` has it."""
    return ProgramError(f"no program {name!r} in {PATH}: install the package {package}")


def run(
    command: Sequence[str], script: str = "", *, package: str, timeout: float = 30.0, pids: deque[int] | None = None
) -> str:
    """Run a program and give what it prints. Raises `ProgramError`; one that takes longer than `timeout` seconds is ended.

    `package` is what to install when it is not there; `pids` is given the number of the process.
    """
    name = command[0]
    program = shutil.which(name, path=PATH)
    if program is None:
        raise absent(name, package)
    try:
        process = subprocess.Popen(
            [program, *command[1:]],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            env={"PATH": PATH, "LC_ALL": "C"},
            process_group=0,  # a Ctrl-C at sipguard's terminal must not end it halfway
        )
    except OSError as error:
        raise ProgramError(f"cannot start {program}: {error.strerror}") from None
    if pids is not None:
        pids.append(process.pid)
    try:
        with process:
            output, complaint = _talk(process, script, timeout)
    except subprocess.TimeoutExpired:
        raise ProgramError(f"{name} did not end within {timeout:g} s") from None
    if process.returncode < 0:
        raise ProgramError(f"{name} was ended by signal {-process.returncode}")
    if process.returncode != 0:
        stderr = complaint.decode("utf-8", "replace")
        lines = [line for line in stderr.splitlines() if line.strip()] or ["no message"]
        raise ProgramError(f"{name} refused: {lines[0].strip()[:200]!r}", stderr or "no message")
    return output.decode("utf-8", "replace")


def _talk(process: subprocess.Popen[bytes], script: str, timeout: float) -> tuple[bytes, bytes]:
    try:
        return process.communicate(script.encode("ascii"), timeout)
    except subprocess.TimeoutExpired:
        process.kill()
        process.communicate()
        raise
