"""Which of several places a jail's log is read from: never an empty or dead one beside one that grows."""

from __future__ import annotations

import os
import time

import pytest

from sipguard.config.log_choice import DEAD, choose
from sipguard.model import LogPath

LINE = "a line\n"


def places(folder, *names):
    return [LogPath(f"{folder}/{name}") for name in names]


def chosen(folder, *names):
    choice = choose(places(folder, *names))
    return choice.log.pattern.rpartition("/")[2], choice.why


def age(path, seconds):
    os.utime(path, (time.time() - seconds,) * 2)


def test_the_best_that_is_written_to(tmp_path):
    for name in ("b", "c"):
        (tmp_path / name).write_text(LINE)
    assert chosen(tmp_path, "a", "b", "c") == ("b", "the first of logpath_first that is written to")


@pytest.mark.parametrize("text", ["", LINE])
def test_empty_and_dead_ones_never_win(tmp_path, text):
    """And the operator reads why."""
    (tmp_path / "first").write_text(text)
    age(tmp_path / "first", 3 * DEAD)
    (tmp_path / "second").write_text(LINE)
    name, why = chosen(tmp_path, "first", "second")
    assert name == "second"
    assert f"{tmp_path}/first {'has had nothing new since' if text else 'is empty'}" in why


def test_a_quiet_server_keeps_its_log(tmp_path):
    """All of its logs are as old: nobody has called."""
    for name in ("first", "second"):
        (tmp_path / name).write_text(LINE)
        age(tmp_path / name, 9 * DEAD)
    assert chosen(tmp_path, "first", "second")[0] == "first"


@pytest.mark.parametrize("rotated", ["first.1", "first-20261128"])
def test_just_rotated(tmp_path, rotated):
    """It is empty, and the file of before lies beside it."""
    (tmp_path / "first").touch()
    (tmp_path / rotated).write_text(LINE)
    (tmp_path / "second").write_text(LINE)
    assert chosen(tmp_path, "first", "second")[0] == "first"
    age(tmp_path / rotated, 2 * DEAD)
    assert chosen(tmp_path, "first", "second")[0] == "second"


def test_all_empty_and_none_there(tmp_path):
    assert choose(places(tmp_path, "first", "second")) is None
    (tmp_path / "second").touch()
    name, why = chosen(tmp_path, "first", "second")
    assert (name, "nothing is written to any of them yet" in why) == ("second", True)


def test_a_pattern_and_what_cannot_be_read(tmp_path):
    """The newest that a pattern matches counts; a link to nowhere is no log."""
    (tmp_path / "dead.log").symlink_to(tmp_path / "nowhere")
    (tmp_path / "full-1").touch()
    (tmp_path / "full-2").write_text(LINE)
    assert chosen(tmp_path, "dead.log", "full-*")[0] == "full-*"
