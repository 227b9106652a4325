"""A real Asterisk judges wrong passwords whose Call-ID and From are hostile: each is counted once, for who sent it."""

from __future__ import annotations

import json
import os
import time

import pytest
from command_line import sipguard
from lab.lab import ATTACKER, EXTENSION, SUITES
from lab.wire import PACKET_COLLECTOR, AsteriskWire
from lab.wire_trial import Since, serving
from needs import needs
from test_lab_counts import counts
from test_lab_hostile import PEER, VICTIM, answer_challenges, register, wrong

pytestmark = pytest.mark.timeout(900)

NOTICE_TAIL = f"' failed for '{VICTIM}:5060' (callid: z"
CALL_IDS = {
    "brackets": "a] A[1]",
    "a level": "a] NOTICE[1]",
    "quotes": 'a"b"c',
    "another address": f"a{PEER}",
    "another address, ESC": f'a{PEER},Challenge="\x1b',
    "an ESC": "a\x1bb",
    "an ESC and an m": "a\x1b[31mb",
    "a NOTICE's end": f"a{NOTICE_TAIL}",
    "long": "a" * 7000,
    "too long": "a" * 8000,
    "percent": "a%0ab%00c",
}
FROMS = {
    "brackets": "%5bx%5d",
    "quotes": "%22x%22",
    "an ESC": "%1bx",
    "a line feed": "x%0ay",
    "a line feed and a line": "x%0a%5bJan%2015%2010%3a20%3a30%5d%20SECURITY%5b1%5d%1b",
    "an apostrophe": "x'y",
    "a NOTICE's end": "".join(c if c.isalnum() else f"%{ord(c):02x}" for c in NOTICE_TAIL),
    "an address": "".join(c if c.isalnum() else f"%{ord(c):02x}" for c in PEER),
    "long": "x" * 8000,
    "a tab": "x%09y",
}
CUT = "Call-ID", "too long"
"""Asterisk writes 8,191 bytes of an event, and so no address: nothing to count by (docs/logs.md)."""
TIMES = 3


class WatchedAsterisk(AsteriskWire):
    """Its packets are watched."""

    collector = PACKET_COLLECTOR


@pytest.fixture(scope="module", params=SUITES)
@needs("root", "lab")
def attacked(request):
    """Asterisk 22 and 16."""
    yield from serving(WatchedAsterisk, request.param)


def guess(lab, call_id, sender):
    """Three guesses at one account, each with another answer; gives what they were answered."""
    packets = [register(EXTENSION, f"{time.time_ns()}{call_id}", wrong()) for _ in range(TIMES)]
    return answer_challenges(lab, [one.replace(f"From: <sip:{EXTENSION}@", f"From: <sip:{sender}@") for one in packets])


def guessed(lab, call_id, sender):
    """The same, and what the wire has counted of it; the logs have nothing else."""
    for log in ("full", "security", "messages"):
        os.truncate(lab.log(log), 0)
    since = Since(lab)
    assert guess(lab, call_id, sender) == ["401"] * TIMES
    lab.settle()
    return since.counted()


@pytest.mark.parametrize(
    "field", [*(("Call-ID", name) for name in CALL_IDS), *(("From", name) for name in FROMS)], ids=str
)
def test_wrong_passwords_are_counted_as_made(attacked, field):
    """For the true source, in the log of security events and by their packets; nobody else is accused by any log."""
    where, name = field
    call_id, sender = (CALL_IDS[name], EXTENSION) if where == "Call-ID" else ("c", FROMS[name])
    assert guessed(attacked, call_id, sender) == {(ATTACKER, "", "failure", "proven"): TIMES}
    made = {} if field == CUT else {ATTACKER: TIMES}
    assert counts("security", attacked.log("security")) == made
    assert counts("full", attacked.log("full")) == made
    assert counts("messages", attacked.log("messages")).keys() <= {ATTACKER}


def test_a_call_id_that_is_too_long_for_an_event(attacked, tmp_path):
    """The packets and NOTICE lines have the address that no event has; a log of events tells that somebody wrote into it."""
    assert guessed(attacked, CALL_IDS["too long"], EXTENSION) == {(ATTACKER, "", "failure", "proven"): TIMES}
    (tmp_path / "jails.d").mkdir()
    jail = 'filter = "asterisk[log=all]"\nlogpath = "/dev/null"\nport = "5060"\n'
    (tmp_path / "jails.d" / "asterisk-all.toml").write_text(jail)
    (tmp_path / "sipguard.toml").touch()
    for log, options, made in (
        ("security", ["asterisk"], 0),
        ("full", ["asterisk-all", "-c", tmp_path / "sipguard.toml"], TIMES),
        ("messages", ["asterisk-all", "-c", tmp_path / "sipguard.toml"], TIMES),
    ):
        done = sipguard("replay", "--json", "--jail", *options, attacked.log(log))
        assert done.returncode == 0, done.stderr
        *rows, summary = map(json.loads, done.stdout.splitlines())
        assert {row["address"]: row["attempts"] for row in rows} == ({ATTACKER: made} if made else {}), log
        assert log == "messages" or summary["tampered"] >= TIMES, log
