"""A purge takes back what `enable` has written, with the few modules that the package's prerm keeps for it."""

from __future__ import annotations

import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
from command_line import sipguard
from machines import MACHINES, Tree

PROJECT = Path(__file__).parents[2]
PRERM = (PROJECT / "packaging/debian/sipguard/prerm").read_text()
TAKE_BACK = """
import sys
from pathlib import Path
sys.path.insert(0, sys.argv[1])
from sipguard.enable.machine import Machine
from sipguard.enable.purging import take_back
take_back(Machine(Path(sys.argv[2])), print)
"""


@pytest.fixture
def kept(tmp_path):
    """What prerm keeps, and nothing else of sipguard."""
    (names,) = re.findall(r"for name in (.*); do", PRERM)
    for name in names.split():
        file = tmp_path / f"kept/sipguard/{name}.py"
        file.parent.mkdir(parents=True, exist_ok=True)
        shutil.copy(PROJECT / f"sipguard/{name}.py", file)
    return tmp_path / "kept"


def _purge(kept, tree):
    line = [sys.executable, "-I", "-S", "-B", "-c", TAKE_BACK, kept, tree.root]
    return subprocess.run(line, capture_output=True, text=True, check=True).stdout


@pytest.mark.parametrize("name", sorted(one.name for one in MACHINES.iterdir() if one.is_dir()))
def test_every_file_is_as_before(tmp_path, kept, name):
    """Though dpkg has removed its conffile already, which is not brought back."""
    tree = Tree(name, tmp_path)
    before = tree.snapshot()
    tree.write("/etc/sipguard/sipguard.toml", "# the package's\n")
    assert sipguard("enable", "--root", tree.root, "--yes").returncode == 0
    (tree.root / "etc/sipguard/sipguard.toml").unlink()
    assert "as it was before: /etc/sipguard/jails.d/" in _purge(kept, tree)
    after = tree.snapshot()
    assert {path: found for path, found in after.items() if path != "etc/sipguard"} == before


def test_what_was_changed_since_stays(tmp_path, kept):
    """And is named."""
    tree = Tree("asterisk-debian", tmp_path)
    assert sipguard("enable", "--root", tree.root, "--yes").returncode == 0
    user = "/etc/asterisk/manager.d/sipguard.conf"
    tree.write(user, tree.text(user) + "; mine\n")
    assert f"left alone: {user}: changed since" in _purge(kept, tree)
    assert "; mine" in tree.text(user)


def test_a_record_that_cannot_be_read(tmp_path, kept):
    """One line; the purge goes on."""
    tree = Tree("asterisk-debian", tmp_path)
    tree.write("/etc/sipguard/undo/enable.json", "{")
    assert _purge(kept, tree).startswith(
        "what enable has written stays: /etc/sipguard/undo/enable.json: cannot be read"
    )


def test_uninstall_of_a_venv(tmp_path):
    """`service uninstall --purge` takes it back as well."""
    tree = Tree("asterisk-debian", tmp_path)
    before = tree.snapshot()
    assert sipguard("service", "install", "--root", tree.root).returncode == 0
    assert sipguard("enable", "--root", tree.root, "--yes").returncode == 0
    assert sipguard("service", "uninstall", "--purge", "--root", tree.root).returncode == 0
    files = {path: found for path, found in tree.snapshot().items() if found[0] is not None}
    assert files == {path: found for path, found in before.items() if found[0] is not None}
