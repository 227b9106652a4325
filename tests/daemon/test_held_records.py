"""Records at the end of a log: when they are looked at again."""

from __future__ import annotations

from types import SimpleNamespace

import pytest

from sipguard.daemon.held_records import HeldRecords
from sipguard.detection.record_rule import DOUBT_SETTLES, FOLDED_SETTLES, RECORD_SETTLES
from sipguard.model import Position


class Runner:
    """Stands for a jail that holds a record back for so long."""

    def __init__(self, seconds, size=0):
        self.seconds = seconds
        self.size = size
        self.asked = []
        self.dropped = []
        self.holds = True
        self.jail = SimpleNamespace(name="jail")
        self.detectors = SimpleNamespace(held=self.held, drop=self.dropped.append)

    def held(self, _path):
        """Bytes of it."""
        return self.size if self.holds else None

    def release(self, _path, idle, _changes, _told):
        """The log has stood still for so long."""
        self.asked.append(idle)
        self.holds = idle < self.seconds


def held_by(runner, changes):
    """The records at the ends of logs, all of this jail."""
    return HeldRecords(SimpleNamespace(changes=changes, touched=lambda: None), lambda _path: [runner])


def behind(path, offset):
    """The place in a file that is there."""
    status = path.stat()
    return Position(str(path), status.st_dev, status.st_ino, "", 0, offset)


@pytest.mark.parametrize("seconds", [RECORD_SETTLES, FOLDED_SETTLES, DOUBT_SETTLES])
def test_a_record_is_looked_at_when_it_may_be_whole(tmp_path, seconds):
    """A few times, however long it takes, and at its time."""
    path, runner, now = str(tmp_path / "log"), Runner(seconds), 1000.0
    changes = SimpleNamespace(positions={})
    held = held_by(runner, changes)
    position = Position(path, 1, 1, "", 0, 10)
    assert held.position(position, now) == position
    wait = 0.0
    while wait is not None:
        wait = held.release(now)
        now += wait or 0.0
    assert runner.asked[-1] == pytest.approx(seconds if seconds > RECORD_SETTLES else FOLDED_SETTLES, abs=1e-4)
    assert len(runner.asked) <= 3
    assert changes.positions == {path: position}


def test_a_record_whose_rest_is_still_to_be_read(tmp_path):
    """However long other logs take: what stands behind it is read first, if it is read within some seconds."""
    path, runner, now = tmp_path / "log", Runner(FOLDED_SETTLES), 1000.0
    changes = SimpleNamespace(positions={})
    held = held_by(runner, changes)
    path.write_bytes(b"x\n  rest\n")
    held.position(behind(path, 2), now)
    for seconds in (RECORD_SETTLES, 2 * RECORD_SETTLES, FOLDED_SETTLES, 0.5, DOUBT_SETTLES - 0.01):
        assert held.release(now + seconds) is not None
        assert (runner.asked, changes.positions) == ([], {})
    held.position(behind(path, 9), now + 5)
    assert held.release(now + 5 + 2 * FOLDED_SETTLES) is None
    assert changes.positions == {str(path): behind(path, 9)}
    runner.holds = True
    held.position(behind(path, 2), now)
    assert held.release(now + DOUBT_SETTLES) is None  # nobody can read on


@pytest.mark.parametrize("more", [b"", b"  rest\n"])
def test_a_record_at_the_stop(tmp_path, more):
    """Whoever reads on reads a record again, and whole, behind which the file goes on."""
    path, runner = tmp_path / "log", Runner(FOLDED_SETTLES, size=2)
    changes = SimpleNamespace(positions={})
    held = held_by(runner, changes)
    path.write_bytes(b"x\n" + more)
    held.position(behind(path, 2), 1000.0)
    held.release_all()
    assert bool(runner.asked) is bool(changes.positions) is not more
    assert runner.dropped == [str(path)] * bool(more)
