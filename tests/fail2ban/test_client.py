"""The client's own side: configuration as commands, versions to come, starting a server, asking in a loop."""

from __future__ import annotations

import asyncio
import os
import re
import shutil
import signal
import subprocess
import sys
import threading
from pathlib import Path

import pytest
from limits import PATIENCE

from sipguard.daemon.compat.server import Server
from sipguard.fail2ban.client import beautify
from sipguard.fail2ban.client.main import run
from sipguard.fail2ban.protocol.answers import RemoteError

ROOT = Path(__file__).resolve().parents[2]
DEBIAN_TREE = Path("/etc/fail2ban")


def test_whole_tree_as_commands(debian_client, tmp_path, capsys):
    """`-d` of every jail that Debian ships, against Debian's client: the same lines in the same order."""
    if not (DEBIAN_TREE / "jail.conf").exists():
        pytest.skip("needs Debian's /etc/fail2ban to compare with")
    tree = tmp_path / "fail2ban"
    shutil.copytree(DEBIAN_TREE, tree)
    names = re.findall(r"^\[([\w-]+)\]", (tree / "jail.conf").read_text(), re.MULTILINE)
    # This one sets an action's flags in jail.conf: the same pairs come in another order.
    enabled = [name for name in names if name not in ("DEFAULT", "INCLUDES", "pass2allow-ftp")]
    (tree / "jail.local").write_text("".join(f"[{name}]\nenabled = true\n" for name in enabled))
    done = subprocess.run([debian_client, "-c", str(tree), "-d"], capture_output=True, text=True, check=True)
    assert run(["-c", str(tree), "-d"]) == 0
    assert capsys.readouterr().out.splitlines() == done.stdout.splitlines()
    assert len(done.stdout.splitlines()) > 1000


def test_start_that_fails(tmp_path, capfd):
    """What the server complained of is told."""
    (tmp_path / "sipguard.toml").write_text("nonesuch = 1\n")
    assert run(["-c", str(tmp_path), "-s", str(tmp_path / "s"), "start"]) == 255
    assert "sipguard.toml:1: nonesuch" in capfd.readouterr().err


BROKEN = [
    pytest.param("[alpha]\nenabled = true\nfilter = nonesuch\n", ["-t"], id="no such filter"),
    pytest.param("not an ini file", ["-t"], id="no ini file"),
    pytest.param("not an ini file", ["-d"], id="no ini file, dumped"),
]


@pytest.mark.parametrize(("text", "options"), BROKEN)
def test_broken_tree(tmp_path, capsys, text, options):
    """Told in one line, and the exit status says so."""
    (tmp_path / "jail.conf").write_text(text)
    (tmp_path / "fail2ban.conf").write_text("[Definition]\n")
    assert run(["-c", str(tmp_path), *options]) == 255
    assert "ERROR" in capsys.readouterr().err


JAIL = [("Filter", [("Currently failed", 1), ("File list", ["/a", "/b"])]), ("Actions", [("Banned IP list", [])])]
SHOWN = [
    pytest.param(
        ["status", "--all"],
        [("Number of jail", 2), ("Jail list", "a, b"), {"a": JAIL, "b": JAIL}],
        "Status\n|- Number of jail:\t2\n|- Jail list:\ta, b\n`- Status for the jails:\n"
        "   |- Jail: a\n   |  |- Filter\n   |  |  |- Currently failed:\t1\n   |  |  `- File list:\t/a /b\n"
        "   |  `- Actions\n   |     `- Banned IP list:\t\n"
        "   `- Jail: b\n      |- Filter\n      |  |- Currently failed:\t1\n      |  `- File list:\t/a /b\n"
        "      `- Actions\n         `- Banned IP list:\t",
        id="status --all",
    ),
    pytest.param(["get", "dbfile"], None, "Database currently disabled", id="no database"),
    pytest.param(["get", "dbpurgeage"], None, "Database currently disabled", id="no database age"),
    pytest.param(["get", "loglevel"], 20, "Current logging level is 'INFO'", id="level as a number"),
    pytest.param(["get", "a", "datepattern"], None, "Current date pattern set to: Not set/required", id="no date"),
    pytest.param(["get", "a", "logpath"], [], "No file is currently monitored", id="no log"),
    pytest.param(["get", "a", "failregex"], [], "No regular expression is defined", id="no regex"),
    pytest.param(
        ["get", "a", "journalmatch"], [["A=1", "B=2"], ["C=3"]], "Current match filter:\nA=1 B=2 + C=3", id="journal"
    ),
    pytest.param(["get", "a", "actionmethods", "x"], [], "No methods for jail a action x", id="no methods"),
    pytest.param(["banned"], [{"a": ["192.0.2.1"]}], "[{'a': ['192.0.2.1']}]", id="banned, as panels parse it"),
]


