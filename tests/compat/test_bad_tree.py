"""A Fail2ban tree with something wrong in it: one line with file and line for each, and the other jails run."""

from __future__ import annotations

import os
from pathlib import Path

import pytest
from command_line import sipguard
from running import append, running

ATTACKER = "203.0.113.5"
GOOD = "[Definition]\nfailregex = ^bad <HOST>$\n"


def write(folder, files):
    """A tree with the jail `good` and these files; gives the arguments that name it."""
    good = f"[good]\nenabled = true\nfilter = good\nmaxretry = 3\nlogpath = {folder}/log\n"
    own = f"[Definition]\nlogtarget = {folder}/sipguard.log\npidfile = None\ndbfile = {folder}/state/f.sqlite3\n"
    for name, text in {"jail.conf": good, "fail2ban.conf": own, "filter.d/good.conf": GOOD, **files}.items():
        path = folder / "f2b" / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text.replace("{log}", f"{folder}/log"))
    (folder / "log").touch()
    return ["--fail2ban-dir", folder / "f2b"]


def jail(extra="", name="wrong"):
    """A second jail, the one that is wrong."""
    return f"[wrong]\nenabled = true\nlogpath = {{log}}\nfilter = {name}\n{extra}"


LOOP = {
    "jail.d/wrong.conf": jail(),
    "filter.d/wrong.conf": "[INCLUDES]\nbefore = other.conf\n" + GOOD,
    "filter.d/other.conf": "[INCLUDES]\nbefore = wrong.conf\n",
}
CASES = [
    pytest.param(
        LOOP, "filter.d/other.conf:2", "include loop: wrong.conf → other.conf → wrong.conf", id="include loop"
    ),
    pytest.param(
        {"jail.d/wrong.conf": jail()}, "jail.d/wrong.conf:4", "there is no filter 'wrong'", id="unknown filter"
    ),
    pytest.param(
        {"jail.d/wrong.conf": jail(), "filter.d/wrong.conf": "[Definition]\nfailregex = ^%(nothing)s <HOST>$\n"},
        "filter.d/wrong.conf:2",
        "%(nothing)s",
        id="interpolation that cannot be resolved",
    ),
    pytest.param(
        {"jail.d/wrong.conf": jail(), "filter.d/wrong.conf": "[Definition]\n\nfailregex = ^bad (<HOST>$\n"},
        "filter.d/wrong.conf:3",
        "missing )",
        id="bad regex",
    ),
    pytest.param(
        {
            "jail.d/wrong.conf": jail(),
            "filter.d/wrong.conf": "[Definition]\nfailregex = ^<re-<mode>> bad <HOST>$\nmode = none\n",
        },
        "filter.d/wrong.conf:2",
        "undefined tag <re-none>",
        id="tag that stays unresolved",
    ),
    pytest.param(
        {"jail.d/wrong.conf": jail("action = nonesuch\n", name="good")},
        "jail.d/wrong.conf:5",
        "there is no action 'nonesuch'",
        id="unknown action",
    ),
    pytest.param(
        {"jail.d/wrong.conf": jail("bantime.increment = true\nbantime.formula = __import__('os')\n", name="good")},
        "jail.d/wrong.conf:6",
        "which is not a function of numbers",
        id="formula that is code",
    ),
    pytest.param(
        {"jail.d/wrong.conf": jail("maxretry = many\n", name="good")}, "jail.d/wrong.conf:5", "many", id="number"
    ),
    pytest.param(
        {"jail.d/wrong.conf": jail("failregex = ^bad (<HOST>$\n", name="good")},
        "jail.d/wrong.conf:5",
        "missing )",
        id="bad regex of the jail's own",
    ),
    pytest.param(
        {"jail.d/wrong.conf": jail("maxlines = 0\n", name="good")}, "jail.d/wrong.conf:5", "maxlines = '0'", id="lines"
    ),
    pytest.param(
        {"jail.d/wrong.conf": jail("findtime = soon\n", name="good")},
        "jail.d/wrong.conf:5",
        "'soon': invalid duration",
        id="time",
    ),
    pytest.param(
        {"jail.d/wrong.conf": jail("backend = none\n", name="good")},
        "jail.d/wrong.conf:2",
        "backend = 'none': must be one of",
        id="backend",
    ),
]


