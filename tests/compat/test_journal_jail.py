"""`backend = systemd`: a real journald feeds a jail of a Fail2ban tree to a ban."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import time

import pytest
from journald import journald
from limits import PATIENCE
from running import running

from sipguard.fail2ban.client.connection import Connection

pytestmark = pytest.mark.root

ATTACKER = "203.0.113.5"
OTHER = "203.0.113.6"
FILTER = r"""[Definition]
failregex = ^\S+ demo\[\d+\]: bad <HOST>$
journalmatch = SYSLOG_IDENTIFIER=demo
"""


def tree_with(folder, backend):
    """A tree whose one jail reads the journal; gives the arguments of `run`."""
    (folder / "f2b" / "filter.d").mkdir(parents=True, exist_ok=True)
    (folder / "f2b" / "filter.d" / "demo.conf").write_text(FILTER)
    own = f"[Definition]\nsocket = {folder}/f2b.sock\nlogtarget = {folder}/sipguard.log\n"
    own += f"pidfile = None\ndbfile = {folder}/state/f.sqlite3\n"
    (folder / "f2b" / "fail2ban.conf").write_text(own)
    jail = f"[demo]\nenabled = true\nbackend = {backend}\nfilter = demo\nmaxretry = 3\nfindtime = 1h\n"
    (folder / "f2b" / "jail.conf").write_text(jail)
    return ["--fail2ban-dir", folder / "f2b"]


def write(journal, address, times=1, program="demo"):
    """Log failures."""
    for _ in range(times):
        journal.write(f"bad {address}", SYSLOG_IDENTIFIER=program, PRIORITY="6")


def test_ban_from_the_journal(tmp_path):
    """The system's journal, seen as any program sees it: entries before the start count, other programs' do not."""
    with journald(tmp_path) as journal:
        write(journal, ATTACKER, 2)
        write(journal, OTHER, 9, program="else")
        journal.sync()
        with running(tmp_path, {}, arguments=tree_with(tmp_path, "systemd"), prefix=journal.prefix) as daemon:
            daemon.wait_logged(f"Found {ATTACKER}", times=2)
            write(journal, ATTACKER)
            daemon.wait_logged(f"Ban {ATTACKER}")
            assert daemon.banned("demo") == {ATTACKER}
            assert OTHER not in daemon.logged()


def test_restart_rotation_and_vacuum(tmp_path):
    """Nothing is read twice and nothing is skipped: over a restart, a rotation, and when the last entry is gone."""
    with journald(tmp_path) as journal:
        arguments = tree_with(tmp_path, f"systemd[journalpath={journal.directory}]")
        with running(tmp_path, {}, arguments=arguments) as daemon:
            write(journal, ATTACKER)
            daemon.wait_logged(f"Found {ATTACKER}")
            journal.rotate()
            write(journal, OTHER)
            daemon.wait_logged(f"Found {OTHER}")
        write(journal, OTHER)
        journal.sync()
        with running(tmp_path, {}, arguments=arguments) as daemon:
            daemon.wait_logged(f"Found {OTHER}", times=2)
            time.sleep(0.2)
            assert daemon.logged().count(f"Found {ATTACKER}") == 1
        journal.rotate()
        write(journal, OTHER)
        journal.sync()
        with running(tmp_path, {}, arguments=arguments) as daemon:
            daemon.wait_logged(f"Ban {OTHER}")
            assert daemon.logged().count(f"Found {OTHER}") == 3
            assert daemon.logged().count(f"Found {ATTACKER}") == 1


def test_journalctl_is_started_again(tmp_path):
    """When somebody ends our journalctl, what was logged meanwhile is read all the same."""
    with journald(tmp_path) as journal:
        arguments = tree_with(tmp_path, f"systemd[journalpath={journal.directory}]")
        with running(tmp_path, {}, arguments=arguments) as daemon:
            write(journal, ATTACKER)
            daemon.wait_logged(f"Found {ATTACKER}")
            children = subprocess.run(
                ["pgrep", "-P", str(daemon.process.pid)], capture_output=True, text=True, check=True
            )
            for child in children.stdout.split():
                os.kill(int(child), 9)
            write(journal, ATTACKER, 2)
            daemon.wait_logged(f"Ban {ATTACKER}")
            assert daemon.logged().count(f"Found {ATTACKER}") == 3


def test_matches_that_a_client_sets(tmp_path):
    """They are read from now on, nothing is read twice, and one that is none is refused."""

    def ask(*words):
        with Connection(str(tmp_path / "f2b.sock"), PATIENCE) as connection:
            return connection.ask(["set", "demo", *words])

    with journald(tmp_path) as journal:
        arguments = tree_with(tmp_path, f"systemd[journalpath={journal.directory}]")
        with running(tmp_path, {}, arguments=arguments) as daemon:
            daemon.wait_for((tmp_path / "f2b.sock").exists)
            write(journal, ATTACKER)
            daemon.wait_logged(f"Found {ATTACKER}")
            assert ask("addjournalmatch", "nonsense")[0] == 1
            assert ask("addfailregex", r"^\S+ else\[\d+\]: bad <HOST>$")[0] == 0
            assert ask("addjournalmatch", "SYSLOG_IDENTIFIER=else")[0] == 0
            write(journal, OTHER)
            write(journal, OTHER, program="else")
            daemon.wait_logged(f"Found {OTHER}", times=2)
            assert daemon.logged().count(f"Found {ATTACKER}") == 1


def test_bad_match(tmp_path):
    """A match that is none is told with the jail's file and line."""
    arguments = tree_with(tmp_path, "systemd")
    with (tmp_path / "f2b" / "jail.conf").open("a") as file:
        file.write("journalmatch = nonsense\n")
    command = [sys.executable, "-m", "sipguard", "check", *arguments]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == 2
    assert f"{tmp_path}/f2b/jail.conf:2: jail demo: journalmatch: 'nonsense' is not FIELD=value" in done.stderr


