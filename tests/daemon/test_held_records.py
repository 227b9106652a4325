"""Records at the end of a log: when they are looked at again."""

from __future__ import annotations

from types import SimpleNamespace

import pytest

from sipguard.daemon.held_records import HeldRecords
from sipguard.detection.record_rule import DOUBT_SETTLES, FOLDED_SETTLES, RECORD_SETTLES
from sipguard.model import Chunk, Position


class Runner:
    """Stands for a jail that holds a record back for so long."""

    def __init__(self, seconds):
        self.seconds = seconds
        self.asked = []
        self.holds = True

    def held(self, _path):
        """Bytes of it."""
        return 0 if self.holds else None

    def release(self, _path, idle, _changes, _told):
        """The log has stood still for so long."""
        self.asked.append(idle)
        self.holds = idle < self.seconds


@pytest.mark.parametrize("seconds", [RECORD_SETTLES, FOLDED_SETTLES, DOUBT_SETTLES])
def test_a_record_is_looked_at_when_it_may_be_whole(tmp_path, seconds):
    """A few times, however long it takes, and at its time."""
    path, runner, now = str(tmp_path / "log"), Runner(seconds), 1000.0
    changes = SimpleNamespace(positions={})
    held = HeldRecords(SimpleNamespace(changes=changes, touched=lambda: None), lambda _path: [runner])
    position = Position(path, 1, 1, "", 0, 10)
    assert held.position(Chunk(path, b"x\n", position), now) == position
    wait = 0.0
    while wait is not None:
        wait = held.release(now)
        now += wait or 0.0
    assert runner.asked[-1] == pytest.approx(seconds if seconds > RECORD_SETTLES else FOLDED_SETTLES, abs=1e-4)
    assert len(runner.asked) <= 3
    assert changes.positions == {path: position}
