"""Completion in real shells: commands, options, the running jails, who is banned."""

from __future__ import annotations

import os
import pty
import select
import shutil
import subprocess
import sys
import time

import pytest
from annotations import ROOT
from command_line import sipguard
from running import ask, running

BANNED = ("203.0.113.5", "203.0.113.66", "2001:db8:7::5")


@pytest.fixture(scope="module")
def shell_env(tmp_path_factory):
    """A daemon with two jails and three bans, and `sipguard` in the PATH."""
    folder = tmp_path_factory.mktemp("completion")
    program = folder / "bin" / "sipguard"
    program.parent.mkdir()
    program.write_text(f'#!/bin/sh\nexec {sys.executable} -m sipguard "$@"\n')
    program.chmod(0o755)
    log = folder / "log"
    log.touch()
    with running(folder, {"freeswitch": {"logpath": str(log)}, "asterisk": {"logpath": str(log)}}) as daemon:
        ask(daemon.socket, "ban", jail="asterisk", addresses=list(BANNED))
        yield {
            "PATH": f"{program.parent}:{os.environ['PATH']}",
            "PYTHONPATH": str(ROOT),
            "SIPGUARD_SOCKET": str(daemon.socket),
            "HOME": str(folder),
            "TERM": "dumb",
            "LC_ALL": "C.UTF-8",
        }


def script(shell, folder):
    """What `sipguard completion` prints, in a file."""
    file = folder / f"sipguard.{shell}"
    file.write_text(sipguard("completion", shell).stdout)
    return file


def need(shell):
    if shutil.which(shell) is None:
        pytest.skip(f"no {shell} here: its completion is not tried")


CASES = [
    ("sipguard stat", {"status"}),
    ("sipguard unban 203", {"203.0.113.5", "203.0.113.66"}),
    ("sipguard explain 203.0.113.6", {"203.0.113.66"}),
    ("sipguard ban --jail a", {"asterisk"}),
    ("sipguard bans --sort pack", {"packets"}),
    ("sipguard completion z", {"zsh"}),
]


def in_bash(line, env, tmp_path):
    """What bash offers: of an IPv6 address only what stands behind the last colon, as it replaces no more."""
    ask_bash = (
        f'source {script("bash", tmp_path)}; COMP_LINE="{line}"; COMP_POINT=${{#COMP_LINE}}; '
        '_sipguard_completion sipguard; printf "%s\\n" "${COMPREPLY[@]}"'
    )
    done = subprocess.run(
        ["bash", "--norc", "-c", ask_bash], capture_output=True, text=True, check=True, env=env, timeout=100
    )
    return set(done.stdout.split())


@pytest.mark.parametrize(("line", "offered"), CASES)
def test_bash(line, offered, shell_env, tmp_path):
    """Words as they are typed."""
    assert in_bash(line, shell_env, tmp_path) == offered


def test_bash_takes_colons_for_ends_of_words(shell_env, tmp_path):
    """An IPv6 address is completed all the same."""
    assert in_bash("sipguard unban 2001:db8:", shell_env, tmp_path) == {"7::5"}
    assert in_bash("sipguard unban 2001", shell_env, tmp_path) == {"2001:db8:7::5"}
    assert in_bash("sipguard unban ", shell_env, tmp_path) == set(BANNED)


@pytest.mark.parametrize(("line", "offered"), [*CASES, ("sipguard unban 2001:d", {"2001:db8:7::5"})])
def test_fish(line, offered, shell_env, tmp_path):
    """`complete -C` gives what Tab would show."""
    need("fish")
    done = subprocess.run(
        ["fish", "--no-config", "-c", f"source {script('fish', tmp_path)}; complete -C '{line}'"],
        capture_output=True,
        text=True,
        check=True,
        env=shell_env,
        timeout=100,
    )
    assert {row.split("\t")[0] for row in done.stdout.splitlines()} == offered


@pytest.mark.parametrize(
    ("typed", "becomes"),
    [("sipguard stat\t", "sipguard status"), ("sipguard unban 2001\t", "sipguard unban 2001:db8:7::5")],
)
def test_zsh(typed, becomes, shell_env, tmp_path):
    """A terminal, and the Tab key."""
    need("zsh")
    child, terminal = pty.fork()
    if child == 0:
        os.execvpe("zsh", ["zsh", "-f", "-i"], shell_env)
    try:
        setup = f"PS1=; autoload -U compinit; compinit -u -D; source {script('zsh', tmp_path)}; echo re''ady\n"
        os.write(terminal, setup.encode())
        read_until(terminal, "ready")
        os.write(terminal, typed.encode())
        read_until(terminal, becomes)
    finally:
        os.close(terminal)
        os.waitpid(child, 0)


def read_until(terminal, wanted):
    """What the terminal shows, until it shows that."""
    shown, end = "", time.monotonic() + 30
    while wanted not in shown:
        assert time.monotonic() < end, repr(shown)
        if select.select([terminal], [], [], 0.2)[0]:
            shown += os.read(terminal, 4096).decode(errors="replace").replace("\b", "")


def test_nobody_answers(tmp_path):
    """Then nothing is offered, and nothing said."""
    env = {**os.environ, "PYTHONPATH": str(ROOT), "SIPGUARD_SOCKET": str(tmp_path / "none"), "COMP_CWORD": "2"}
    env |= {"_SIPGUARD_COMPLETE": "bash_complete", "COMP_WORDS": "sipguard unban "}
    done = subprocess.run([sys.executable, "-m", "sipguard"], capture_output=True, text=True, check=False, env=env)
    assert (done.stdout.strip(), done.stderr) == ("", "")
