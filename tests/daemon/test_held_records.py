"""Records at the end of a log: when they are looked at again."""

from __future__ import annotations

from dataclasses import replace
from types import SimpleNamespace

import pytest

from sipguard.daemon.held_records import HeldRecords
from sipguard.detection.record_rule import DOUBT_SETTLES, FOLDED_SETTLES, RECORD_SETTLES
from sipguard.model import Chunk, Filter, Jail, LogPath, Position
from sipguard.sources.lines import hash_head


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


def test_a_state_that_is_read_late(tmp_path):
    """What earlier runs have read of a log is left out, by each jail as far as it was; not in another file."""
    log = tmp_path / "log"
    log.write_bytes(b"one\ntwo\nthree\nfour\n")
    store = SimpleNamespace(changes=SimpleNamespace(positions={}))
    held, path = HeldRecords(store), str(log)
    there, key = replace(behind(log, 4), head=hash_head(b"one"), head_size=3), f"ahead\n{path}"
    ahead, left, stale = (Runner(held, 0) for _ in range(3))
    for name, one in (("ahead", ahead), ("left", left), ("stale", stale)):
        one.jail = Jail(name, Filter("x", ("<ADDR>",)), logpath=(LogPath(path),))
    old = replace(there, path=f"stale\n{path}", offset=14, inode=there.inode + 1)
    held.know({path: there, key: replace(there, path=key, offset=8), old.path: old}, [ahead, left, stale])
    assert [one.dropped for one in (ahead, left, stale)] == [[path]] * 3
    assert {name: place.offset for name, place in store.changes.positions.items()} == {
        key: 8, f"left\n{path}": 4, old.path: 4,
    }  # fmt: skip
    first = Chunk(path, b"one\n", behind(log, 4))
    assert held.unread("ahead", first) is None
    assert (held.unread("left", first).data, held.unread("stale", first).before) == (b"", b"one\n")
    held.position(first, {ahead: None, left: None}, 1000.0)
    assert store.changes.positions[key].offset == 8, "not back to what is read now"
    rest = held.unread("ahead", Chunk(path, b"two\nthree\n", behind(log, 14)))
    assert (rest.before, rest.data) == (b"two\n", b"three\n")
    held.know({path: there}, [ahead])
    log.unlink()
    assert held.unread("ahead", Chunk(path, b"new\n", replace(there, inode=there.inode + 1))).data == b"new\n"
