"""The daemon as a process: a line of log in, a ban out, and the commands that ask and change."""

import json
import re
import stat
import subprocess
import sys

import pytest
from running import append, failure, running

ATTACKER = "203.0.113.66"


@pytest.fixture
def daemon(tmp_path, log):
    """A daemon with one jail on it."""
    with running(tmp_path, {"freeswitch": {"logpath": str(log), "bantime": 600}}) as one:
        yield one


def test_five_failures_ban(daemon, log):
    """Four do nothing, the fifth bans; a neighbour stays free."""
    append(log, failure(ATTACKER) * 4 + failure("203.0.113.67"))
    daemon.wait_logged("Found", times=5)
    assert daemon.banned("freeswitch") == set()
    append(log, failure(ATTACKER))
    daemon.wait_logged(f"[freeswitch] Ban {ATTACKER}")
    assert daemon.banned("freeswitch") == {ATTACKER}


def test_a_ban_ends_and_the_count_begins_again(tmp_path, log):
    """After its time the address is free, and has five failures again."""
    with running(tmp_path, {"freeswitch": {"logpath": str(log), "bantime": 4}}) as daemon:
        append(log, failure(ATTACKER) * 5)
        daemon.wait_logged(f"[freeswitch] Unban {ATTACKER}")
        assert daemon.banned("freeswitch") == set()
        append(log, failure(ATTACKER) * 4)
        daemon.wait_logged("Found", times=9)
        assert daemon.logged().count(f"Ban {ATTACKER}") == 1


def test_ignored_addresses(tmp_path, log):
    """`ignoreip` and the machine's own addresses are counted as ignored, never banned, by hand neither."""
    jail = {"logpath": str(log), "ignoreip": ["203.0.113.0/28"]}
    with running(tmp_path, {"freeswitch": jail}) as daemon:
        append(log, failure("203.0.113.5") * 9 + failure("127.0.0.1") * 9 + failure("::1") * 9)
        daemon.wait_for(lambda: daemon.status("freeswitch")["totals"]["ignored"] == 27)
        assert daemon.banned("freeswitch") == set()
        refused = daemon.sipguard("ban", "203.0.113.5", check=False)
        assert (refused.returncode, refused.stderr) == (
            2,
            "sipguard: 203.0.113.5 is not banned: ignoreip 203.0.113.0/28\n",
        )


def test_old_lines_do_not_count(tmp_path, log):
    """What happened before findtime is over."""
    append(log, failure(ATTACKER, when=1_000_000_000) * 9)
    with running(tmp_path, {"freeswitch": {"logpath": str(log)}}) as daemon:
        daemon.wait_for(lambda: daemon.status("freeswitch")["totals"]["old"] == 9)
        assert daemon.banned("freeswitch") == set()


def test_ban_and_unban_by_hand(daemon):
    """By hand, with a time; unban forgets; a second unban says no."""
    answer = json.loads(
        daemon.sipguard("ban", "--jail", "freeswitch", "2001:db8::5", "203.0.113.0/28", "--time", "1h", "--json").stdout
    )
    assert [round(ban["until"] - ban["since"]) for ban in answer] == [3600, 3600]
    assert daemon.banned("freeswitch") == {"2001:db8::5", "203.0.113.0/28"}
    assert "2001:db8::5 unbanned in freeswitch" in daemon.sipguard("unban", "2001:db8::5").stdout
    again = daemon.sipguard("unban", "2001:db8::5", check=False)
    assert (again.returncode, again.stderr) == (1, "sipguard: 2001:db8::5 is not banned\n")
    assert daemon.sipguard("flush", "--yes").stdout == "1 ban ended\n"
    assert daemon.banned("freeswitch") == set()


def test_ban_a_list(daemon):
    """From standard input, thousands at once, with time and reason; what cannot be banned is told of, the others are."""
    addresses = [f"2001:db8::{n:x}" for n in range(1, 3001)]
    done = subprocess.run(
        [
            sys.executable,
            "-m",
            "sipguard",
            "ban",
            "-",
            "--jail",
            "freeswitch",
            "--time",
            "1h",
            "--reason",
            "by list",
            "--socket",
            daemon.socket,
        ],
        input="\n".join([*addresses, "nonsense", "127.0.0.1"]),
        capture_output=True,
        text=True,
        check=False,
        timeout=60,
    )
    assert done.returncode == 2
    assert done.stdout.count(" banned by freeswitch until ") == 3000
    assert done.stderr.splitlines() == [
        "sipguard: 'nonsense' is not an address; write e.g. 203.0.113.5 or 2001:db8::/64",
        "sipguard: 127.0.0.1 is not banned: loopback",
    ]
    assert daemon.banned("freeswitch") == set(addresses)
    assert "by list" in daemon.sipguard("explain", "2001:db8::1").stdout


WRONG_CALLS = [
    (["ban", "nonsense"], "'nonsense' is not an address; write e.g. 203.0.113.5"),
    (["ban", "203.0.113.5", "--time", "soon"], "--time: soon: invalid duration"),
    (["ban", "203.0.113.5", "--time", "0"], "--time: must be more than 0"),
    (["ban", "203.0.113.5", "--jail", "x"], "no jail named x is running; running: freeswitch"),
    (["status", "x"], "no jail named x is running; running: freeswitch"),
]


