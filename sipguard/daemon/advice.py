"""What `sipguard check` says of the running configuration, asked for in a process of its own.

The last lines of each log are searched for that, and strangers have written them: a search that takes long must keep nobody from
being banned, and its memory goes with the process.
"""

from __future__ import annotations

import asyncio
import contextlib
import json
import os
import signal
import sys
import time
from typing import Any

from sipguard.config.settings import Settings
from sipguard.errors import SipguardError

KEPT = 300.0
"""How long an answer is reused, in seconds."""
PATIENCE = 60.0
"""Time limit of one check, in seconds."""
NICENESS = 10
"""getpriority(2): detection goes first."""


class Review:
    """Keeps the last answer. Requests during a check share its result."""

    def __init__(self) -> None:
        self._answer: dict[str, Any] = {}
        self._asked = -KEPT
        self._lock = asyncio.Lock()

    async def ask(self, settings: Settings) -> dict[str, Any]:
        """`advice`, `errors`, `warnings` as `check --json` has them. Raises `SipguardError` when it cannot be had."""
        async with self._lock:
            if time.monotonic() > self._asked + KEPT:
                self._answer = await _checked(settings)
                self._asked = time.monotonic()
        return self._answer


async def _checked(settings: Settings) -> dict[str, Any]:
    place = ["--config", str(settings.config_file)]
    tree = ["--fail2ban-dir", str(settings.fail2ban_dir)] if settings.fail2ban_dir else []
    try:
        # -P: nothing is imported from the folder that the daemon happens to stand in.
        process = await asyncio.create_subprocess_exec(
            *[sys.executable, "-P", "-m", "sipguard", "check", "--json", *place, *tree],
            stdin=asyncio.subprocess.DEVNULL,
            stdout=asyncio.subprocess.PIPE,
            stderr=asyncio.subprocess.DEVNULL,
            start_new_session=True,
        )
    except OSError as error:
        raise SipguardError(f"sipguard check cannot be run: {error.strerror}") from error
    with contextlib.suppress(OSError):
        os.setpriority(os.PRIO_PROCESS, process.pid, NICENESS)
    try:
        async with asyncio.timeout(PATIENCE):
            told = json.loads((await process.communicate())[0])
    except TimeoutError:
        raise SipguardError(f"sipguard check has no answer after {PATIENCE:g} s; run it by hand") from None
    except ValueError:
        raise SipguardError("sipguard check fails; run it by hand") from None
    finally:
        if process.returncode is None:
            with contextlib.suppress(ProcessLookupError):
                os.killpg(process.pid, signal.SIGKILL)
            await process.wait()
    return {name: told[name] for name in ("advice", "errors", "warnings")}
