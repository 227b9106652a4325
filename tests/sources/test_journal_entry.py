"""Entries of the journal as journalctl writes them in JSON, and the queries that ask for them."""

from __future__ import annotations

import asyncio
import json
import os

import pytest
from hypothesis import given
from hypothesis import strategies as st

from sipguard.errors import ConfigError
from sipguard.model import Position
from sipguard.sources import journal
from sipguard.sources.journal import LONGEST, JournalFollower, has_journal
from sipguard.sources.journal_entry import read_entry
from sipguard.sources.journal_query import query

BASE = {"__REALTIME_TIMESTAMP": "1795300149760496", "__CURSOR": "s=1;i=2"}

RENDERED = [
    pytest.param(
        {"_HOSTNAME": "h", "SYSLOG_IDENTIFIER": "sshd", "SYSLOG_PID": "7", "MESSAGE": "m"}, "h sshd[7]: m", id="syslog"
    ),
    pytest.param({"_HOSTNAME": "h", "_COMM": "c", "_PID": "8", "MESSAGE": "m"}, "h c[8]: m", id="program's own name"),
    pytest.param({"_HOSTNAME": "h", "SYSLOG_IDENTIFIER": "x", "MESSAGE": "m"}, "h x: m", id="no pid"),
    pytest.param({"MESSAGE": "m"}, "m", id="message alone"),
    pytest.param({"_HOSTNAME": "h"}, "h ", id="no message"),
    pytest.param({"MESSAGE": "a\nb"}, "a\\nb", id="line feeds are written"),
    pytest.param({"MESSAGE": [104, 105, 255]}, "hi\ufffd", id="bytes"),
    pytest.param({"MESSAGE": ["a", "b"]}, "a b", id="twice"),
    pytest.param({"MESSAGE": None}, "", id="too large for JSON"),
    pytest.param(
        {"_HOSTNAME": "h", "SYSLOG_IDENTIFIER": "kernel", "_SOURCE_MONOTONIC_TIMESTAMP": "2500000", "MESSAGE": "m"},
        "h kernel: [    2.500000] m",
        id="the kernel has its own clock",
    ),
]


@pytest.mark.parametrize(("fields", "text"), RENDERED)
def test_rendered(fields, text):
    """As syslog would have it."""
    entry = read_entry(json.dumps({**BASE, **fields}).encode())
    assert (entry.text, entry.cursor, entry.time) == (text, "s=1;i=2", 1795300149.760496)


def test_time_of_the_program():
    """When the program says when it was, that is when it was."""
    entry = read_entry(json.dumps({**BASE, "_SOURCE_REALTIME_TIMESTAMP": "1000000"}).encode())
    assert (entry.time, entry.received) == (1.0, 1795300149760496)


JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=8),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=4), inner, max_size=3),
    max_leaves=6,
)


@given(
    st.one_of(st.binary(max_size=40), st.dictionaries(st.sampled_from([*BASE, "MESSAGE", "_HOSTNAME", "_PID"]), JSON))
)
def test_any_line(given_):
    """Whatever stands there: an entry of one line, or none."""
    line = given_ if isinstance(given_, bytes) else json.dumps({**BASE, **given_}).encode()
    entry = read_entry(line)
    assert entry is None or "\n" not in entry.text


QUERIES = [
    pytest.param((), {}, ["--system", "--merge"], [], id="all of the system's"),
    pytest.param(
        ("_SYSTEMD_UNIT=a.service + _COMM=b",),
        {"journalflags": "1"},
        [],
        ["_SYSTEMD_UNIT=a.service", "+", "_COMM=b"],
        id="or",
    ),
    pytest.param(
        ("A=1 B=2", "C='3 4'"), {"journalflags": "1"}, [], ["A=1", "B=2", "+", "C=3 4"], id="lines are alternatives"
    ),
    pytest.param((), {"journalpath": "/j"}, ["--directory=/j"], [], id="a directory"),
    pytest.param((), {"journalfiles": "/no/a /no/b"}, ["--file=/no/a", "--file=/no/b"], [], id="files"),
    pytest.param((), {"namespace": "n", "journalflags": "9"}, ["--namespace=n", "--user"], [], id="namespace, user"),
]


