"""Which of several places a jail's log is read from: the best that is alive, and why that one.

An empty file is what a server leaves that logs elsewhere, or was never told to log there; one that nothing has been written
to for a day, while another grows, is of an installation that is no more. A file is empty for a while after a rotation too:
then the file of before lies beside it.
"""

from __future__ import annotations

import glob
import os
import time
from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple

from sipguard.model import LogPath
from sipguard.text import printable

DEAD = 86_400.0
"""Seconds without anything new after which a log is dead, if another has had something since."""


class Choice(NamedTuple):
    """What is followed."""

    log: LogPath
    why: str
    """One line for the operator."""


class _LogState(NamedTuple):
    size: int
    written: float
    """When, in POSIX seconds."""


def choose(places: Sequence[LogPath]) -> Choice | None:
    """The first of `places`, the best first, whose log is alive; else the first that is there; None where none is."""
    states = [(log, state) for log in places if (state := _state(log.pattern)) is not None]
    if not states:
        return None
    newest = max((state.written for _, state in states if state.size), default=0.0)
    passed: list[str] = []
    for log, state in states:
        wrong = _wrong(state, newest)
        if not wrong:
            return Choice(log, "; ".join(["the first of logpath_first that is written to", *passed]))
        passed.append(f"{printable(log.pattern)} {wrong}")
    return Choice(states[0][0], "the first of logpath_first that is there; nothing is written to any of them yet")


def _wrong(state: _LogState, newest: float) -> str:
    if not state.size:
        return "is empty"
    if state.written < newest - DEAD:
        return f"has had nothing new since {time.strftime('%Y-%m-%d', time.localtime(state.written))}"
    return ""


def _state(pattern: str) -> _LogState | None:
    """That of the file, or of the newest that the pattern matches; None if there is none."""
    paths = [pattern] if os.path.lexists(pattern) else glob.glob(pattern)  # noqa: PTH207 - an absolute pattern
    states = [_of_file(path) for path in paths]
    return max(states, key=lambda state: (state.size > 0, state.written), default=None)


def _of_file(path: str) -> _LogState:
    try:
        status = Path(path).stat()
        if status.st_size:
            return _LogState(status.st_size, status.st_mtime)
        rotated = [Path(one).stat() for one in glob.glob(f"{glob.escape(path)}[.-]*")]  # noqa: PTH207
    except OSError:  # it has gone, or may not be read: that is told where it is opened
        return _LogState(0, 0.0)
    young = [one for one in rotated if one.st_size and one.st_mtime > time.time() - DEAD]
    return _LogState(young[0].st_size, status.st_mtime) if young else _LogState(0, status.st_mtime)
