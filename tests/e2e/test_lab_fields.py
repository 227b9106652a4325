"""A real Asterisk judges wrong passwords whose Call-ID and From are hostile: each is counted once, for who sent it."""

from __future__ import annotations

import time

import pytest
from lab.lab import ATTACKER, EXTENSION, PBX, SUITES
from test_lab_counts import counts
from test_lab_hostile import PEER, VICTIM, WRONG, register, send

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


def judged(lab, call_id, sender):
    """Three guesses at one account, each with another answer; how many were refused."""
    guesses = [WRONG.replace("0" * 32, f"{time.time_ns():032x}") for _ in range(TIMES)]
    packets = [register(EXTENSION, f"{time.time_ns()}{call_id}", guess) for guess in guesses]
    packets = [one.replace(f"From: <sip:{EXTENSION}@", f"From: <sip:{sender}@") for one in packets]
    return sum(code == "401" for code in send(lab, *packets))


@pytest.mark.parametrize("suite", SUITES)
@pytest.mark.parametrize(
    "field", [*(("Call-ID", name) for name in CALL_IDS), *(("From", name) for name in FROMS)], ids=str
)
def test_wrong_passwords_are_counted_as_made(lab, suite, field):
    """For the true source, in the log of security events; nobody else is accused by any log."""
    attacked = lab(suite)
    where, name = field
    before = counts("security", attacked.log("security"))
    call_id, sender = (CALL_IDS[name], EXTENSION) if where == "Call-ID" else ("c", FROMS[name])
    made = judged(attacked, call_id, sender)
    assert made == TIMES
    attacked.settle()
    after = counts("security", attacked.log("security"))
    assert after.get(ATTACKER, 0) - before.get(ATTACKER, 0) == (0 if field == CUT else made)
    for log in ("full", "security", "messages"):
        assert counts(log, attacked.log(log)).keys() <= {ATTACKER}, log
    assert PBX not in after
