"""How long a line waits for its packets: never so long that a guesser gains by it, and long enough that nobody is framed."""

from __future__ import annotations

from testimony import ATTACKER, NOW, PHONE, Eyes, attempt, classes, examined, line

from sipguard.policy.corroboration import BRIEF


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
