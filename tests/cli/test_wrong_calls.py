"""A call that is wrong: one line that names the command and where help is, exit status 2, never a traceback."""

from __future__ import annotations

import subprocess
import sys

import pytest
from command_line import sipguard

CALLS = [
    pytest.param(["nosuch"], "sipguard: No such command 'nosuch'. Try: sipguard --help", id="command"),
    pytest.param(["check", "--nosuch"], "sipguard check: No such option '--nosuch'. Try: sipguard check --help", id="option"),
    pytest.param(["test-filter", "x"], "sipguard test-filter: Missing argument 'FILTER'.", id="argument"),
    pytest.param(["run", "--firewall", "x"], "sipguard run: Invalid value for '--firewall': 'x' is not one of", id="choice"),
    pytest.param(["status", "a", "b\nc"], "sipguard status: Got unexpected extra argument (b\\nc) Try:", id="too many"),
    pytest.param(["unban"], "sipguard unban: give an address, or --all. Try: sipguard unban --help", id="our own word"),
    *(
        pytest.param(
            ["test-filter", "-e", name, "bad 192.0.2.1", "bad <HOST>"], f"sipguard: encoding {name!a} is not known", id=name
        )
        for name in ("rot13", "base64", "undefined", "idna", "utf-32", "cp037", "a\nb", "\x1b[2J")
    ),
]  # fmt: skip


@pytest.mark.parametrize(("arguments", "said"), CALLS)
def test_one_line(arguments, said):
    """On standard error, and nothing on standard output."""
    done = sipguard(*arguments)
    assert done.returncode == 2
    assert done.stdout == ""
    (line,) = done.stderr.splitlines()
    assert line.startswith(said)


def test_without_anything():
    """`sipguard` alone shows its help."""
    done = subprocess.run([sys.executable, "-m", "sipguard"], capture_output=True, text=True, check=False)
    assert done.returncode in (0, 2)
    assert "First steps:" in done.stdout + done.stderr
