"""The command line, called within the test's own process: what it prints and its exit status, without a new Python for each.

What only a process of its own can show (its start, its standard input, signals, a broken pipe) is tested in tests/cli.
"""

from __future__ import annotations

import contextlib
import io
import os
import subprocess
import sys
import threading
import time
from typing import TYPE_CHECKING

import messages

from sipguard.cli.main import main

if TYPE_CHECKING:
    from collections.abc import Iterator

_ONE_AT_A_TIME = threading.Lock()
"""Standard output and the arguments are the process's; some tests call from several threads."""


def sipguard(*arguments: object, stdin: str = "", timezone: str = "") -> subprocess.CompletedProcess[str]:
    """`sipguard ARGUMENTS`, in the time zone of the machine or another."""
    out, err = (io.TextIOWrapper(io.BytesIO(), encoding="utf-8", write_through=True) for _ in range(2))
    status: object = 0
    with _ONE_AT_A_TIME, _zone(timezone), contextlib.redirect_stdout(out), contextlib.redirect_stderr(err):
        before = sys.argv, sys.stdin
        sys.argv, sys.stdin = ["sipguard", *map(str, arguments)], io.TextIOWrapper(io.BytesIO(stdin.encode()))
        try:
            main()
        except SystemExit as ended:
            status = ended.code
        finally:
            sys.argv, sys.stdin = before
    texts = [stream.buffer.getvalue().decode() for stream in (out, err)]  # type: ignore[attr-defined]
    messages.note_command([str(one) for one in arguments], *texts)
    return subprocess.CompletedProcess(["sipguard", *map(str, arguments)], int(status or 0), *texts)


@contextlib.contextmanager
def _zone(name: str) -> Iterator[None]:
    before = os.environ.get("TZ")
    if name:
        os.environ["TZ"] = name
        time.tzset()
    try:
        yield
    finally:
        if name:
            os.environ.pop("TZ") if before is None else os.environ.update(TZ=before)
            time.tzset()
