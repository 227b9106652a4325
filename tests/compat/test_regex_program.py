"""sipguard as `fail2ban-regex`: the same command line gives the same counts and the same lines as Fail2ban's program."""

from __future__ import annotations

import re
import subprocess
import sys
from collections import Counter
from pathlib import Path

import pytest
import reference
from annotations import FILTERS, LOGS
from click.testing import CliRunner
from effort import effort

from sipguard.cli.fail2ban_regex import command
from sipguard.text import printable

ROOT = Path(__file__).parents[2]
STOCK = reference.FILTERS

LINES = re.compile(r"^Lines: (\d+) lines, (\d+) ignored, (\d+) matched, (\d+) missed$", re.MULTILINE)
EVERYTHING = ["--print-all-matched", "--print-all-missed", "--print-all-ignored"]


@pytest.fixture(scope="module")
def program(tmp_path_factory):
    """sipguard under the name fail2ban-regex."""
    file = tmp_path_factory.mktemp("bin") / "fail2ban-regex"
    file.write_text(
        f"#!{sys.executable}\nimport sys\nsys.path.insert(0, {str(ROOT)!r})\nfrom sipguard.cli.main import main\nmain()\n"
    )
    file.chmod(0o755)
    return file


def run(program, *arguments):
    """Exit status and output."""
    done = subprocess.run([program, *map(str, arguments)], capture_output=True, check=False, timeout=60)
    assert b"Traceback" not in done.stderr, done.stderr
    return done.returncode, done.stdout.decode("utf-8", "replace")


def fail2ban(*arguments):
    """Exit status and output of Fail2ban's own program."""
    done = reference.run(reference.REGEX, *map(str, arguments))
    return done.returncode, done.stdout.decode("utf-8", "replace")


def within(*arguments):
    """The output of the same program, without starting a process each time."""
    done = CliRunner().invoke(command, list(map(str, arguments)), catch_exceptions=False)
    return done.stdout


def counts(output):
    """The numbers of the line that scripts look for."""
    match = LINES.search(output)
    assert match, output[-2000:]
    return tuple(map(int, match.groups()))


def lines_of(output, kind):
    """The lines of a kind that the report lists."""
    _, found, rest = output.partition(f"|- {kind} line(s):\n")
    return Counter(printable(line[3:].rstrip()) for line in rest.split("\n`-")[0].split("\n")) if found else Counter()


LOG_FILES = sorted(LOGS.glob("*.log"))
REFERENCES = [
    f"{STOCK}/asterisk.conf",
    f"{STOCK}/freeswitch.conf",
    f"{STOCK}/freeswitch.conf[mode=ddos]",
    f"{STOCK}/sshd.conf[mode=aggressive]",
    f"{FILTERS}/asterisk.conf[mode=aggressive]",
    f"{FILTERS}/asterisk.conf[mode=scan, log=notice]",
    f"{FILTERS}/freeswitch.conf",
    f"{FILTERS}/freeswitch.conf[mode=aggressive]",
]


@pytest.mark.fail2ban
@pytest.mark.parametrize(
    "reference",
    REFERENCES,
    ids=lambda reference: ("ours-" if str(FILTERS) in reference else "stock-") + Path(reference).name,
)
def test_same_lines(reference):
    """Matched, missed and ignored lines of every fixture are those of Fail2ban's own program."""
    compared = 0
    # Each log with some of the references, with all of them in `make test-long`.
    for log in LOG_FILES[REFERENCES.index(reference) % effort(4, 1) :: effort(4, 1)]:
        arguments = ["--encoding", "utf-8", *EVERYTHING, log, reference]
        theirs, ours = fail2ban(*arguments)[1], within(*arguments)
        assert counts(ours) == counts(theirs), log
        for kind in ("Matched", "Missed", "Ignored"):
            assert lines_of(ours, kind) == lines_of(theirs, kind), (log, kind)
        compared += counts(ours)[0]
    print(f"{reference}: {len(LOG_FILES)} logs, {compared} lines compared")


