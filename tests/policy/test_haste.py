"""How long a line waits for its packets: never so long that a guesser gains by it, and long enough that nobody is framed."""

from __future__ import annotations

import pytest
from testimony import ATTACKER, NOW, PHONE, Eyes, attempt, classes, examined, line

from sipguard.policy.corroboration import BRIEF, LONGEST, SOON, WAIT
from sipguard.policy.pairing import MOST_OF_ONE


def test_while_blind_one_line_of_an_address_waits():
    """The second is judged with the first; from then on each at once, as without the wire."""
    one = examined(Eyes(blind="packets were lost"))
    assert one.testify(line(), NOW) == []
    assert classes(one.testify(line(), NOW + 0.01)) == [(ATTACKER, "reported")] * 2
    assert one.next_due is None
    assert classes(one.testify(line(), NOW + 0.02)) == [(ATTACKER, "reported")]
    assert one.testify(line(PHONE), NOW + 0.03) == []


def test_of_a_new_log_each_line_waits():
    """A flood of forged packets, with lines that are read before the packets are: none of them frames its victim."""
    one = examined(sighted=False)
    assert one.testify(line(), NOW) == []
    assert classes(one.due(NOW + BRIEF)) == [(ATTACKER, "reported")]
    for number in range(1, 200):
        now = NOW + number / 250
        assert one.testify(line(time=now), now) == []
        assert {one for _, one in classes(one.witness(attempt(time=now, evidence="unproven"), now + 0.01))} <= {
            "unproven"
        }
    assert one.due(NOW + 10) == []
    assert one.classes["reported"] == 1


@pytest.mark.parametrize("heard", [True, False], ids=["packets of before", "its first packets"])
@pytest.mark.parametrize("sighted", [True, False], ids=["the log confirmed", "a new log"])
def test_no_line_is_judged_before_its_packets_are_read(heard, sighted):
    """Forged packets that are read late, after all the lines about them: however late it is, their victim is not framed."""
    eyes = Eyes(present={PHONE} if heard else set(), read_until=NOW - 1)
    one = examined(eyes, sighted=sighted)
    found = [failure for _ in range(20) for failure in one.testify(line(PHONE), NOW)]
    for late in (SOON, BRIEF, WAIT, WAIT + BRIEF, LONGEST - 0.1):
        found += one.due(NOW + late)
        assert one.next_due is not None
    assert found == []
    eyes.present.add(PHONE)
    for _ in range(20):
        found += one.witness(attempt(PHONE, NOW, evidence="unproven"), NOW + LONGEST)
    eyes.read_until = NOW
    found += one.due(NOW + LONGEST + 1)
    assert classes(found) == [(PHONE, "unproven")] * 20
    assert one.next_due is None


def test_a_new_log_waits_for_the_wire_once():
    """What is read holds nothing up: a line about packets that the wire has read is judged in its time."""
    eyes = Eyes(read_until=NOW - 1)
    one = examined(eyes, sighted=False)
    one.testify(line(), NOW)
    assert one.due(NOW + BRIEF) == []
    eyes.read_until = NOW
    assert classes(one.due(NOW + BRIEF + SOON)) == [(ATTACKER, "reported")]


@pytest.mark.parametrize("sighted", [True, False])
@pytest.mark.parametrize("heard", [True, False])
def test_a_wire_that_is_never_read_cannot_know(heard, sighted):
    """Then a line counts as without it, and it is said."""
    one = examined(Eyes(present={ATTACKER} if heard else set(), read_until=NOW - 1), sighted=sighted)
    assert one.testify(line(), NOW) == []
    assert one.due(NOW + LONGEST) == []
    assert classes(one.due(NOW + LONGEST + SOON)) == [(ATTACKER, "reported")]
    assert one.reasons == {"packets come faster than they are read": 1}


@pytest.mark.parametrize("heard", [True, False])
def test_more_lines_than_may_wait_frame_nobody(heard):
    """Of a new log, before the packets are read: those beyond count for nobody, and those that wait are enough for a ban."""
    eyes = Eyes(present={PHONE} if heard else set(), read_until=NOW - 1)
    one = examined(eyes, sighted=False)
    found = [failure for _ in range(MOST_OF_ONE) for failure in one.testify(line(PHONE), NOW)]
    assert {evidence for _, evidence in classes(found)} == {"unproven"}
    eyes.read_until = NOW
    waited = one.due(NOW + LONGEST)
    assert {evidence for _, evidence in classes(waited)} == {"reported"}
    assert len(found) + len(waited) == MOST_OF_ONE