@pytest.mark.parametrize(("matches", "options", "source", "arguments"), QUERIES)
def test_query(matches, options, source, arguments):
    """What journalctl is asked."""
    asked = query(matches, options)
    assert list(asked.source) == source
    assert asked.command("--follow")[-len(arguments) - 1 :] == ["--", *arguments]


@pytest.mark.parametrize(
    ("matches", "options"),
    [(("--file=/etc/shadow",), {}), (("x",), {}), ((), {"flags": "1"}), ((), {"journalflags": "x"})],
)
def test_bad_query(matches, options):
    """What is no match is refused: an option for journalctl cannot be slipped in."""
    with pytest.raises(ConfigError, match="j:1: "):
        query(matches, options, "j:1")


class _Pipe:
    """What a journalctl prints, a block at a time."""

    def __init__(self, follower):
        reader, self.writer = os.pipe()
        os.set_blocking(reader, False)
        self.stdout = os.fdopen(reader, "rb", 0)
        self.stderr = None
        follower._process = self

    def write(self, data):
        os.write(self.writer, data)


def entry(number):
    """One line of JSON."""
    fields = {"__CURSOR": f"c{number}", "__REALTIME_TIMESTAMP": str(number), "MESSAGE": f"m{number}"}
    return json.dumps(fields).encode() + b"\n"


def test_blocks_that_end_anywhere():
    """Entries are whole whatever the blocks are; the one that was read before is not read again."""
    position = Position("journal", 0, 0, "c1", 0, 1)
    follower = JournalFollower(query((), {}), position=position, notify=lambda: None, back=600, clock=lambda: 1.0)
    assert follower._begin() == ["--cursor=c1"]
    pipe = _Pipe(follower)
    data = entry(1) + b"rubbish\n" + entry(2) + entry(3)
    found = []
    for start in range(0, len(data), 7):
        pipe.write(data[start : start + 7])
        found += [chunk for chunk in follower.read(7) if chunk.records]
    assert [text for chunk in found for _, text in chunk.records] == ["m2", "m3"]
    assert found[-1].position == Position(follower._query.name, 0, 0, "c3", 0, 3)
    os.close(pipe.writer)
    pipe.stdout.close()


def test_entry_that_is_too_long(monkeypatch):
    """It is counted and left out, and held in memory only so far."""
    monkeypatch.setattr("sipguard.sources.journal.LONGEST", 100)
    assert LONGEST > 1_000_000
    follower = JournalFollower(query((), {}), position=None, notify=lambda: None, back=600)
    pipe = _Pipe(follower)
    pipe.write(b"x" * 500)
    found = follower.read(64)
    pipe.write(b"\n" + entry(9))
    found += follower.read(4096)
    assert sum(chunk.oversize for chunk in found) == 1
    assert [text for chunk in found for _, text in chunk.records] == ["m9"]
    os.close(pipe.writer)
    pipe.stdout.close()


def test_is_there_a_journal(tmp_path):
    """journalctl waits for ever, and in silence, where there is none; what may not be looked into may be one."""
    folders = [str(tmp_path / "none"), str(tmp_path)]
    assert not has_journal(folders)
    (tmp_path / "machine").mkdir()
    assert not has_journal(folders)
    (tmp_path / "machine" / "system.journal").touch()
    assert has_journal(folders)
    assert not has_journal(folders[:1])


def test_without_a_journal(monkeypatch):
    """It says so, and looks again at each rescan."""
    monkeypatch.setattr(journal, "has_journal", lambda: False)

    async def begin():
        follower = JournalFollower(query((), {}), position=None, notify=lambda: None, back=600)
        follower.start()
        (problem,) = follower.logs.values()
        assert problem.startswith("this system has no journal; ")
        monkeypatch.setattr(journal, "has_journal", lambda: True)
        monkeypatch.setenv("PATH", "/nonexistent")
        follower.rescan()
        (problem,) = follower.logs.values()
        assert problem.startswith("journalctl cannot be run")

    asyncio.run(begin())
