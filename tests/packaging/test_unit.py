"""The unit file as systemd sees it."""

import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

UNIT = Path(__file__).parents[2] / "packaging/systemd/sipguard.service"
MOST_EXPOSED = 2.0
"""Of 10, where 10 is a service without any restriction."""


@pytest.fixture
def unit(tmp_path):
    """The unit, with a program that is there: sipguard need not be installed where it is tested."""
    if shutil.which("systemd-analyze") is None:
        pytest.skip("needs the program systemd-analyze")
    path = tmp_path / UNIT.name
    path.write_text(UNIT.read_text().replace("/usr/bin/sipguard", sys.executable))
    return path


def _analyze(*arguments):
    done = subprocess.run(["systemd-analyze", *map(str, arguments)], capture_output=True, text=True, check=False)
    return done.returncode, done.stdout + done.stderr


def test_verify_is_silent(unit):
    """No key is unknown, no value wrong."""
    assert _analyze("verify", unit) == (0, "")


def test_exposure(unit):
    """Two capabilities and little else."""
    status, told = _analyze("security", "--offline=true", unit)
    assert status == 0, told
    found = re.search(r"Overall exposure level for sipguard.service: ([\d.]+)", told)
    assert found, told
    assert float(found[1]) <= MOST_EXPOSED


def test_a_key_that_is_wrong_would_be_told(unit):
    """The check above can fail."""
    unit.write_text(unit.read_text().replace("Type=notify", "Type=notified"))
    assert "Failed to parse service type" in _analyze("verify", unit)[1]
