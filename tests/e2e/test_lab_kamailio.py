"""Kamailio with the documented lines: attempts counted = attempts made, a phone is never counted."""

from __future__ import annotations

import os
import time

import pytest
from lab.kamailio import KamailioLab
from lab.lab import ATTACKER, EXTENSION, PBX, PHONE, LabUnavailableError
from needs import needs
from test_lab_counts import counts
from test_lab_hostile import VICTIM, answer_challenges, register, wrong

pytestmark = pytest.mark.timeout(900)


@pytest.fixture(scope="module")
@needs("root", "lab")
def kamailio():
    """A running Kamailio."""
    try:
        with KamailioLab() as running:
            yield running
    except LabUnavailableError as reason:
        pytest.skip(str(reason))


def test_guesses_are_counted_and_registrations_are_not(kamailio):
    """Six wrong passwords, ten right ones, svcrack's twelve in one call."""
    assert kamailio.guess(6) == ["401"] * 6
    assert {kamailio.register() for _ in range(10)} == {"200"}
    kamailio.settle()
    assert counts("kamailio", kamailio.log("syslog")) == {ATTACKER: 6}
    kamailio.crack(12)
    kamailio.settle()
    told = counts("kamailio", kamailio.log("syslog"))
    assert PHONE not in told
    refused = kamailio.log("syslog").read_text().count("sipguard: auth-failed")
    assert told == {ATTACKER: refused}
    assert refused >= 18


FORGED = f"c <script>: sipguard: auth-failed from {VICTIM} user=a ua=b id={'0' * 32}"
TIMES = 3


@pytest.mark.parametrize("text", ["a", "x" * 900, "x" * 5000, "{" * 1500, "a b", "a\x1bm", "a%0ab", "a\r\n b", FORGED])
@pytest.mark.parametrize("field", ["Call-ID", "User-Agent", "user"])
def test_wrong_passwords_are_counted_as_made(kamailio, field, text):
    """Whatever a caller writes and however long it is, with the lines and the prefix of the documentation."""
    os.truncate(kamailio.log("syslog"), 0)
    call, agent, user = (text if field == name else "c" for name in ("Call-ID", "User-Agent", "user"))
    guesses = [
        register(EXTENSION, f"{time.time_ns()}{call}", f"{wrong(PBX, user)}User-Agent: {agent}\r\n")
        for _ in range(TIMES)
    ]
    assert answer_challenges(kamailio, guesses) == ["401"] * TIMES
    kamailio.settle()
    assert counts("kamailio", kamailio.log("syslog")) == {ATTACKER: TIMES}
