"""The soak test for 20 seconds; `make soak` takes longer."""

import pytest
from soak import soak


@pytest.mark.root
@pytest.mark.timeout(900)
def test_soak(tmp_path):
    """Load, rotation, reload, kill -9 and flushes at once: no ban lost or doubled, memory and descriptors flat."""
    reference = soak(20, tmp_path)
    assert reference.lines >= 20_000
    assert min(reference.events[what] for what in ("rotate", "reload", "flush", "kill")) >= 3
