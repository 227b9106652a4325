"""Which line and which attempt are one, and how much is remembered to tell."""

from __future__ import annotations

import pytest
from testimony import ATTACKER, FILTER, NOW, PHONE, attempt, examined, line

from sipguard.model import Filter
from sipguard.policy.corroboration import WAIT
from sipguard.policy.pairing import MEMORY, TOLERANCE, Waiting, Witness, Witnesses, plain_name
from sipguard.policy.pairing import Testimony as Told
from sipguard.policy.sight import EncryptedSessions, OffWire, Presence


@pytest.mark.parametrize(
    ("seen", "told"),
    [
        (attempt(user="1000"), line(user="1000")),
        (attempt(user="1000"), line(user=None)),
        (attempt(user=""), line(user="1000")),
        (attempt(user="a%40b"), line(user="a@b")),
        (attempt(user="Alice"), line(user='"alice"')),
        (attempt(user="a" * 80), line(user="a" * 36)),
        (attempt(user="1000", account="2000"), line(user="2000")),
        (attempt(user="1000", account="1000", target="900441"), line(user="900441")),
        (attempt(method="INVITE"), line(method="INVITE")),
        (attempt(time=NOW - TOLERANCE), line()),
        (attempt(time=NOW + TOLERANCE), line(time=NOW)),
    ],
)
def test_what_pairs(seen, told):
    """Names as servers and packets may write them; two seconds."""
    one = examined()
    one.witness(seen, NOW)
    assert one.testify(told, NOW + TOLERANCE) == []
    assert one.confirmed == 1


@pytest.mark.parametrize(
    ("seen", "told"),
    [
        (attempt(user="1000"), line(user="1001")),
        (attempt(method="INVITE"), line(method="REGISTER")),
        (attempt(time=NOW - TOLERANCE - 0.1), line()),
        (attempt(PHONE), line()),
        (attempt(verdict="success"), line()),
    ],
)
def test_what_does_not_pair(seen, told):
    """Another user, method, time or address; a login is no failure."""
    one = examined()
    one.witness(seen, NOW)
    assert [found.evidence for found in one.testify(told, NOW) + one.due(NOW + WAIT)] == ["unproven"]
    assert one.confirmed == 0


def test_memory_is_bounded():
    """However many addresses and attempts come."""
    witnesses = Witnesses(most=1000)
    for number in range(5000):
        witnesses.add(Witness(attempt(f"10.0.{number // 250}.{number % 250}", NOW + number)))
    assert len(witnesses) == 1000
    assert witnesses.lost_until("192.0.2.1") == NOW + 3999
    waiting = Waiting(most=100, most_of_one=10)
    added = [waiting.add(Told.of(line(), ATTACKER, NOW, "", NOW), NOW) for _ in range(50)]
    assert sum(added) == len(waiting) == 10
    presence = Presence(most=100)
    presence.saw(["192.0.2.1"], NOW)
    presence.saw([f"10.0.0.{n}" for n in range(150)], NOW + 1)
    assert presence.lost_until == NOW + 1
    sessions = EncryptedSessions(most=2)
    for number in range(5):
        sessions.saw(f"192.0.2.{number}", NOW)
    assert [sessions.within(f"192.0.2.{n}", NOW, NOW) for n in range(5)] == [False, False, False, True, True]


def test_sessions_of_one_that_goes_on_and_on():
    """However many payloads follow, a line that comes late finds those of its time; and none where there were none."""
    sessions = EncryptedSessions()
    for number in range(600):
        sessions.saw(ATTACKER, NOW + number / 10)
    sessions.saw(ATTACKER, NOW + 100)
    asked = [-1.0, 0.0, 30.0, 80.0, 100.0, 101.0]
    assert [sessions.within(ATTACKER, NOW + one, NOW + one) for one in asked] == [False, True, True, False, True, False]


def test_presence_lasts():
    """An address is remembered for ten minutes at least, and not for ever."""
    presence = Presence()
    presence.saw([ATTACKER], NOW)
    presence.saw([PHONE], NOW + MEMORY - 1)
    assert ATTACKER in presence
    presence.saw([PHONE], NOW + MEMORY)
    assert ATTACKER in presence
    presence.saw([PHONE], NOW + 2 * MEMORY)
    assert ATTACKER not in presence
    assert PHONE in presence


def test_lines_that_the_wire_cannot_know():
    """A filter says which."""
    told = Filter("test", failregex=(), options={"off_wire": 'Service="AMI"', "off_hep": "chan_sip"})
    assert OffWire(told, packets=True).tells('x Service="AMI" y')
    assert not OffWire(told, packets=True).tells("chan_sip.c")
    assert OffWire(told, packets=False).tells("chan_sip.c")
    assert not OffWire(FILTER, packets=False).tells("anything")


@pytest.mark.parametrize(
    ("text", "plain"), [(None, ""), ("", ""), ("  ", ""), ("%31000", "1000"), ("A.b_C", "abc"), ("x" * 99, "x" * 24)]
)
def test_plain_name(text, plain):
    """Escapes, case, punctuation and length aside."""
    assert plain_name(text) == plain
