"""Tests that are named on the command line, in any order."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).parents[1]


def test_files_of_one_folder_with_another_between():
    """The fixtures of their conftest.py are found for all."""
    named = ["tests/daemon/test_control.py", "tests/test_text.py", "tests/daemon/test_whole_way.py"]
    command = [sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider", "--setup-plan", *named]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False)
    assert done.returncode in (0, 5), done.stdout[-3000:]  # 5: it says that none was run
