"""Takes back what `enable` has written, when sipguard is purged and nobody has said `enable --undo`.

The Debian package's postrm runs it when the program itself has gone: prerm keeps the few modules that it needs beside the record.
So this file imports nothing but those.
"""

from __future__ import annotations

import contextlib
import subprocess
import sys
from typing import TYPE_CHECKING

from sipguard.enable.found import ASTERISK_FOLDER, MANAGER_RELOAD
from sipguard.enable.machine import Machine
from sipguard.enable.writing import undo
from sipguard.errors import SipguardError

if TYPE_CHECKING:
    from collections.abc import Callable

_RELOAD_WITHIN = 30
"""Seconds for Asterisk to read its configuration again."""


def take_back(machine: Machine, say: Callable[[str], None]) -> None:
    """Put every file back as it was; say which, and which not. A running Asterisk forgets its manager user."""
    try:
        done, left = undo(machine, purge=True)
    except SipguardError as error:
        say(f"what enable has written stays: {error}")
        return
    for path in done:
        say(f"as it was before: {path}")
    for line in left:
        say(f"left alone: {line}")
    if machine.is_own and any(path.startswith(f"{ASTERISK_FOLDER}/") for path in done):
        with contextlib.suppress(OSError, subprocess.TimeoutExpired):  # it does not run, or is no longer there
            subprocess.run(MANAGER_RELOAD, capture_output=True, check=False, timeout=_RELOAD_WITHIN)


def main() -> None:
    """For postrm: on the machine itself, each line on standard error."""

    def say(line: str) -> None:
        sys.stderr.write(f"sipguard: {line}\n")

    take_back(Machine(), say)
