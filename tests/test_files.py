"""Files and folders that this process may not read."""

import contextlib
import os
import tempfile
from pathlib import Path

import pytest

from sipguard.files import closed_folder
from sipguard.sources.follower import Follower


@contextlib.contextmanager
def as_a_user():
    """Root may enter every folder: as somebody else."""
    user = os.geteuid()
    os.seteuid(user or 65534)
    try:
        yield
    finally:
        os.seteuid(user)


@pytest.fixture
def closed():
    """A folder that nobody may enter, in one that all may: pytest closes its own."""
    with tempfile.TemporaryDirectory() as name:
        Path(name).chmod(0o755)
        folder = Path(name) / "closed"
        folder.mkdir(mode=0)
        yield folder
        folder.chmod(0o700)


def test_a_folder_that_may_not_be_entered(closed):
    """It is named, for what is in it or below; a folder that may be entered, or is not there, is not."""
    open_ = closed.parent
    with as_a_user():
        for inside in ("a.log", "*.log", "below/a.log", "*/a.log"):
            assert closed_folder(f"{closed}/{inside}") == str(closed)
        for outside in (open_ / "a.log", open_ / "*.log", open_ / "none" / "*.log", "/*/a.log"):
            assert not closed_folder(str(outside))


def test_a_glob_in_a_closed_folder(closed):
    """Nobody can know whether there is a log: that is told, not that there is none."""
    patterns = [f"{closed}/*.log", f"{closed.parent}/*.log"]
    with as_a_user():
        follower = Follower(patterns, positions={}, notify=lambda: None)
        first, second = map(follower.logs.__getitem__, patterns)
    assert "permission denied" in first
    assert second.endswith("no such file yet")
