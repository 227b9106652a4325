"""One log through rotation of every kind, truncation and restarts: real files in a temporary directory."""

from __future__ import annotations

import logging
import os
import shutil
import subprocess
from pathlib import Path

import pytest

from sipguard.model import Position
from sipguard.sources.tail import Tail
from tests.sources.tailing import append, drain, resume

LONG = b"%06d a line that makes the head longer than it is\n"


@pytest.mark.parametrize("size", [2, 400], ids=["short head", "long head"])
def test_restart_goes_on_where_it_stopped(log, size):
    """A position taken before the restart gives exactly the lines after it."""
    append(log, b"".join(LONG % i for i in range(size)))
    first = Tail(str(log))
    data, position = drain(first)
    first.close()
    assert data.count(b"\n") == size
    assert position.offset == len(data)
    assert position.head_size == min(1024, len(data))
    append(log, b"later\n")
    second = resume(log, position)
    assert drain(second)[0] == b"later\n"
    second.close()


def test_rename_reads_the_rest_first(log, tail):
    """What is written to the old file after its renaming is read, its last line too, then comes the new file."""
    append(log, b"a\n")
    assert drain(tail)[0] == b"a\n"
    log.rename(log.with_suffix(".1"))
    assert tail.read() is None
    assert tail.problem == f"{log}: no such file"
    append(log.with_suffix(".1"), b"b\nlast")
    assert drain(tail)[0] == b"b\n"
    log.touch()
    append(log.with_suffix(".1"), b" line")
    assert tail.read() is None, "the new file is empty: the writer may still write to the old one"
    append(log, b"c\n")
    assert [tail.read().data for _ in range(2)] == [b"last line", b"c\n"]
    assert tail.read() is None
    assert tail.problem is None


def test_two_renames_between_two_reads(log, tail):
    """The file in between is read as well, in its turn."""
    append(log, b"a\n")
    drain(tail)
    append(log, b"b\n")
    log.rename(log.with_suffix(".2"))
    append(log, b"c\n")
    log.rename(log.with_suffix(".1"))
    append(log, b"d\n")
    assert drain(tail)[0] == b"b\nc\nd\n"


def test_delete_and_create(log, tail):
    """A removed file is read to its end through its open descriptor."""
    append(log, b"a\n")
    drain(tail)
    append(log, b"b\n")
    log.unlink()
    append(log, b"c\n")
    assert drain(tail)[0] == b"b\nc\n"


@pytest.mark.parametrize(
    "after", [b"n\n", b"n" * 17 + b"\n", b"n" * 5000 + b"\n"], ids=["shorter", "as long", "already longer"]
)
@pytest.mark.parametrize("copied", [True, False], ids=["copytruncate", "truncate"])
def test_truncation(log, tail, after, copied):
    """A truncated file is read from its beginning; what was unread then is taken from the copy, if there is one."""
    append(log, b"first line\n")
    drain(tail)
    append(log, b"unread\n")
    if copied:
        shutil.copy(log, f"{log}.1")
    os.truncate(log, 0)
    append(log, after)
    assert drain(tail)[0] == (b"unread\n" if copied else b"") + after


def test_truncated_to_nothing_then_written(log, tail):
    """Seen empty, then written to."""
    append(log, b"first\nsecond\n")
    drain(tail)
    os.truncate(log, 0)
    assert tail.read() is None
    append(log, b"third\n")
    assert drain(tail)[0] == b"third\n"


@pytest.mark.parametrize("down", [True, False], ids=["down", "running"])
def test_truncated_and_renamed(log, down):
    """Both happened between two reads: the truncated file, under its new name, is new from its beginning."""
    append(log, b"first line\n")
    tail = Tail(str(log))
    position = drain(tail)[1]
    os.truncate(log, 0)
    append(log, b"second\n")
    log.rename(f"{log}.1")
    append(log, b"third\n")
    if down:
        tail.close()
        tail = resume(log, position)
    assert drain(tail)[0] == b"second\nthird\n"
    tail.close()


def test_rewritten_in_place_is_not_read_again(log, tail, tmp_path):
    """An editor, or a restored backup, puts a copy in the log's place: same content, other inode."""
    append(log, b"".join(LONG % i for i in range(100)))
    drain(tail)
    shutil.copy(log, tmp_path / "copy")
    (tmp_path / "copy").rename(log)
    append(log, b"new\n")
    assert drain(tail)[0] == b"new\n"


