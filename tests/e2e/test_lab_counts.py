"""Attempts counted = attempts made, by real servers in each log they write; and a phone is never counted."""

from __future__ import annotations

import json

import pytest
from command_line import sipguard
from lab.lab import ATTACKER, PHONE, SUITES

pytestmark = pytest.mark.timeout(900)


CONFIGURATION: dict[str, list[str]] = {"kamailio": ["--jail", "kamailio"]}
"""Log → what `replay` is told of it, if not the packaged jail `asterisk`; `messages` is added below."""


@pytest.fixture(scope="module", autouse=True)
def log_all(tmp_path_factory):
    """A configuration whose jail `asterisk-notice` counts NOTICE lines too, as a log without SECURITY events needs."""
    folder = tmp_path_factory.mktemp("notice")
    (folder / "jails.d").mkdir()
    (folder / "jails.d" / "asterisk-notice.toml").write_text(
        'filter = "asterisk[log=all]"\nlogpath = "/dev/null"\nport = "5060"\n'
    )
    (folder / "sipguard.toml").touch()
    CONFIGURATION["messages"] = ["--jail", "asterisk-notice", "-c", str(folder / "sipguard.toml")]


def counts(name, log):
    """Address → attempts, by `sipguard replay`: by default, and with the option where the log has NOTICE lines alone."""
    jail = CONFIGURATION.get(name, ["--jail", "asterisk"])
    done = sipguard("replay", "--json", *jail, log)
    assert done.returncode == 0, done.stderr
    return {row["address"]: row["attempts"] for row in map(json.loads, done.stdout.splitlines()) if "address" in row}


@pytest.fixture(params=list(SUITES))
def running(lab, request):
    """A running lab of each suite."""
    return lab(request.param)


LOGS = ("full", "security", "messages")


def made(running, attack):
    """What an attack adds to each log's counts: only the attacker's."""
    before = {name: counts(name, running.log(name)) for name in LOGS}
    attack()
    running.settle()
    after = {name: counts(name, running.log(name)) for name in LOGS}
    assert all(PHONE not in one for one in after.values())
    return [after[name].get(ATTACKER, 0) - before[name].get(ATTACKER, 0) for name in LOGS]


@pytest.mark.parametrize("user", ["1000", "nobody"], ids=["known user", "unknown user"])
def test_guesses(running, user):
    """Seven wrong passwords are seven attempts, in each of the three logs."""
    assert made(running, lambda: running.guess(7, user=user)) == [7, 7, 7]


def test_svcrack(running):
    """All guesses of one Call-ID: as many as Asterisk refused."""
    refused = running.log("security").read_text().count('"ChallengeResponseFailed"')
    told = made(running, lambda: running.crack(15))
    refused = running.log("security").read_text().count('"ChallengeResponseFailed"') - refused
    assert told == [refused] * 3
    assert refused >= 15


def test_svwar(running):
    """Each extension that svwar asked for is one attempt, whatever else a log tells of it."""
    calls = set()
    told = made(running, lambda: running.enumerate(100, 110))
    for line in running.log("security").read_text().splitlines():
        if "InvalidAccountID" in line and 'AccountID="1' in line:
            calls.add(line.partition('AccountID="')[2].partition('"')[0])
    assert len(set(told)) == 1
    assert told[0] >= 1
    assert told[0] <= len(calls) + 1


def test_a_phone_registers_200_times(running):
    """Challenge and success, 200 times over, from a new port each time: nobody is counted.

    403 is what a phone gets that is authenticated, and has more contacts than it may.
    """
    answers = running.registers(200)
    assert len(answers) == 200
    assert set(answers) <= {"200", "403"}
    assert "200" in answers
    running.settle()
    for name in LOGS:
        assert PHONE not in counts(name, running.log(name))
