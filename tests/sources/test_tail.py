"""One log with all that logs hold, and what is in the place of logs: real files in a temporary directory."""

from __future__ import annotations

import errno
import os

import pytest

from sipguard.model import Position
from sipguard.sources.tail import LOOK_BACK, Tail
from tests.sources.tailing import append, drain, resume


def test_partial_line_is_held_back(log, tail):
    """A line is given when its LF is there; until then the position stays at its beginning. CR stays."""
    append(log, b"one\r\ntw")
    data, position = drain(tail)
    assert (data, position.offset) == (b"one\r\n", 5)
    assert tail.read() is None
    append(log, b"o\n")
    data, position = drain(tail)
    assert (data, position.offset) == (b"two\n", 9)


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


def test_what_stands_before_is_read_once_there_is_something_to_read(log):
    """Of thousands of logs of which nothing comes, nothing is held."""
    import tracemalloc

    append(log, b"before\n" * 100_000)
    tail = Tail(str(log))
    _, position = drain(tail)
    tail.close()
    tracemalloc.start()
    tail = resume(log, position)
    assert tail.read() is None
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert peak < LOOK_BACK / 2
    append(log, b"new\n")
    chunk = tail.read()
    assert (chunk.data, chunk.before) == (b"new\n", b"before\n" * (LOOK_BACK // len(b"before\n")))
    append(log, b"newer\n")
    assert tail.read().before == b""
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
        asked.append(os.fstat(file.fileno()).st_ino)
        return file.seek(0, os.SEEK_END)

    later = Tail(str(log), start=end)
    append(log, b"old\n")
    there = Tail(str(log), start=end)
    assert there.read() is None
    append(log, b"new\n")
    assert drain(there)[0] == b"new\n"
    assert drain(later)[0] == b"old\nnew\n"
    assert asked == [log.stat().st_ino]
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


class _Swapped:
    """Puts a FIFO into a log's place as soon as that has been opened, as who may write to the folder can."""

    def __init__(self, log, monkeypatch):
        self._log, self._open = log, os.open
        self.done = False
        monkeypatch.setattr("os.open", self)

    def __call__(self, path, *more, **options):
        descriptor = self._open(path, *more, **options)
        if os.fspath(path) == str(self._log) and not self.done:
            self.done = True
            self._log.rename(f"{self._log}.elsewhere")
            os.mkfifo(self._log)
        return descriptor


@pytest.mark.timeout(30)
def test_a_fifo_in_the_place_of_what_was_a_log(log, monkeypatch):
    """No open(2) waits for its writer: that would stop the whole daemon."""
    append(log, b"one\ntwo\n")
    swapped = _Swapped(log, monkeypatch)
    tail = Tail(str(log), start=lambda file: len(file.readline()))
    assert tail.read().data == b"two\n"
    assert swapped.done
    tail.close()


@pytest.mark.root
def test_permission_denied(log):
    """Another user's file: the problem says what to do."""
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
