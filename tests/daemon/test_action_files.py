"""Fail2ban's action files at work in the daemon, on a tree: told of bans, or being the bans (`--banactions commands`)."""

from __future__ import annotations

import os
import time

import pytest
from running import append, running

ATTACKER = "203.0.113.5"
FILTER = "[Definition]\nfailregex = ^ bad <HOST>(?: user=<F-USER>.*</F-USER>)?$\n"
OWN = """[Definition]
actionstart = echo "start <name>" >> {noted}
actionban = echo "ban <ip> <failures> <bancount> <restored> <F-USER> <matches>" >> {noted}
actionunban = echo "unban <ip>" >> {noted}
actionstop = echo "stop" >> {noted}
{more}
"""
BLOCK = """[Definition]
actionstart = iptables start <name>
actionban = iptables ban <ip>
actionunban = iptables unban <ip>
actionstop = iptables stop
actioncheck = iptables check
"""
STUB = """#!/bin/sh
echo "$*" >> {folder}/noted
[ "$1" != check ] || [ ! -e {folder}/broken ] || { rm {folder}/broken; exit 1; }
"""


@pytest.fixture
def tree(tmp_path):
    """Makes a tree with one jail and these actions; gives the arguments of `run`."""
    for name in ("filter.d", "action.d", "bin"):
        (tmp_path / "f2b" / name).mkdir(parents=True)

    def make(action, more="", jail=""):
        noted = tmp_path / "noted"
        (tmp_path / "f2b" / "filter.d" / "demo.conf").write_text(FILTER)
        (tmp_path / "f2b" / "action.d" / "own.conf").write_text(OWN.format(noted=noted, more=more))
        (tmp_path / "f2b" / "action.d" / "block.conf").write_text(BLOCK)
        stub = tmp_path / "f2b" / "bin" / "iptables"
        stub.write_text(STUB.replace("{folder}", str(tmp_path)))
        stub.chmod(0o755)
        own = (
            f"[Definition]\nlogtarget = {tmp_path}/sipguard.log\npidfile = none\ndbfile = {tmp_path}/state/f.sqlite3\n"
        )
        (tmp_path / "f2b" / "fail2ban.conf").write_text(own)
        (tmp_path / "log").touch()
        head = (
            f"[demo]\nenabled = true\nfilter = demo\nmaxretry = 2\nlogpath = {tmp_path}/log\naction = {action}\n{jail}"
        )
        (tmp_path / "f2b" / "jail.conf").write_text(head)
        return ["--fail2ban-dir", tmp_path / "f2b"]

    make.log = tmp_path / "log"
    make.noted = lambda: (tmp_path / "noted").read_text().splitlines() if (tmp_path / "noted").exists() else []
    make.env = {"PATH": f"{tmp_path}/f2b/bin:{os.environ['PATH']}"}
    return make


def bad(host, user="1000", count=1):
    """Failures of this host, now."""
    return time.strftime(f"%Y-%m-%d %H:%M:%S bad {host} user={user}\n") * count


def test_an_action_that_names_a_firewall_runs(tmp_path, tree):
    """A firewall's word in a message replaces nothing; what sipguard's firewall does instead is named in the log."""
    more = f"actionreload = echo 'reload iptables ufw route' >> {tmp_path}/noted\n[Init]\nblocktype = REJECT"
    with running(tmp_path, {}, arguments=tree("own\n block", more)) as daemon:
        append(tree.log, bad(ATTACKER, count=2))
        daemon.wait_for(lambda: len(tree.noted()) == 3)
        assert tree.noted()[1].startswith(f"ban {ATTACKER} 2 ")
        daemon.wait_logged("Action block: replaced by sipguard's firewall; it does firewall work alone (iptables)")
        assert daemon.banned("demo") == {ATTACKER}


def test_life(tmp_path, tree):
    """An action is told of all, with the lines and what the filter captured, none of which is a command."""
    user = f"\"$(touch {tmp_path}/PWNED)' `touch {tmp_path}/PWNED`"
    with running(tmp_path, {}, arguments=tree("own")) as daemon:
        append(tree.log, bad(ATTACKER, user, count=2))
        daemon.wait_for(lambda: len(tree.noted()) == 3)
        first, ban, second = tree.noted()
        assert first == "start demo"
        assert ban.startswith(f"ban {ATTACKER} 2 1 0 {user} ")
        assert ban.endswith(f"bad {ATTACKER} user={user}")
        assert second.endswith(f"bad {ATTACKER} user={user}")
        daemon.stop()
        assert tree.noted()[3:] == [f"unban {ATTACKER}", "stop"]
        daemon.start()
        daemon.wait_for(lambda: len(tree.noted()) == 8)
        assert tree.noted()[5] == "start demo"
        assert tree.noted()[6].startswith(f"ban {ATTACKER} 2 1 1  ")  # the lines are stored, the captures are not
        assert user in tree.noted()[6]
        daemon.sipguard("unban", ATTACKER)
        daemon.wait_for(lambda: len(tree.noted()) == 9)
    assert tree.noted()[8:] == [f"unban {ATTACKER}", "stop"]
    assert not (tmp_path / "PWNED").exists()


def test_norestored(tmp_path, tree):
    """`norestored`: nothing is told of a ban that was there before; `actionflush` ends all at once."""
    more = f"norestored = 1\nactionflush = echo flush >> {tmp_path}/noted\n"
    with running(tmp_path, {}, arguments=tree("own", more)) as daemon:
        append(tree.log, bad(ATTACKER, count=2))
        daemon.wait_for(lambda: len(tree.noted()) == 3)
        daemon.stop()
        daemon.start()
        daemon.wait_for(lambda: daemon.banned("demo") == {ATTACKER})
    assert tree.noted()[3:] == ["flush", "stop", "start demo", "stop"]


def test_firewall_actions_are_left_out(tmp_path, tree):
    """The jail's iptables action does nothing: sipguard's firewall does its work, and the other action is told."""
    with running(tmp_path, {}, arguments=tree("block\n    own"), env=tree.env) as daemon:
        append(tree.log, bad(ATTACKER, count=2))
        daemon.wait_for(lambda: len(tree.noted()) == 3)
        assert daemon.banned("demo") == {ATTACKER}
    assert tree.noted()[0] == "start demo"
    assert tree.noted()[-1] == "stop"


def test_firewall_actions_ban(tmp_path, tree):
    """`--banactions commands`: the action bans; when its rules were lost, they are put back and the ban is made again.

    Takes the 10 s in which lines of a banned address are no sign of that.
    """
    arguments = [*tree("block"), "--banactions", "commands"]
    with running(tmp_path, {}, arguments=arguments, env=tree.env) as daemon:
        append(tree.log, bad(ATTACKER, count=2))
        daemon.wait_for(lambda: tree.noted() == ["start demo", f"ban {ATTACKER}"])
        (tmp_path / "broken").touch()
        daemon.wait_for(lambda: time.time() > daemon.status("demo")["banned"][0]["since"] + 11)
        append(tree.log, bad(ATTACKER))
        daemon.wait_for(lambda: len(tree.noted()) == 8)
        # Checked once for no family, for which it was started, and once for that of the ban, as Fail2ban does it.
        assert tree.noted()[2:] == ["check", "stop", "start demo", "check", "check", f"ban {ATTACKER}"]
        daemon.sipguard("unban", ATTACKER)
        daemon.wait_for(lambda: len(tree.noted()) == 9)
    assert tree.noted()[8:] == [f"unban {ATTACKER}", "stop"]
