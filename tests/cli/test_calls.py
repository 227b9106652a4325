"""Calls of the command line that are wrong, or odd: one line on standard error, never a traceback, exit status 2."""

from __future__ import annotations

import gzip
import os
import subprocess
import sys

import command_line
import pytest
from annotations import LOGS, ROOT

LONG = "x" * 300
"""No file can have such a name."""
EVENT = next(
    line for line in (LOGS / "asterisk22-security.log").read_text().splitlines() if "ChallengeResponseFailed" in line
)


def sipguard(*arguments, stdin="", before=()):
    """Run the command line as a user would."""
    command = [*before, sys.executable, "-m", "sipguard", *arguments]
    env = {**os.environ, "PYTHONPATH": str(ROOT)}
    return subprocess.run(command, input=stdin, capture_output=True, text=True, check=False, env=env)


FAILURE = (
    "2026-01-15 10:20:30.123456 98.53% [WARNING] sofia_reg.c:1787 SIP auth failure (REGISTER) on sofia profile 'internal' for "
    "[\u20ac@192.0.2.10] from ip 203.0.113.66"
)

WRONG = {
    "a filter with a long name": (["test-filter", "/dev/null", LONG], "there is no filter 'xxx"),
    "options of a long name": (["test-filter", "/dev/null", f"freeswitch[{LONG}]"], "FILTER: 'xxx"),
    "a jail with a long name": (["replay", "--jail", LONG, "/dev/null"], "there is no jail xxx"),
    "a codec of no text": (
        ["test-filter", "-e", "base64", "/dev/null", "freeswitch"],
        "encoding 'base64' is not known",
    ),
    "a codec that refuses": (["test-filter", "-e", "idna", "/dev/null", "freeswitch"], "encoding 'idna' is not known"),
    "a log that is not there": (
        ["test-filter", "/dev/null/x", "freeswitch"],
        "/dev/null/x: Not a directory; give a file",
    ),
    "standard input twice": (
        ["replay", "--jail", "freeswitch", "-", "-"],
        "sipguard replay: standard input can be read once",
    ),
}


@pytest.mark.parametrize(("arguments", "message"), WRONG.values(), ids=WRONG)
def test_one_line(arguments, message):
    """What is wrong, and where to look."""
    done = command_line.sipguard(*arguments)
    assert (done.returncode, done.stdout) == (2, "")
    assert done.stderr.removeprefix("sipguard: ").startswith(message)
    assert done.stderr.count("\n") == 1


def test_no_command_is_helped():
    """The list of commands, on standard error or output as click has it."""
    done = sipguard()
    assert "test-filter" in done.stdout + done.stderr


@pytest.mark.parametrize(
    ("line", "matches"),
    [
        pytest.param(EVENT, True, id="an event, longer than the name of a file"),
        pytest.param(EVENT + "/" * 5000, False, id="longer than a path"),
        pytest.param("\udcff\udcfe", False, id="no UTF-8"),
        pytest.param("", False, id="empty"),
    ],
)
def test_a_line_given_literally(line, matches):
    """However long it is, and whatever bytes it holds."""
    done = sipguard("test-filter", line, "asterisk")
    assert (done.returncode, done.stderr) == (0 if matches else 1, "")


def _cut(packed):
    return packed[: len(packed) // 2]


def _changed(packed):
    return packed[:2000] + b"x" * 20 + packed[2020:]


@pytest.mark.parametrize("harm", [lambda _packed: b"no gzip", _cut, _changed], ids=["other", "cut", "changed"])
def test_replay_of_a_damaged_log(tmp_path, harm):
    """A compressed log that cannot be read to its end is told of: half of it would be a wrong answer."""
    log = tmp_path / "freeswitch.log.1.gz"
    log.write_bytes(harm(gzip.compress((LOGS / "freeswitch-warning.log").read_bytes())))
    done = command_line.sipguard("replay", "--jail", "freeswitch", log)
    assert (done.returncode, done.stdout) == (2, "")
    assert done.stderr.startswith(f"sipguard: {log}: cannot be read to its end: ")
    assert done.stderr.count("\n") == 1


def test_replay_of_a_line_without_end(tmp_path):
    """100 MB without a line feed take neither time nor memory, and what follows counts, but for a last line without its end."""
    failures = (LOGS / "freeswitch-warning.log").read_text().splitlines()
    attack = [line for line in failures if line.endswith("203.0.113.80")]
    log = tmp_path / "log"
    with log.open("w") as file:
        for _ in range(100):
            file.write("x" * 1_000_000)
        file.write("\n" + "\n".join([*attack, attack[0]]))
    limit = "import resource; resource.setrlimit(resource.RLIMIT_AS, (400 << 20, 400 << 20)); import sys, os; "
    before = [sys.executable, "-c", limit + "os.execv(sys.argv[1], sys.argv[1:])"]
    done = sipguard("replay", "--json", "--jail", "freeswitch", str(log), before=before)
    assert (done.returncode, done.stderr) == (0, "")
    assert '"address": "203.0.113.80", "attempts": 5' in done.stdout


@pytest.mark.parametrize("shown", [False, True], ids=["user", "developer"])
def test_a_mistake_of_ours(shown):
    """One line that says where, and all of it for who asks for it."""
    code = (
        "import sys; from sipguard.cli import main, check; sys.argv = ['sipguard', 'check'];"
        "check._load = lambda *_: {}['key']; main.main()"
    )
    env = {**os.environ, "PYTHONPATH": str(ROOT), **({"SIPGUARD_TRACEBACK": "1"} if shown else {})}
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False, env=env)
    assert ("Traceback" in done.stderr) == shown
    if not shown:
        assert done.returncode == 2
        assert (
            done.stderr == "sipguard: KeyError: 'key' (<string>:1); this is a mistake in sipguard: please report it\n"
        )


@pytest.mark.parametrize("encoding", ["ascii", "latin-1"])
@pytest.mark.parametrize("arguments", [["--help"], ["test-filter", f"{FAILURE}", "freeswitch"]], ids=["help", "log"])
def test_a_terminal_of_another_encoding(encoding, arguments, monkeypatch):
    """What it cannot show is written in another way."""
    monkeypatch.setenv("PYTHONIOENCODING", encoding)
    command = [sys.executable, "-m", "sipguard", *arguments]
    done = subprocess.run(command, capture_output=True, check=False, env={**os.environ, "PYTHONPATH": str(ROOT)})
    assert (done.returncode, done.stderr) == (0, b"")
    assert len(done.stdout) > 200