def test_test_filter_reads_the_journal(tmp_path):
    """`systemd-journal` as a log, with the filter's matches or other ones."""
    with journald(tmp_path) as journal:
        write(journal, ATTACKER, 2)
        write(journal, OTHER, program="else")
        journal.write(b"bad \xff", SYSLOG_IDENTIFIER="demo")
        journal.sync()
        tree_with(tmp_path, "systemd")
        files = f"systemd-journal[journalfiles={journal.directory}/*.journal]"
        for more, expected in (([], [ATTACKER] * 2 + [None]), (["--journalmatch", "SYSLOG_IDENTIFIER=else"], [None])):
            command = [sys.executable, "-m", "sipguard", "test-filter", "--json", "--fail2ban-dir", tmp_path / "f2b"]
            done = subprocess.run([*command, *more, files, "demo"], capture_output=True, text=True, check=True)
            assert [json.loads(line)["host"] for line in done.stdout.splitlines()] == expected


@pytest.mark.parametrize(
    "content", [b"", b"no journal at all" * 100, b"LPKSHHRH" + bytes(1000)], ids=["empty", "text", "cut"]
)
def test_a_broken_file_among_journalfiles(tmp_path, content):
    """One file that is no journal does not make the jail deaf: it is left out, told, and looked at again when it changes."""
    with journald(tmp_path) as journal:
        broken, good = tmp_path / "0-broken.journal", f"{journal.directory}/system.journal"
        broken.write_bytes(content)
        arguments = tree_with(tmp_path, f"systemd[journalfiles={broken} {good}]")
        with running(tmp_path, {}, arguments=arguments, prefix=journal.prefix) as daemon:
            daemon.wait_logged(f"{broken}: no journal, or a damaged one")
            write(journal, ATTACKER, 3)
            daemon.wait_logged(f"Ban {ATTACKER}")
            assert daemon.logged().count("no journal, or a damaged one") == 1
