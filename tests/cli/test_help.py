"""`--help` by task, with examples, at once; what somebody may have meant; the manual pages of the same words."""

from __future__ import annotations

import os
import re
import resource
import shutil
import subprocess
import sys

import click
import pytest
from annotations import ROOT
from command_line import sipguard

from sipguard.cli.commands import COMMANDS, EXAMPLES, HABITS, TASKS, examples_of, overview
from sipguard.cli.group import cli
from sipguard.cli.man_pages import pages

FASTEST = 0.060
"""Seconds of a processor, as the issue has it."""
SHELL_WORDS = {"jq", "list.txt"}


def test_every_command_has_its_place():
    """In one task, with a line that fits, and an example or more."""
    listed = [name for names in TASKS.values() for name in names]
    assert sorted(listed) == sorted(COMMANDS)
    assert EXAMPLES.keys() == COMMANDS.keys()
    assert max(map(len, overview().splitlines())) <= 80
    assert max(len(line) for name in COMMANDS for line in examples_of(name).splitlines()) <= 78
    assert set(HABITS.values()) <= set(COMMANDS)


@pytest.mark.parametrize("name", sorted(COMMANDS.keys() - {"client"}))  # that one's help is Fail2ban's
def test_help_of_a_command(name):
    """Its options, examples of calls that click takes, and the exit status."""
    done = sipguard(name, "--help")
    assert (done.returncode, done.stderr) == (0, "")
    assert "Examples:\n" in done.stdout
    assert len(re.findall(r"exit\s+status", done.stdout, re.IGNORECASE)) == 1
    assert "\n\n  Exit status: 0 " in done.stdout
    assert max(map(len, done.stdout.splitlines())) <= 80


@pytest.mark.parametrize("call", [call for calls in EXAMPLES.values() for call, _ in calls])
def test_the_examples_are_calls(call):
    """Every option and argument is one that the command has."""
    words = re.split(r" (?:\||&&|<|>) ", call.replace("'toll fraud'", "fraud"))[0].split()
    assert words[0] == "sipguard"
    words = [word for word in words[1:] if word not in SHELL_WORDS]
    context = click.Context(cli, info_name="sipguard")
    command, rest = cli.get_command(context, words[0]), words[1:]
    command.make_context(words[0], list(rest), parent=context)


def _seconds(arguments):
    """The processor time of Python with these arguments, and what it prints."""
    before = resource.getrusage(resource.RUSAGE_CHILDREN)
    env = {**os.environ, "PYTHONPATH": str(ROOT)}
    done = subprocess.run([sys.executable, *arguments], capture_output=True, check=True, env=env)
    after = resource.getrusage(resource.RUSAGE_CHILDREN)
    return after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime, done.stdout


def test_help_is_quick():
    """It costs no more than 60 ms of a processor, or than three bare starts of Python where one takes more than 20 ms."""
    pairs = [(_seconds(["-m", "sipguard", "--help"])[0], _seconds(["-c", ""])[0]) for _ in range(7)]
    taken, bare = map(min, zip(*pairs, strict=True))
    print(f"sipguard --help: {taken * 1000:.0f} ms of processor time, Python alone: {bare * 1000:.0f} ms")
    assert taken <= max(FASTEST, 3 * bare)


def test_help_is_one_text():
    """The quick way and click's own tell the same."""
    assert _seconds(["-m", "sipguard", "--help"])[1].decode() == overview()
    assert sipguard("-h").stdout == overview()


@pytest.mark.parametrize(
    ("given", "meant"),
    [
        ("statsu", "Did you mean status?"),
        ("banip", "Did you mean ban or bans?"),
        ("why", "Did you mean explain?"),
        ("tset-filter", "Did you mean test-filter?"),
        ("qqqq", "No such command 'qqqq'. Try: sipguard --help"),
    ],
)
def test_did_you_mean(given, meant):
    """One line, and what may have been meant."""
    done = sipguard(given)
    assert (done.returncode, done.stdout) == (2, "")
    assert meant in done.stderr
    assert done.stderr.count("\n") == 1


def test_manual_pages(tmp_path):
    """One for each command, with its options and examples; man(1) finds nothing wrong with them."""
    done = sipguard("man", tmp_path / "man1")
    assert (done.returncode, done.stdout, done.stderr) == (0, "", "")
    written = {path.name: path.read_text() for path in (tmp_path / "man1").iterdir()}
    assert written == pages(click.Context(cli, info_name="sipguard"))
    assert set(written) == {"sipguard.1", *(f"sipguard-{name}.1" for name in COMMANDS)}
    for name, calls in EXAMPLES.items():
        text = written[f"sipguard-{name}.1"].replace(r"\-", "-")
        assert all(call.replace("\\", r"\e") in text for call, _ in calls)
    assert r"\fB\-\-reason TEXT\fR" in written["sipguard-ban.1"]
    groff = shutil.which("groff")
    if groff is None:
        pytest.skip("no groff here: the pages are not read by it")
    for name in written:
        read = subprocess.run(
            [groff, "-man", "-Tutf8", "-ww", "-z", tmp_path / "man1" / name], capture_output=True, text=True, check=True
        )
        assert read.stderr == "", name


def test_a_folder_that_cannot_be_written(tmp_path):
    """One line that names it."""
    (tmp_path / "file").touch()
    done = sipguard("man", tmp_path / "file")
    assert done.returncode == 2
    assert done.stderr.count("\n") == 1
