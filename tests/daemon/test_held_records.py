"""Records at the end of a log: when they are looked at again."""

from __future__ import annotations

from types import SimpleNamespace

import pytest

from sipguard.daemon.held_records import HeldRecords
from sipguard.detection.record_rule import DOUBT_SETTLES, FOLDED_SETTLES, RECORD_SETTLES
from sipguard.model import Chunk, Position


class Runner:
    """A jail that holds back the last record of a log, so many bytes, until the log has stood still for so many seconds."""

    def __init__(self, held, seconds, size=0):
        self.records = held
        self.seconds = seconds
        self.size = size
        self.asked = []
        self.dropped = []
        self.jail = SimpleNamespace(name="jail")
        self.detectors = SimpleNamespace(drop=self.dropped.append)

    def read(self, position, now):
        """The log was read up to here; gives where a restart reads on."""
        return self.take(Chunk(position.path, b"x", position), now)

    def take(self, chunk, now):
        """As `LogReader` does."""
        if chunk.idle:
            self.asked.append(chunk.idle)
        return self.records.position(chunk, {self: None if chunk.idle >= self.seconds else self.size}, now)

    def release(self, now):
        """What is whole by then is told; gives where a restart reads on."""
        return [self.take(chunk, now) for chunk in self.records.whole(now)]


@pytest.fixture
def held():
    """The records at the ends of logs."""
    return HeldRecords(SimpleNamespace(changes=SimpleNamespace(positions={})))


def behind(path, offset):
    """The place in a file that is there."""
    status = path.stat()
    return Position(str(path), status.st_dev, status.st_ino, "", 0, offset)


@pytest.mark.parametrize("seconds", [RECORD_SETTLES, FOLDED_SETTLES, DOUBT_SETTLES])
def test_a_record_is_looked_at_when_it_may_be_whole(tmp_path, held, seconds):
    """A few times, however long it takes, and at its time."""
    path, runner, now = str(tmp_path / "log"), Runner(held, seconds), 1000.0
    position = Position(path, 1, 1, "", 0, 10)
    assert runner.read(position, now) == position
    told = []
    while held.logs:
        told += runner.release(now)
        now += held.wait(now) if held.logs else 0.0
    assert runner.asked[-1] == pytest.approx(seconds if seconds > RECORD_SETTLES else FOLDED_SETTLES, abs=1e-4)
    assert len(runner.asked) <= 3
    assert told[-1] == position


def test_a_record_whose_rest_is_still_to_be_read(tmp_path, held):
    """However long other logs take: what stands behind it is read first, if it is read within some seconds."""
    path, runner, now = tmp_path / "log", Runner(held, FOLDED_SETTLES), 1000.0
    path.write_bytes(b"x\n  rest\n")
    runner.read(behind(path, 2), now)
    for seconds in (RECORD_SETTLES, 2 * RECORD_SETTLES, FOLDED_SETTLES, 0.5, DOUBT_SETTLES - 0.01):
        assert runner.release(now + seconds) == []
        assert held.logs
    runner.read(behind(path, 9), now + 5)
    assert runner.release(now + 5 + 2 * FOLDED_SETTLES) == [behind(path, 9)]
    assert not held.logs
    runner.read(behind(path, 2), now)
    assert len(runner.release(now + DOUBT_SETTLES)) == 1  # nobody can read on


@pytest.mark.parametrize("more", [b"", b"  rest\n"])
def test_a_record_at_the_stop(tmp_path, held, more):
    """Whoever reads on reads a record again, and whole, behind which the file goes on."""
    path, runner = tmp_path / "log", Runner(held, FOLDED_SETTLES, size=2)
    path.write_bytes(b"x\n" + more)
    assert runner.read(behind(path, 2), 1000.0).offset == 0
    told = [runner.take(chunk, 1001.0) for chunk in held.left()]
    assert told == ([] if more else [behind(path, 2)])
    assert runner.dropped == [str(path)] * bool(more)
    assert not held.logs
