"""Fixtures of the daemon's tests."""

import pytest


@pytest.fixture
def log(tmp_path):
    """A log that is there and empty."""
    path = tmp_path / "freeswitch.log"
    path.touch()
    return path
