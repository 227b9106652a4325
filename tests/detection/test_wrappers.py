"""Logs of containers: each line is what the program wrote, and nobody writes one that only looks wrapped."""

from __future__ import annotations

import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from sipguard.detection.wrappers import Wrappers

LINES = [b"a first line", b"", b"x | y", b'{"log":"no"}', b"\xc3\xa9 2026", b"z" * 40_000]
TIME = "2026-01-15T10:20:30.123456789Z"


def docker(line):
    """json-file writes 16 KB at most at once."""
    parts = [line[n : n + 16_384] for n in range(0, len(line), 16_384)] or [b""]
    return [
        json.dumps({"log": part.decode() + ("\n" if number == len(parts) - 1 else ""), "stream": "stdout", "time": TIME},
                   separators=(",", ":")).encode()
        for number, part in enumerate(parts)
    ]  # fmt: skip


def cri(line):
    parts = [line[n : n + 16_384] for n in range(0, len(line), 16_384)] or [b""]
    return [f"{TIME} stdout {'F' if n == len(parts) - 1 else 'P'} ".encode() + part for n, part in enumerate(parts)]


def compose(line):
    return [b"pbx-asterisk  | " + line]


@pytest.mark.parametrize("wrap", [docker, cri, compose])
@given(data=st.data())
def test_unwrapped(wrap, data):
    """However the log is cut into chunks."""
    wrapped = [part + b"\n" for line in LINES for part in wrap(line)]
    wrappers, result = Wrappers(), b""
    while wrapped:
        count = data.draw(st.integers(1, len(wrapped)))
        result += wrappers.lines(b"".join(wrapped[:count]))
        del wrapped[:count]
    assert result == b"".join(line + b"\n" for line in LINES)
    assert not wrappers.is_plain


@pytest.mark.parametrize("wrap", [docker, cri, compose])
def test_a_plain_log_stays_plain(wrap):
    """Whoever writes such a line into a log that is none changes nothing."""
    for line in LINES[:4]:
        strange = b"".join(part + b"\n" for part in wrap(line))
        data = b"2026-01-15 10:20:30 a line\n" + strange
        wrappers = Wrappers()
        assert wrappers.lines(data) == data
        assert wrappers.lines(strange) == strange


@pytest.mark.parametrize("strange", [b"pbx-asterisk exited with code 0\n", b'{"log":"a part\n', b"\0\0\0\n", b"\n"])
@pytest.mark.parametrize("wrap", [docker, cri, compose])
def test_a_containers_log_stays_one(wrap, strange):
    """A line that nobody in it has written is left out, once so many are wrapped that no stranger has written them."""
    line = b"".join(part + b"\n" for part in wrap(b"z" * 100))
    few, many = line * (100_000 // len(line)), line * (300_000 // len(line))
    wrappers = Wrappers()
    wrappers.lines(many)
    assert wrappers.lines(line + strange + line) == (b"z" * 100 + b"\n") * 2
    wrappers = Wrappers()
    wrappers.lines(few)
    assert wrappers.lines(line + strange + line) == line + strange + line
