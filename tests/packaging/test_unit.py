"""The unit file as systemd sees it."""

import re
import subprocess
import sys
import textwrap
from pathlib import Path

import pytest

from tests.packaging.units import analyze, exposure, with_a_program

UNIT = Path(__file__).parents[2] / "packaging/systemd/sipguard.service"
MOST_EXPOSED = 2.0
"""Of 10, where 10 is a service without any restriction."""


@pytest.fixture
def unit(tmp_path):
    """The unit, with a program that is there: sipguard need not be installed where it is tested."""
    return with_a_program(UNIT, tmp_path)


def test_verify_is_silent(unit):
    """No key is unknown, no value wrong."""
    assert analyze("verify", unit) == (0, "")


def test_exposure(unit):
    """Two capabilities and little else."""
    assert exposure(unit) <= MOST_EXPOSED


def test_a_key_that_is_wrong_would_be_told(unit):
    """The check above can fail."""
    unit.write_text(unit.read_text().replace("Type=notify", "Type=notified"))
    said = analyze("verify", unit)[1]
    assert "Failed to parse service type" in said or "Failed to parse Type=notified" in said  # Debian 12; Debian 13


RESTRICTED = """
    import ctypes
    libc = ctypes.CDLL(None, use_errno=True)
    assert libc.prctl(38, 1, 0, 0, 0) == 0  # PR_SET_NO_NEW_PRIVS: NoNewPrivileges
    if {denied} and libc.prctl(65, 1, 0, 0, 0) != 0:  # PR_SET_MDWE: MemoryDenyWriteExecute
        raise SystemExit(77)
    from sipguard.detection.pcre2 import Pattern, told
    at = Pattern("^failed from (.*)$").matcher(b"x\\nfailed from 203.0.113.5\\n")
    print(at(0), told())
"""


@pytest.mark.parametrize("denied", [None, True])
def test_the_search_compiles_under_the_unit(denied):
    """Logs are searched by machine code with what the unit allows, and would not be with MemoryDenyWriteExecute."""
    if denied is None:
        denied = bool(re.search(r"(?m)^MemoryDenyWriteExecute\s*=\s*(?:yes|true|on|1)", UNIT.read_text()))
        expected = "with JIT"
    else:
        expected = "no JIT"
    code = textwrap.dedent(RESTRICTED.format(denied=denied))
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    if done.returncode == 77:
        pytest.skip("this kernel has no PR_SET_MDWE (Linux 6.3)")
    assert done.stdout.startswith("2 "), done.stderr
    assert expected in done.stdout


def test_no_core():
    """A core would hold the keys of feeds and the passwords of actions."""
    assert "\nLimitCORE=0\n" in UNIT.read_text()
