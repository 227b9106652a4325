"""A server that logs another zone's time, or late: in a tree of Fail2ban's and in a jail of ours."""

from __future__ import annotations

import time

import pytest
from running import append, failure, running

ATTACKER = "203.0.113.66"
TREE = """\
[DEFAULT]
[freeswitch]
enabled = true
backend = auto
logpath = {log}
maxretry = 5
findtime = 600
bantime = 600
filter = freeswitch
"""
FILTER = r"""
[Definition]
failregex = ^\s*\S*\s*\[WARNING\] sofia_reg\.c:\d+ SIP auth failure \(REGISTER\) on sofia profile '\S+' for \[.*\] from ip <HOST>$
"""


def late(seconds, attacker=ATTACKER):
    return failure(attacker, when=time.time() - seconds)


@pytest.mark.parametrize("hours", [2, -2, 26])
def test_a_container_without_zone(tmp_path, log, hours):
    """It bans as if the times were right, says so in the log and in `status`, and goes on after a rotation."""
    with running(tmp_path, {"freeswitch": {"logpath": str(log)}}) as daemon:
        append(log, late(hours * 3600) * 5)
        daemon.wait_logged(f"Ban {ATTACKER}")
        daemon.wait_logged("its lines name no time zone")
        told = daemon.sipguard("status", "freeswitch").stdout
        assert f"log {log}: its lines are " in told
        assert ("ahead of" if hours < 0 else "behind") in told
        log.rename(tmp_path / "freeswitch.log.1")
        append(log, late(hours * 3600 + 3000, "203.0.113.7") * 5 + late(hours * 3600, "203.0.113.8") * 5)
        daemon.wait_logged("Ban 203.0.113.8")
        assert daemon.banned("freeswitch") == {ATTACKER, "203.0.113.8"}


def test_what_was_written_before(tmp_path, log):
    """Lines that were there at the start, or that came by a rotation, are never taken for new ones."""
    append(log, late(7200, "203.0.113.1") * 5)
    with running(tmp_path, {"freeswitch": {"logpath": str(log)}}) as daemon:
        append(log, late(0, "203.0.113.2") * 5)
        daemon.wait_logged("Ban 203.0.113.2")
        log.rename(tmp_path / "freeswitch.log.1")
        append(tmp_path / "new", late(7200, "203.0.113.3") * 5 + late(0, "203.0.113.4") * 5)
        (tmp_path / "new").rename(log)
        daemon.wait_logged("Ban 203.0.113.4")
        assert daemon.banned("freeswitch") == {"203.0.113.2", "203.0.113.4"}


def test_late_by_no_zone(tmp_path, log):
    """Twenty minutes late counts for nothing, and the log says why."""
    with running(tmp_path, {"freeswitch": {"logpath": str(log)}}) as daemon:
        append(log, late(1200) * 5)
        daemon.wait_logged("20 min old when they are written, more than findtime: they do not count")
        assert not daemon.banned("freeswitch")


@pytest.mark.parametrize("seconds", [1200, 7200, 26 * 3600, -7200])
def test_in_fail2bans_tree(tmp_path, log, seconds):
    """Fail2ban's way: counted as now, with a warning; what was there at the start is too old."""
    tree = tmp_path / "f2b"
    for folder in ("filter.d", "action.d"):
        (tree / folder).mkdir(parents=True)
    (tree / "jail.conf").write_text(TREE.format(log=log))
    (tree / "fail2ban.conf").write_text(
        f"[Definition]\nloglevel = INFO\nsocket = {tmp_path}/f2b.sock\npidfile = none\ndbfile = none\n"
        f"logtarget = {tmp_path}/sipguard.log\n"
    )
    (tree / "filter.d" / "freeswitch.conf").write_text(FILTER)
    append(log, late(max(seconds, 1200), "203.0.113.1") * 5)
    with running(tmp_path, {}, arguments=["--fail2ban-dir", str(tree)]) as daemon:
        daemon.wait_for(lambda: daemon.status("freeswitch")["detection"]["lines"] == 5)
        append(log, late(seconds) * 5)
        daemon.wait_logged(f"Ban {ATTACKER}")
        daemon.wait_logged("counted as if they had just happened")
        assert daemon.banned("freeswitch") == {ATTACKER}
