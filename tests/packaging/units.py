"""What systemd says of our units, as far as it can be asked without being the first process."""

import re
import shutil
import subprocess
import sys

import pytest


def with_a_program(unit, folder):
    """The unit, with a program that is there: sipguard need not be installed where it is tested."""
    if shutil.which("systemd-analyze") is None:
        pytest.skip("needs the program systemd-analyze")
    path = folder / unit.name
    path.write_text(unit.read_text().replace("/usr/bin/sipguard", sys.executable))
    return path


def analyze(*arguments):
    """Exit status and all that is said."""
    done = subprocess.run(["systemd-analyze", *map(str, arguments)], capture_output=True, text=True, check=False)
    return done.returncode, done.stdout + done.stderr


def exposure(unit):
    """Of 10, where 10 is a service without any restriction."""
    status, told = analyze("security", "--offline=true", unit)
    assert status == 0, told
    found = re.search(rf"Overall exposure level for {re.escape(unit.name)}: ([\d.]+)", told)
    assert found, told
    return float(found[1])