@pytest.mark.parametrize(("command", "answer", "text"), SHOWN)
def test_shown(command, answer, text):
    """What the session with real servers does not meet."""
    assert beautify.text(command, answer) == text


def test_stats_name_every_jail():
    """One line for each."""
    answer = {"alpha": ["polling", (1, 22), (3, 44)], "a-long-name-of-a-jail": ["systemd", (0, 0), (0, 0)]}
    lines = beautify.text(["stats"], answer).splitlines()
    assert lines[-2].split() == ["alpha", "|", "polling", "|", "1", "22", "|", "3", "44"]
    assert len({line.index("|") for line in lines if "|" in line}) == 1


def test_duplicate_jail():
    """The words for it."""
    error = RemoteError("alpha")
    error.kind = "DuplicateJailException"
    assert beautify.error(error) == "The jail 'alpha' already exists"


def _answering(path, answers):
    """A server in a thread that gives these answers; stopped by the function that comes back."""
    loop, stop = asyncio.new_event_loop(), asyncio.Event()
    ready = threading.Event()

    async def serve():
        async def answer(request):
            return answers[request[0]]

        async with Server(path, answer).serving():
            ready.set()
            await stop.wait()

    thread = threading.Thread(target=loop.run_until_complete, args=(serve(),))
    thread.start()
    assert ready.wait(PATIENCE)

    def end():
        loop.call_soon_threadsafe(stop.set)
        thread.join(PATIENCE)
        loop.close()

    return end


def test_answer_of_another_shape(tmp_path, capsys):
    """What the command's answer should not be is shown as it is, and told of; the command has worked all the same."""
    end = _answering(tmp_path / "s", {"ping": 7, "flushlogs": None})
    try:
        assert run(["-c", str(tmp_path), "-s", str(tmp_path / "s"), "ping"]) == 0
        printed = capsys.readouterr()
        assert printed.out == "77\n"
        assert "Beautifier error" in printed.err
    finally:
        end()


def test_interactive(tmp_path, capsys, monkeypatch):
    """Commands line by line, until exit."""
    lines = iter(["ping", "echo 'unclosed", "", "help", "exit"])
    monkeypatch.setattr("builtins.input", lambda _prompt: next(lines))
    end = _answering(tmp_path / "s", {"ping": "pong"})
    try:
        assert run(["-c", str(tmp_path), "-s", str(tmp_path / "s"), "-i"]) == 0
    finally:
        end()
    printed = capsys.readouterr()
    assert "Server replied: pong" in printed.out
    assert "Usage: " in printed.out
    assert "No closing quotation" in printed.err


def test_start_in_the_background(tmp_path):
    """`start` brings a server up that answers, a second one is refused, `stop` ends it; under Fail2ban's own name."""
    name = tmp_path / "fail2ban-client"
    name.write_text(f"#!{sys.executable}\nfrom sipguard.cli.main import main\nmain()\n")
    name.chmod(0o755)
    sock, pid = tmp_path / "f2b.sock", tmp_path / "f2b.pid"
    (tmp_path / "sipguard.toml").write_text(
        f'state_dir = "{tmp_path}/state"\nsocket = "{tmp_path}/own.sock"\nlogtarget = "{tmp_path}/log"\n'
        f'[firewall]\nbackend = "memory"\n[fail2ban]\npidfile = "{pid}"\n'
    )

    def call(*words):
        command = [str(name), "-c", str(tmp_path), "-s", str(sock), *words]
        env = {**os.environ, "PYTHONPATH": str(ROOT)}
        return subprocess.run(command, capture_output=True, text=True, check=False, env=env, timeout=60)

    try:
        started = call("start")
        assert (started.returncode, started.stdout) == (0, "Server ready\n"), started.stderr
        assert call("ping").stdout == "Server replied: pong\n"
        again = call("start")
        assert again.returncode == 255
        assert "Server already running" in again.stderr
        assert call("stop").stdout == "Shutdown successful\n"
        assert call("ping").returncode == 255
    finally:
        if pid.exists():
            os.kill(int(pid.read_text()), signal.SIGTERM)