LINE = "2026-11-21 10:00:00 host demo[1]: bad 192.0.2.7 user=o'brien"
CALLS = [
    pytest.param([LINE, r"bad <HOST>"], id="a line and a regex"),
    pytest.param([LINE, r"bad <HOST>", "o'brien"], id="ignored"),
    pytest.param([LINE, r"bad <HOST>x"], id="missed"),
    pytest.param(["-d", "%Y-%m-%d %H:%M:%S", LINE, r"^ host demo\[\d+\]: bad <ADDR>"], id="datepattern"),
    pytest.param(["-L", "2", f"one\n{LINE}", r"^one<SKIPLINES>.*bad <HOST>"], id="maxlines"),
    pytest.param(["--usedns", "no", LINE.replace("192.0.2.7", "a.example.com"), r"bad <HOST>\s"], id="no names"),
    pytest.param(["-o", "ip", LINE, r"bad <HOST>"], id="out ip"),
    pytest.param(["-o", "msg", LINE, r"bad <HOST>"], id="out msg"),
    pytest.param(["-o", "<ip> <F-USER>!", LINE, r"bad <HOST> user=<F-USER>\S+</F-USER>"], id="out tags"),
    pytest.param(["-o", "user", LINE, r"bad <HOST> user=<F-USER>\S+</F-USER>"], id="out a group"),
    pytest.param(["-o", "id", LINE, r"bad <HOST>x"], id="out of nothing"),
    pytest.param(["--print-no-missed", "-v", LINE, r"bad <HOST>x"], id="no missed"),
]


@pytest.mark.fail2ban
@pytest.mark.parametrize("arguments", CALLS)
def test_same_answers(program, arguments):
    """One call after another: exit status, counts, and with `--out` the whole output."""
    their_status, theirs = fail2ban(*arguments)
    status, ours = run(program, *arguments)
    assert status == their_status
    if "-o" in arguments:
        assert ours == theirs
        return
    assert counts(ours) == counts(theirs)
    for kind in ("Matched", "Missed", "Ignored"):
        assert lines_of(ours, kind) == lines_of(theirs, kind)


WRONG = [
    pytest.param([LINE, "bad <HOST"], id="no id"),
    pytest.param([LINE, "bad (<HOST>"], id="bad regex"),
    pytest.param([LINE, "./nonesuch.conf"], id="no such file"),
    pytest.param([LINE], id="no regex"),
]


@pytest.mark.fail2ban
@pytest.mark.parametrize("arguments", WRONG)
def test_wrong_calls(program, arguments):
    """Both refuse with the same exit status; ours in one line, without a traceback."""
    assert run(program, *arguments)[0] == fail2ban(*arguments)[0] == 255


def test_version(program):
    """Short, and in a sentence."""
    assert re.fullmatch(r"\d+\.\S+\n", run(program, "-V")[1])
    assert run(program, "--version")[1].startswith("fail2ban-regex (sipguard)")


def test_hostile_line_is_escaped(program, tmp_path):
    """What a log holds cannot drive a terminal."""
    (tmp_path / "log").write_text("\x1b[2J bad 192.0.2.7\n")
    assert "\x1b" not in run(program, *EVERYTHING, tmp_path / "log", "bad <HOST>")[1]
    assert "\x1b" not in run(program, "-o", "msg", tmp_path / "log", "bad <HOST>")[1]


JAIL = """[own]
filter = demo[mode=two]
failregex = %(known/failregex)s
            ^own <HOST>
datepattern = ^%%Y-%%m-%%d %%H:%%M:%%S\\s
logpath = /dev/null
[demo]
failregex = ^own <HOST>
"""
DEMO = "[Definition]\nfailregex = ^ ?<mode> <HOST>\nmode = one\n"
OF_JAILS = [
    pytest.param(["own"], "192.0.2.2\n192.0.2.3\n", id="a jail"),
    pytest.param(["own[mode=one]"], "192.0.2.1\n192.0.2.3\n", id="a jail with options"),
    pytest.param(["filter.d/demo.conf"], "192.0.2.1\n", id="a file"),
    pytest.param(["-o", "msg", "-i", "own"], "2026-11-21 10:00:01 one 192.0.2.1\nnothing\n", id="what is left"),
]


@pytest.mark.parametrize(("arguments", "expected"), OF_JAILS)
def test_jail(arguments, expected, program, tmp_path):
    """The name of a jail stands for its filter with all that the jail says, as in Fail2ban since 1.1.1."""
    (tmp_path / "filter.d").mkdir()
    (tmp_path / "filter.d" / "demo.conf").write_text(DEMO)
    (tmp_path / "jail.conf").write_text(JAIL)
    lines = [f"2026-11-21 10:00:0{n} {word} 192.0.2.{n}\n" for n, word in enumerate(("one", "two", "own"), 1)]
    (tmp_path / "log").write_text("".join((*lines, "nothing\n")))
    call = ["-c", tmp_path, "-o", "ip", *arguments[:-1], tmp_path / "log", arguments[-1]]
    assert run(program, *call) == (0, expected)
    if reference.THERE and reference.version() >= "1.1.1":
        assert fail2ban(*call) == (0, expected)