def test_wrong_calls(daemon):
    """One line, exit status 2."""
    for arguments, message in WRONG_CALLS:
        done = daemon.sipguard(*arguments, check=False)
        assert done.returncode == 2, arguments
        assert done.stderr.startswith(f"sipguard: {message}"), arguments
        assert done.stderr.count("\n") == 1, arguments


def test_explain_names_the_network(daemon):
    """An address that is banned with its neighbours: what to unban is all of them."""
    daemon.sipguard("ban", "--jail", "freeswitch", "203.0.113.0/28")
    said = daemon.sipguard("explain", "203.0.113.5").stdout
    assert said.startswith("203.0.113.5 is banned as part of 203.0.113.0/28 by freeswitch since ")
    assert "to let it through: sipguard unban 203.0.113.0/28\n" in said


def test_a_reason_is_one_line(daemon):
    """Whatever is given with a ban by hand comes out as plain text, and not at any length."""
    daemon.sipguard("ban", "--jail", "freeswitch", "203.0.113.5", "--reason", "a\nb\x1b[31m" + "x" * 5000)
    said = daemon.sipguard("explain", "203.0.113.5").stdout
    assert r": a\nb\x1b[31mxxx" in said
    assert len(said) < 600


def test_explain(daemon, log):
    """The lines that led to the ban, with their users; an attacker's escape codes come out harmless."""
    append(log, failure(ATTACKER, user="\x1b[31m1001") + failure(ATTACKER) * 4)
    daemon.wait_logged("Ban")
    daemon.wait_for(lambda: "1001" in daemon.sipguard("explain", ATTACKER).stdout)
    told = daemon.sipguard("explain", ATTACKER).stdout
    assert f"{ATTACKER} is banned by freeswitch since" in told
    rows = [line.split("\t") for line in told.splitlines() if "\t" in line]
    assert [(times, reason, user) for times, _, _, reason, user in rows] == [
        ("4", "wrong password", "1000"),
        ("1", "wrong password", r"\x1b[31m1001"),
    ]
    assert told.count("from ip 203.0.113.66") == 1
    each = daemon.sipguard("explain", ATTACKER, "-v").stdout
    assert each.count("from ip 203.0.113.66") == 5
    assert "freeswitch failregex 1: ^" in each
    assert "banned for the first time; to let it through: sipguard unban" in told
    assert "\x1b" not in told
    assert daemon.sipguard("explain", "203.0.113.1", check=False).returncode == 1


def test_reload(daemon, log, tmp_path):
    """A changed jail runs by its new settings; its bans and its counts stay; a broken one is told of and left out."""
    append(log, failure(ATTACKER) * 5 + failure("203.0.113.67") * 2)
    daemon.wait_logged("Ban")
    daemon.write_jail("freeswitch", logpath=str(log), maxretry=3)
    daemon.write_jail("asterisk", logpath=str(tmp_path / "asterisk.log"), maxretry=0)
    reloaded = daemon.sipguard("reload", check=False)
    assert reloaded.returncode == 2
    assert "running: freeswitch\n" in reloaded.stdout
    assert f"{tmp_path}/jails.d/asterisk.toml:3: jail asterisk: maxretry = 0: must be" in reloaded.stderr
    assert daemon.banned("freeswitch") == {ATTACKER}
    append(log, failure("203.0.113.67"))
    daemon.wait_logged("[freeswitch] Ban 203.0.113.67")
    assert daemon.logged().count(f"Ban {ATTACKER}") == 1


def test_restart_goes_on(tmp_path, log):
    """A stopped daemon reads on where it was, and its bans go on without a word in the log."""
    jails = {"freeswitch": {"logpath": str(log), "bantime": 600}}
    with running(tmp_path, jails) as first:
        append(log, failure(ATTACKER) * 5 + failure("203.0.113.67") * 3)
        first.wait_logged("Ban")
        assert first.stop() == 0
    append(log, failure("203.0.113.67"))
    with running(tmp_path, jails) as second:
        append(log, failure("203.0.113.67"))
        second.wait_logged("[freeswitch] Ban 203.0.113.67")
        assert second.banned("freeswitch") == {ATTACKER, "203.0.113.67"}
        assert second.logged().count(f"Ban {ATTACKER}") == 1


def test_the_socket_is_for_its_owner_alone(daemon):
    """Mode 0600 from its first moment on."""
    assert stat.S_IMODE(daemon.socket.stat().st_mode) == 0o600


def test_status_reads_well_in_a_pipe(daemon, log):
    """Words and tabs, no colour."""
    append(log, failure(ATTACKER))
    daemon.wait_logged("Found")
    verdict, head, row, trial, mend = daemon.sipguard("status").stdout.splitlines()
    assert verdict == "NOT ENFORCED: a trial, bans reject no packet"
    assert re.fullmatch(r"sipguard [\d.a-z]+, running \d+s, 0 live bans, firewall memory", head)
    assert row.split("\t") == ["freeswitch", "1 log", "1", "1", "0", "0"]
    assert trial.startswith("firewall: memory enforces nothing")
    assert mend.startswith("    mend it: ")
    assert "\nsearch: libpcre2 10." in daemon.sipguard("status", "freeswitch").stdout