@pytest.mark.parametrize("make", [Path.mkdir, os.mkfifo], ids=["folder", "pipe"])
@pytest.mark.parametrize(
    "name", ["filter.d/wrong.conf", "filter.d/wrong.local", "action.d/wrong.conf", "jail.local", "fail2ban.local"]
)
def test_no_file(tmp_path, make, name):
    """A folder or a pipe in the place of a file is told of, and nobody waits for what comes out of it."""
    arguments = write(tmp_path, {"jail.d/wrong.conf": jail("action = wrong\n")})
    for file, text in (("filter.d/wrong.conf", GOOD), ("action.d/wrong.conf", "[Definition]\n")):
        (tmp_path / "f2b" / file).parent.mkdir(exist_ok=True)
        (tmp_path / "f2b" / file).write_text(text)
    (tmp_path / "f2b" / name).unlink(missing_ok=True)
    make(tmp_path / "f2b" / name)
    done = sipguard("check", *arguments)
    assert done.returncode == 2
    (told,) = [line for line in done.stderr.splitlines() if not line.startswith("warning:")]
    assert told.startswith(f"{tmp_path}/f2b/{name}: ")
    assert "is not a regular file" in told


def test_dev_null(tmp_path):
    """/dev/null in the place of a file is an empty file: so operators take one away."""
    arguments = write(tmp_path, {})
    (tmp_path / "f2b" / "jail.local").symlink_to("/dev/null")
    (tmp_path / "f2b" / "filter.d/good.local").symlink_to("/dev/null")
    done = sipguard("check", *arguments)
    assert (done.returncode, done.stderr.count("is not a regular file")) == (0, 0)


@pytest.mark.parametrize(("files", "where", "what"), CASES)
def test_one_line(tmp_path, files, where, what):
    """`check` tells of it in one line that names file and line, and of nothing else."""
    arguments = write(tmp_path, files)
    done = sipguard("check", *arguments)
    assert done.returncode == 2
    (told,) = [line for line in done.stderr.splitlines() if not line.startswith("warning:")]
    assert told.startswith(f"{tmp_path}/f2b/{where}: "), told
    assert what in told


def test_the_others_run(tmp_path):
    """All of it at once: the good jail bans."""
    files = {}
    for number, case in enumerate(CASES[1:]):
        for name, text in case.values[0].items():
            files[name.replace("wrong", f"w{number}")] = text.replace("[wrong]", f"[w{number}]").replace(
                "filter = wrong", f"filter = w{number}"
            )
    arguments = write(tmp_path, files)
    with running(tmp_path, {}, arguments=arguments) as daemon:
        status = daemon.sipguard("status").stdout
        assert status.count("not running: ") == len(CASES) - 1, status
        append(tmp_path / "log", f"bad {ATTACKER}\n" * 3)
        daemon.wait_logged(f"[good] Ban {ATTACKER}")


def test_endless_regex(tmp_path):
    """A line on which a regex backtracks without end is counted and told of once; the lines around it are read."""
    slow = r"[Definition]" "\n" r"failregex = ^bad <HOST>(?: (?:a|aa|a a)+)*$" "\n"
    arguments = write(tmp_path, {"jail.d/wrong.conf": jail("maxretry = 3\n"), "filter.d/wrong.conf": slow})
    with running(tmp_path, {}, arguments=arguments) as daemon:
        for _ in range(3):
            append(tmp_path / "log", f"bad {ATTACKER} {'a ' * 60}!\nbad {ATTACKER}\n")
        daemon.wait_logged(f"[wrong] Ban {ATTACKER}")
        daemon.wait_for(lambda: daemon.status("wrong")["detection"]["timed_out"] == 3)
        assert daemon.logged().count("a regex of filter wrong took too long") == 1
