"""Standard streams that are closed, or full: said in one line, and never a traceback."""

from __future__ import annotations

import os
import subprocess
import sys

import pytest


def _call(*arguments, redirected):
    # Python keeps what it could not write only with a buffer.
    environment = {name: value for name, value in os.environ.items() if name != "PYTHONUNBUFFERED"}
    command = [sys.executable, "-m", "sipguard", *arguments]
    return subprocess.run(
        ["sh", "-c", f'exec "$@" {redirected}', "sh", *command],
        capture_output=True,
        env=environment,
        text=True,
        check=False,
    )


@pytest.mark.parametrize("call", [["--help"], ["completion", "bash"]], ids=" ".join)
def test_a_full_disk(call):
    """It names what is full, and Python adds nothing at its end."""
    done = _call(*call, redirected=">/dev/full")
    assert (done.returncode, done.stderr) == (2, "sipguard: standard output: No space left on device\n")


@pytest.mark.parametrize("redirected", [">&-", "<&-", "2>&-", "<&- >&- 2>&-"])
def test_closed(redirected, tmp_path):
    """What would have been said there is dropped; the exit status is as always."""
    (tmp_path / "sipguard.toml").write_text('[firewall]\nbackend = "memory"\n')
    done = _call("check", "-c", str(tmp_path / "sipguard.toml"), redirected=redirected)
    assert done.returncode == 0
    assert done.stdout.startswith(str(tmp_path)) is (">&-" not in redirected.replace("2>&-", ""))
    assert ("warning: " in done.stderr) is ("2>&-" not in redirected)
    wrong = _call("status", "--socket", str(tmp_path / "none"), redirected=redirected)
    assert wrong.returncode == 2
    assert "Traceback" not in wrong.stderr
