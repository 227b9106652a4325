"""Fixtures of the tests of one followed log."""

from __future__ import annotations

import pytest

from sipguard.sources.tail import Tail


@pytest.fixture
def log(tmp_path):
    """Where the log will be."""
    return tmp_path / "log"


@pytest.fixture
def tail(log):
    """Follows it."""
    one = Tail(str(log))
    yield one
    one.close()
