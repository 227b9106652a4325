"""Kamailio with the documented lines: attempts counted = attempts made, a phone is never counted."""

from __future__ import annotations

import pytest
from lab.kamailio import KamailioLab
from lab.lab import ATTACKER, PHONE, LabUnavailableError
from needs import needs
from test_lab_counts import counts

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