@pytest.mark.parametrize("how", ["rename", "copy", "two renames", "dated", "restored"])
def test_rotated_while_down(log, how):
    """The old file's rest is found by inode and content, then come the newer ones, then the log itself."""
    append(log, b"one\ntwo\n")
    first = Tail(str(log))
    position = first.read(4).position
    first.close()
    assert position.offset == 4
    expected = b"two\nnew\n"
    if how == "rename":
        log.rename(f"{log}.1")
    elif how == "dated":
        log.rename(f"{log}-20261121")
    elif how == "copy":
        shutil.copy(log, f"{log}.1")
        os.truncate(log, 0)
    elif how == "two renames":
        log.rename(f"{log}.2")
        append(log, b"between\n")
        log.rename(f"{log}.1")
        expected = b"two\nbetween\nnew\n"
    else:
        shutil.copy(log, f"{log}.restored")
        log.unlink()
        Path(f"{log}.restored").rename(log)
    append(log, b"new\n")
    second = resume(log, position)
    assert drain(second)[0] == expected
    second.close()


def test_crash_between_old_rest_and_new_file(log, tail):
    """The position of the old file's last chunk, with its unended line, neither repeats nor loses anything."""
    append(log, b"one\n")
    drain(tail)
    append(log, b"two")
    log.rename(f"{log}.1")
    append(log, b"three\n")
    chunk = tail.read()
    assert chunk.data == b"two"
    second = resume(log, chunk.position)
    assert drain(second)[0] == b"three\n"
    second.close()


def test_compressed_rest_is_said(log, caplog):
    """What was compressed while sipguard was down is not read, and the log says so."""
    append(log, b"one\ntwo\n")
    first = Tail(str(log))
    position = first.read(4).position
    first.close()
    subprocess.run(["gzip", "-S", ".1.gz", str(log)], check=True)
    append(log, b"new\n")
    second = resume(log, position)
    with caplog.at_level(logging.WARNING):
        assert drain(second)[0] == b"new\n"
    assert f"{log}.1.gz" in caplog.text
    second.close()


def test_symlink_switched(tmp_path, tail, log):
    """A log that is a symbolic link to a dated file rotates when that is switched, also while sipguard is down."""
    day1, day2, day3 = (tmp_path / f"full-2026112{day}.txt" for day in (0, 1, 2))
    append(day1, b"a\n")
    log.symlink_to(day1)
    position = drain(tail)[1]
    append(day1, b"b\n")
    append(day2, b"c\n")
    (tmp_path / "new").symlink_to(day2)
    (tmp_path / "new").rename(log)
    assert drain(tail)[0] == b"b\nc\n"
    append(day3, b"d\n")
    log.unlink()
    log.symlink_to(day3)
    second = resume(log, position)
    assert drain(second)[0] == b"b\nc\nd\n"
    second.close()


@pytest.mark.root
@pytest.mark.parametrize("what", ["directory", "file"])
def test_rotated_files_that_may_not_be_read(tmp_path, what):
    """They keep nobody from reading the log itself: neither a directory without `r` nor an old file without."""
    directory = tmp_path / "service"
    directory.mkdir()
    for parent in (*tmp_path.parents[:3], tmp_path, directory):
        if parent.is_relative_to("/tmp") and parent != Path("/tmp"):
            parent.chmod(0o755)
    log = directory / "log"
    append(log, b"a\n")
    tail = Tail(str(log))
    os.seteuid(65534)
    try:
        assert drain(tail)[0] == b"a\n"
        os.seteuid(0)
        log.rename(f"{log}.2")
        append(f"{log}.1", b"secret\n")
        Path(f"{log}.1").chmod(0o600)
        append(log, b"b\n")
        if what == "directory":
            directory.chmod(0o711)
        os.seteuid(65534)
        assert drain(tail)[0] == b"b\n"
        assert tail.problem is None
    finally:
        os.seteuid(0)
    tail.close()


@pytest.mark.parametrize("size", [2, 400], ids=["short head", "long head"])
def test_the_file_read_before_may_not_be_read_any_more(log, monkeypatch, size):
    """Rotated and forbidden while sipguard was down: the log itself is read, and not waited for its old file."""
    append(log, b"".join(LONG % i for i in range(size)))
    first = Tail(str(log))
    position = drain(first)[1]
    first.close()
    old = log.with_suffix(".1")
    log.rename(old)
    append(log, b"new\n")
    allowed = os.access
    monkeypatch.setattr(os, "access", lambda path, *rest, **more: path != str(old) and allowed(path, *rest, **more))
    second = resume(log, position)
    assert drain(second)[0] == b"new\n"
    second.close()


def test_directory_vanishes_and_returns(tmp_path):
    """The log's whole directory is removed, and comes back with another log."""
    directory = tmp_path / "service"
    directory.mkdir()
    tail = Tail(str(directory / "log"))
    append(directory / "log", b"a\n")
    assert drain(tail)[0] == b"a\n"
    shutil.rmtree(directory)
    assert tail.read() is None
    position = Tail(str(directory / "log"), position=Position(str(directory / "log"), 1, 2, "00", 1, 1))
    assert position.read() is None
    directory.mkdir()
    append(directory / "log", b"b\n")
    assert drain(tail)[0] == b"b\n"
    tail.close()
