"""Which files a pattern names: those that appear, vanish, are rotated, or lie behind links."""

from __future__ import annotations

import os
import shutil
import time

from sipguard.sources import follower as follower_module
from sipguard.sources.follower import Follower
from sipguard.sources.rotated import is_rotated
from tests.sources.following import Loop
from tests.sources.tailing import append


def test_missing_log_appears(tmp_path):
    """It has a problem until it is there, and is then read from its beginning."""
    log = tmp_path / "log"
    with Loop(str(log)) as loop:
        assert loop.follower.logs == {str(log): f"{log}: no such file"}
        append(log, b"a\n")
        loop.wait_for(b"a\n")
        assert loop.follower.logs == {str(log): None}


def test_glob(tmp_path):
    """A file that matches later is read whole, without waiting for a rescan; a rotated one is not read again."""
    pattern = str(tmp_path / "*.log*")
    with Loop(pattern, start=lambda path, file: file.seek(0, os.SEEK_END)) as loop:
        assert loop.follower.logs == {pattern: f"{pattern}: no such file yet"}
        append(tmp_path / "a.log", b"a\n")
        loop.wait_for(b"a\n")
        append(tmp_path / "b.log", b"b\n")
        append(tmp_path / "b.log.2.gz", b"compressed\n")
        loop.wait_for(b"a\nb\n")
        (tmp_path / "a.log").rename(tmp_path / "a.log.1")
        loop.follower.rescan()
        loop.pump()
        append(tmp_path / "a.log", b"c\n")
        loop.wait_for(b"a\nb\nc\n")
        assert sorted(loop.follower.logs) == [str(tmp_path / "a.log"), str(tmp_path / "b.log")]


def test_glob_forgets_removed_logs(tmp_path):
    """Dated logs that were removed do not stay open, nor in the list."""
    append(tmp_path / "full-1", b"a\n")
    append(tmp_path / "full-2", b"b\n")
    with Loop(str(tmp_path / "full-*")) as loop:
        loop.wait_for(b"a\nb\n")
        (tmp_path / "full-1").unlink()
        loop.follower.rescan()
        assert list(loop.follower.logs) == [str(tmp_path / "full-2")]


def test_glob_finds_the_rest_of_a_stored_log(tmp_path):
    """The log was rotated while sipguard was down and is not there yet: its rest is read, once."""
    append(tmp_path / "a.log", b"one\ntwo\n")
    with Loop(str(tmp_path / "*.log*")) as loop:
        position = loop.follower.read(4)[0].position
    (tmp_path / "a.log").rename(tmp_path / "a.log.1")
    with Loop(str(tmp_path / "*.log*"), positions={position.path: position}) as loop:
        loop.wait_for(b"two\n")


def test_directory_vanishes_and_returns(tmp_path):
    """A rescan watches it anew; what was written meanwhile is read."""
    directory = tmp_path / "service"
    log = directory / "log"
    with Loop(str(log)) as loop:
        for round_ in (b"a\n", b"b\n"):
            loop.chunks.clear()
            directory.mkdir()
            append(log, round_)
            loop.follower.rescan()
            loop.wait_for(round_)
            append(log, b"by event\n")
            loop.wait_for(round_ + b"by event\n")
            shutil.rmtree(directory)
            time.sleep(0.02)
            loop.follower.rescan()
            loop.pump()
            assert loop.follower.logs == {str(log): f"{log}: no such file"}


def test_directory_behind_a_symlink(tmp_path):
    """Events come with the real directory's name."""
    (tmp_path / "real").mkdir()
    (tmp_path / "link").symlink_to(tmp_path / "real")
    log = tmp_path / "link" / "log"
    with Loop(str(log)) as loop:
        append(log, b"a\n")
        loop.wait_for(b"a\n")


def test_symlinked_log_is_switched(tmp_path):
    """The link is in one directory, the dated files in another."""
    (tmp_path / "data").mkdir()
    log = tmp_path / "log"
    append(tmp_path / "data" / "2026-11-20.txt", b"a\n")
    log.symlink_to(tmp_path / "data" / "2026-11-20.txt")
    with Loop(str(log)) as loop:
        append(tmp_path / "data" / "2026-11-20.txt", b"b\n")
        loop.wait_for(b"a\nb\n")
        append(tmp_path / "data" / "2026-11-21.txt", b"c\n")
        (tmp_path / "new").symlink_to(tmp_path / "data" / "2026-11-21.txt")
        (tmp_path / "new").rename(log)
        loop.wait_for(b"a\nb\nc\n")
        loop.follower.rescan()
        append(tmp_path / "data" / "2026-11-21.txt", b"d\n")
        loop.wait_for(b"a\nb\nc\nd\n")


def test_restart_with_positions(tmp_path):
    """The positions of an earlier run are taken by path, `start` is not asked for those."""
    append(tmp_path / "a.log", b"1\n")
    append(tmp_path / "b.log", b"1\n")
    with Loop(str(tmp_path / "a.log")) as loop:
        loop.wait_for(b"1\n")
    append(tmp_path / "a.log", b"2\n")
    positions = {chunk.path: chunk.position for chunk in loop.chunks}
    asked = []

    def start(path, file):
        asked.append(path)
        return file.seek(0, os.SEEK_END)

    with Loop(str(tmp_path / "*.log"), positions=positions, start=start) as loop:
        loop.wait_for(b"2\n")
    assert asked == [str(tmp_path / "b.log")]


def test_thousands_of_logs(tmp_path, monkeypatch):
    """Neither is each compared with each, nor are all read at once."""
    asked = []
    monkeypatch.setattr(follower_module, "is_rotated", lambda name, base: asked.append(name) or is_rotated(name, base))
    for number in range(1500):
        (tmp_path / f"host-{number}.log").write_text("a line\n")
    (tmp_path / "host-7.log.1").write_text("an old line\n")
    follower = Follower([str(tmp_path / "*")], positions={}, notify=lambda: None)
    assert len(asked) < 4 * 1500
    first = follower.read()
    assert 0 < len(first) < 100
    paths = {chunk.path for chunk in first}
    while chunks := follower.read():
        paths |= {chunk.path for chunk in chunks}
    follower.stop()
    assert len(paths) == 1500
    assert str(tmp_path / "host-7.log.1") not in paths
