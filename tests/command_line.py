"""The command line, called within the test's own process: what it prints and its exit status, without a new Python for each.

What only a process of its own can show (its start, its standard input, signals, a broken pipe) is tested in tests/cli.
"""

from __future__ import annotations

import contextlib
import io
import subprocess
import sys
import threading

from sipguard.cli.main import main

_ONE_AT_A_TIME = threading.Lock()
"""Standard output and the arguments are the process's; some tests call from several threads."""


def sipguard(*arguments: object) -> subprocess.CompletedProcess[str]:
    """`sipguard ARGUMENTS`."""
    out, err = (io.TextIOWrapper(io.BytesIO(), encoding="utf-8", write_through=True) for _ in range(2))
    status: object = 0
    with _ONE_AT_A_TIME, contextlib.redirect_stdout(out), contextlib.redirect_stderr(err):
        before, sys.argv = sys.argv, ["sipguard", *map(str, arguments)]
        try:
            main()
        except SystemExit as ended:
            status = ended.code
        finally:
            sys.argv = before
    texts = [stream.buffer.getvalue().decode() for stream in (out, err)]  # type: ignore[attr-defined]
    return subprocess.CompletedProcess(["sipguard", *map(str, arguments)], int(status or 0), *texts)
