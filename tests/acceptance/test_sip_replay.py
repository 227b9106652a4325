"""What `replay` counts in logs whose truth is known from the wire: every attempt once, nobody else, no phone banned."""

from __future__ import annotations

import json
import os
from pathlib import Path

import pytest
from annotations import LOGS, ROOT
from command_line import sipguard

SHARED = Path(os.environ.get("SIPGUARD_SHARED_LOGS", ROOT.parent / "shared" / "logs")) / "freeswitch"
"""Real logs that are too large for the repository; README.md and attack-truth.tsv beside them tell what happened."""

needs_shared = pytest.mark.skipif(not SHARED.is_dir(), reason=f"the large sample logs are not here: {SHARED}")

NET = "203.0.113."
GUESSES = {
    "66": 41, "67": 10, "74": 15, "76": 5, "80": 5, "81": 10, "85": 5, "86": 5, "87": 5, "21": 2,
}  # fmt: skip
"""Credentials that were answered 403, counted on the wire; .21 is a phone whose user mistyped twice."""
REFUSED = {"73": 10, "78": 5}
"""Refused by an ACL before any credentials: not in mod_fail2ban's log."""
SIX = {"2001:db8:113::66": 20}
INFO = {"74": 3, "212": 5, "213": 3, "217": 3}


def in_net(*tables):
    """Whole addresses of the tables' last parts."""
    return {NET + last: made for table in tables for last, made in table.items()}


ATTACK = in_net(GUESSES, REFUSED) | SIX
TRUTH = {
    f"{kind}{suffix}.log": made
    for kind, made in (("attack", ATTACK), ("info", in_net(INFO)), ("normal", in_net({"21": 1})))
    for suffix in ("", "-nouuid", "-warning", "-syslog", "-syslog-rfc3339")
} | {
    "attack-mod_fail2ban.log": in_net(GUESSES) | SIX,
    "info-mod_fail2ban.log": in_net(INFO),
    "normal-mod_fail2ban.log": in_net({"21": 1}),
}


def replay(jail, *logs, options=()):
    """What `sipguard replay --json` says: address → its object, and the summary."""
    done = sipguard("replay", "--json", "--jail", jail, *options, *logs)
    assert done.returncode == 0, done.stderr
    *rows, summary = [json.loads(line) for line in done.stdout.splitlines()]
    assert summary["summary"] is True
    return {row["address"]: row for row in rows}, summary


def counted(rows):
    """Address → attempts."""
    return {address: row["attempts"] for address, row in rows.items()}


@needs_shared
@pytest.mark.parametrize("name", TRUTH)
def test_attempts_are_those_of_the_wire(name):
    """Per source exactly the attempts made, in each of FreeSWITCH's logs of the same traffic; the rest is 0."""
    rows, summary = replay("freeswitch", SHARED / name)
    assert counted(rows) == TRUTH[name]
    assert summary["lines"] == (SHARED / name).read_bytes().count(b"\n")
    assert not [address for address in (f"{NET}20", f"{NET}21", f"{NET}22") if rows.get(address, {}).get("banned_at")]


@needs_shared
def test_several_logs_are_read_as_one():
    """Logs of two hours in the wrong order: merged by their times, lines added up."""
    rows, summary = replay("freeswitch", SHARED / "info-warning.log", SHARED / "attack-warning.log")
    assert rows[f"{NET}74"]["attempts"] == 18
    assert summary["from"] < summary["to"]


ASTERISK = {"198.51.100.66": 6 + 3 + 9 + 2}
"""The lab: wrong passwords, registrations of nobody, svcrack, svwar; the phone's registrations are none."""


EVENTS = ["asterisk22-full", "asterisk22-security", "asterisk16-full"]
NOTICES = ["asterisk22-messages", "asterisk16-messages"]


@pytest.fixture
def log_all(tmp_path):
    """Options of `replay`: the packaged jail with the filter that logs without SECURITY events need."""
    (tmp_path / "jails.d").mkdir()
    (tmp_path / "jails.d" / "asterisk.toml").write_text('filter = "asterisk[log=all]"\n')
    (tmp_path / "sipguard.toml").touch()
    return ("-c", str(tmp_path / "sipguard.toml"))


