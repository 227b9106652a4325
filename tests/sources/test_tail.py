"""One log through everything that happens to logs: real files in a temporary directory."""

from __future__ import annotations

import errno
import logging
import os
import shutil
import subprocess
from pathlib import Path

import pytest

from sipguard.model import Position
from sipguard.sources.tail import Tail


def drain(tail, limit=262_144):
    """Everything that can be read now, as one string of bytes; and the last position."""
    data, position = b"", None
    while chunk := tail.read(limit):
        data += chunk.data
        position = chunk.position
    return data, position


def append(path, data):
    with Path(path).open("ab") as file:
        file.write(data)


@pytest.fixture
def log(tmp_path):
    return tmp_path / "log"


@pytest.fixture
def tail(log):
    tail = Tail(str(log))
    yield tail
    tail.close()


def resume(log, position, **options):
    return Tail(str(log), position=position, **options)


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


def test_partial_line_is_held_back(log, tail):
    """A line is given when its LF is there; until then the position stays at its beginning. CR stays."""
    append(log, b"one\r\ntw")
    data, position = drain(tail)
    assert (data, position.offset) == (b"one\r\n", 5)
    assert tail.read() is None
    append(log, b"o\n")
    data, position = drain(tail)
    assert (data, position.offset) == (b"two\n", 9)


def test_rename_reads_the_rest_first(log, tail):
    """What is written to the old file after its renaming is read, its last line gets LF, then comes the new file."""
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
    assert drain(tail)[0] == b"last line\nc\n"
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
    assert chunk.data == b"two\n"
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


@pytest.mark.parametrize("limit", [7, 64, 262_144])
def test_long_lines_are_left_out(log, limit):
    """A line longer than the limit is counted, the next one read; a restart within it counts it once more, not half."""
    append(log, b"ok\n" + b"x" * 2000 + b"\nnext\n" + b"y" * 101 + b"\n" + b"z" * 100 + b"\nend\n")
    tail = Tail(str(log), max_line=100)
    chunks = []
    while chunk := tail.read(limit):
        chunks.append(chunk)
    assert b"".join(chunk.data for chunk in chunks) == b"ok\nnext\n" + b"z" * 100 + b"\nend\n"
    assert sum(chunk.oversize for chunk in chunks) == 2
    assert chunks[-1].position.offset == log.stat().st_size
    tail.close()


def test_long_line_is_not_held_in_memory(log):
    """200 MB without an LF pass in bounded memory, each read bounded too."""
    import tracemalloc

    append(log, b"")
    os.truncate(log, 200_000_000)
    with log.open("r+b") as file:
        file.write(b"x")
        file.seek(0, os.SEEK_END)
        file.write(b"\nend\n")
    tail = Tail(str(log))
    tracemalloc.start()
    data, _ = drain(tail)
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert data == b"end\n"
    assert peak < 8_000_000
    tail.close()


def test_hole_is_skipped(log, tail):
    """A writer without O_APPEND goes on at its old offset after a truncation: the hole is no part of a line."""
    with log.open("wb", buffering=0) as writer:
        writer.write(b"old line\n" * 1000)
        drain(tail)
        os.truncate(log, 0)
        writer.seek(5_000_000_000)
        writer.write(b"new line\n")
        data, position = drain(tail)
        assert data == b"new line\n"
        assert position.offset == 5_000_000_009
        writer.write(b"more\n")
        second = resume(log, position)
        assert drain(second)[0] == drain(tail)[0] == b"more\n"
        second.close()


def test_nuls_between_lines(log, tail):
    """NULs that were really written, as a crash of the machine leaves them, are dropped as well."""
    append(log, b"a\n" + b"\0" * 300_000 + b"b\n\0\0c\n\0\0")
    assert drain(tail)[0] == b"a\nb\nc\n"
    append(log, b"d\n")
    assert drain(tail)[0] == b"d\n"


