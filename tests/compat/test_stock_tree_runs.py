"""The stock tree of the installed package, with the jails that an operator enables, in a real firewall of the test's own."""

from __future__ import annotations

import shutil
import time

import pytest
from netns import namespace
from reference import ETC
from running import append, running

ATTACKER = "203.0.113.9"

pytestmark = [
    pytest.mark.root,
    pytest.mark.fail2ban,
]


def stock_tree(folder, jails):
    """A copy of the tree whose own files lie in this folder; gives the arguments of `run`."""
    shutil.copytree(ETC, folder / "f2b", ignore=shutil.ignore_patterns("jail.d"))
    own = f"[Definition]\nlogtarget = {folder}/sipguard.log\nsocket = {folder}/f.sock\npidfile = {folder}/f.pid\n"
    (folder / "f2b" / "fail2ban.local").write_text(f"{own}dbfile = {folder}/state/f.sqlite3\n")
    (folder / "f2b" / "jail.local").write_text(jails)
    for log in ("auth.log", "mail.log"):
        (folder / log).touch()
    return ["--fail2ban-dir", folder / "f2b"]


def test_sshd_and_recidive(tmp_path):
    """Guesses at sshd are rejected at its ports; who is banned too often is banned from all, by sipguard's own log."""
    jails = (
        f"[sshd]\nenabled = true\nbackend = auto\nlogpath = {tmp_path}/auth.log\nport = ssh,2222\n"
        f"[recidive]\nenabled = true\nlogpath = {tmp_path}/sipguard.log\nmaxretry = 2\n"
    )
    with namespace("nft") as host:
        arguments = stock_tree(tmp_path, jails)
        prefix = ["ip", "netns", "exec", host.name]
        with running(tmp_path, {}, arguments=arguments, firewall="nftables", prefix=prefix) as daemon:
            for number in range(2):
                line = f"{time.strftime('%b %d %H:%M:%S')} host sshd[7]: Failed password for root from {ATTACKER} port 9 ssh2\n"
                append(tmp_path / "auth.log", line * 5)
                daemon.wait_logged(f"[sshd] Ban {ATTACKER}", times=number + 1)
                if number == 0:
                    assert ATTACKER in host.run("nft", "list", "table", "inet", "sipguard")
                daemon.sipguard("unban", ATTACKER, "--jail", "sshd")
            daemon.wait_logged(f"[recidive] Ban {ATTACKER}")
            rules = host.run("nft", "list", "table", "inet", "sipguard")
            assert "dport { 22, 2222 }" in rules
            assert daemon.banned("recidive") == {ATTACKER}