@pytest.mark.parametrize("name", EVENTS)
def test_asterisk_attempts_are_the_same_in_each_log(name):
    """SECURITY alone, or NOTICE beside it: one attempt is one, the two requests of a registration included."""
    rows, _ = replay("asterisk", LOGS / f"{name}.log")
    assert counted(rows) == ASTERISK
    assert rows["198.51.100.66"]["banned_at"]


@pytest.mark.parametrize("name", EVENTS + NOTICES)
def test_asterisk_attempts_are_the_same_with_notice_lines(name, log_all):
    """NOTICE alone, SECURITY alone, or both, where the operator has asked for both: one attempt is one."""
    rows, _ = replay("asterisk", LOGS / f"{name}.log", options=log_all)
    assert counted(rows) == ASTERISK


@pytest.mark.parametrize("name", NOTICES)
def test_a_log_of_notice_lines_accuses_nobody_by_default(name):
    """They cannot be told from changed ones; `check` says what to switch on."""
    assert not replay("asterisk", LOGS / f"{name}.log")[0]


@pytest.mark.parametrize(
    ("name", "made"),
    [("asterisk22-manager", 7), ("asterisk22-quotes", 7), ("asterisk22-control-bytes", 2)],
)
def test_hostile_fields_accuse_the_attacker_alone(name, made):
    """Of 3 attempts with control bytes one event is divided, and put together; one is dropped: its NOTICE could be anybody's."""
    rows, _ = replay("asterisk", LOGS / f"{name}.log")
    assert counted(rows) == {"198.51.100.66": made}


def test_a_dumped_packet_accuses_nobody():
    """Lines within a packet that the server dumped are counted as tampered, and name nobody."""
    rows, summary = replay("asterisk", LOGS / "asterisk22-dumped-packet.log")
    assert not rows
    assert summary["tampered"] >= 1


def test_ipv6_is_banned_by_its_64(tmp_path):
    """Attempts from several addresses of one /64 add up; each is told by itself, with the network that is banned."""
    lines = [
        f"2026-01-15 10:20:3{n}.123456 98.53% [WARNING] sofia_reg.c:1787 SIP auth failure (REGISTER) on sofia profile "
        f"'internal' for [1000@192.0.2.10] from ip 2001:db8::{n}\n"
        for n in range(1, 6)
    ]
    log = tmp_path / "freeswitch.log"
    log.write_text("".join(lines))
    rows, _ = replay("freeswitch", log)
    assert counted(rows) == {f"2001:db8::{n}": 1 for n in range(1, 6)}
    assert rows["2001:db8::5"]["banned"] == "2001:db8::/64"


def test_a_jail_of_a_fail2ban_tree(tmp_path):
    """With --fail2ban-dir the tree's jail decides, enabled or not; what it is counted by is the tree's filter."""
    (tmp_path / "filter.d").mkdir()
    (tmp_path / "jail.conf").write_text("[DEFAULT]\nmaxretry = 2\nfindtime = 60\n[mine]\nfilter = mine\nlogpath = /x\n")
    (tmp_path / "filter.d" / "mine.conf").write_text("[Definition]\nfailregex = ^ no <HOST>$\n")
    log = tmp_path / "x.log"
    log.write_text("2026-01-15 10:20:30 no 192.0.2.7\n2026-01-15 10:20:40 no 192.0.2.7\n")
    rows, summary = replay("mine", log, options=("--fail2ban-dir", str(tmp_path)))
    assert counted(rows) == {"192.0.2.7": 2}
    assert rows["192.0.2.7"]["banned_at"].startswith("2026-01-15T10:20:40")
    assert summary["lines"] == 2


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (["--jail", "asterix", "x"], "did you mean `asterisk`"),
        (["--jail", "asterisk", "/nowhere/x.log"], "/nowhere/x.log: No such file"),
    ],
)
def test_wrong_calls_are_one_line_and_exit_2(options, message):
    """What, and how to mend it; no traceback."""
    done = sipguard("replay", *options)
    assert done.returncode == 2
    assert message in done.stderr
    assert len(done.stderr.splitlines()) == 1