def test_beyond_four_gigabytes(log):
    """Offsets are 64 bits wide."""
    append(log, b"head\n")
    os.truncate(log, 6_000_000_000)
    append(log, b"\nend\n")
    tail = Tail(str(log), start=lambda file: file.seek(-5, os.SEEK_END))
    data, position = drain(tail)
    assert data == b"\nend\n"
    assert position.offset == 6_000_000_005
    tail.close()


def test_start_is_asked_once_and_only_for_a_file_there_from_the_first(log):
    """A log that appears later is new: all of it is read."""
    asked = []

    def end(file):
        asked.append(file.name)
        return file.seek(0, os.SEEK_END)

    later = Tail(str(log), start=end)
    append(log, b"old\n")
    there = Tail(str(log), start=end)
    assert there.read() is None
    append(log, b"new\n")
    assert drain(there)[0] == b"new\n"
    assert drain(later)[0] == b"old\nnew\n"
    assert asked == [str(log)]
    there.close()
    later.close()


def test_start_does_not_matter_with_a_position(log):
    """A stored position is better than a guess."""
    append(log, b"one\ntwo\n")
    first = Tail(str(log))
    position = first.read(4).position
    first.close()
    second = resume(log, position, start=lambda file: file.seek(0, os.SEEK_END))
    assert drain(second)[0] == b"two\n"
    second.close()


@pytest.mark.parametrize(
    ("make", "problem"),
    [
        (lambda path: None, "no such file"),
        (lambda path: path.mkdir(), "a directory, not a log file"),
        (os.mkfifo, "a FIFO, not a log file"),
        (lambda path: path.symlink_to("/dev/null"), "a device, not a log file"),
        (lambda path: path.symlink_to(path), os.strerror(errno.ELOOP).lower()),
    ],
    ids=["missing", "directory", "fifo", "device", "loop"],
)
def test_problems(log, make, problem):
    """What is no file that can be read is refused, with one line that says why; and read when it is mended."""
    make(log)
    tail = Tail(str(log))
    assert tail.read() is None
    assert tail.problem == f"{log}: {problem}"
    if log.is_dir():
        log.rmdir()
    else:
        log.unlink(missing_ok=True)
    append(log, b"fine\n")
    assert drain(tail)[0] == b"fine\n"
    assert tail.problem is None
    tail.close()


def test_permission_denied(log):
    """Another user's file: the problem says what to do."""
    if os.geteuid():
        pytest.skip("only root can become another user")
    append(log, b"secret\n")
    log.chmod(0o600)
    tail = Tail(str(log))
    os.seteuid(65534)
    try:
        assert tail.read() is None
        assert "permission denied" in tail.problem
    finally:
        os.seteuid(0)
    assert drain(tail)[0] == b"secret\n"
    tail.close()


@pytest.mark.parametrize("what", ["directory", "file"])
def test_rotated_files_that_may_not_be_read(tmp_path, what):
    """They keep nobody from reading the log itself: neither a directory without `r` nor an old file without."""
    if os.geteuid():
        pytest.skip("only root can become another user")
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


def test_control_bytes_in_a_name_are_escaped(tmp_path):
    """A problem is printed on terminals."""
    tail = Tail(str(tmp_path / "a\x1b[31m"))
    assert tail.problem.endswith(r"a\x1b[31m: no such file")


def test_io_error_is_survived(log, tail):
    """When the open file cannot be read (EIO, ESTALE; here EBADF), it is opened anew where it was left."""
    append(log, b"one\ntw")
    drain(tail)
    other = os.open(log, os.O_WRONLY)
    os.dup2(other, tail._reader._descriptor)  # the kernel refuses to read from it
    append(log, b"o\n")
    assert tail.read() is None
    assert "bad file descriptor" in tail.problem
    assert drain(tail)[0] == b"two\n"
    os.close(other)


def test_position_of_an_unknown_file(log, tail):
    """A position that fits nothing means reading from the beginning."""
    append(log, b"one\n")
    second = resume(log, Position(str(log), 1, 2, "00" * 16, 12, 4711))
    assert drain(second)[0] == b"one\n"
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
