"""What only a liberal reading finds: it counts as a proven attempt that nothing else has told of, and never without one."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st
from testimony import ATTACKER, NOW, PHONE, Eyes, attempt, classes, examined, line

from sipguard.model import Failure, Filter, Jail, Success
from sipguard.policy.corroboration import MEMORY, WAIT
from sipguard.policy.ignore import IgnoreList
from sipguard.policy.judge import Judge, Outcome
from sipguard.policy.wire import classed

SILENT = "198.51.100.7"
CALL = attempt(verdict="scan", transport="tcp", method="INVITE", status=404)


@pytest.mark.parametrize(
    "eyes",
    [
        Eyes(),
        Eyes(blind="packets were lost"),
        Eyes(cannot="the wire is not watched"),
        Eyes(no_meter="nobody can be held back here"),
        Eyes(sessions={ATTACKER, PHONE, SILENT}),
        Eyes(open=[attempt(PHONE, verdict="seen", evidence="proven")]),
    ],
    ids=["seeing", "blind", "off", "no meter", "encrypted", "unanswered"],
)
@pytest.mark.parametrize("sighted", [True, False])
def test_forged_lines_count_for_nobody(eyes, sighted):
    """For the silent, for phones, for who has been seen: whatever the wire cannot know."""
    one = examined(eyes, sighted=sighted)
    found = [each for address in (SILENT, PHONE, ATTACKER) for _ in range(20) for each in one.hear(line(address), NOW)]
    found += one.due(NOW + WAIT)
    one.expire(NOW + 100)
    assert found == one.end() == []
    assert (one.hearsay_counted, dict(one.classes)) == (0, {})


@pytest.mark.parametrize("first", ["line", "wire"])
def test_a_proven_call_to_nowhere(first):
    """Counts once, whichever comes first, however many lines tell of it, a strict one too."""
    one = examined()
    if first == "line":
        found = [each for _ in range(5) for each in one.hear(line(), NOW)] + one.witness(CALL, NOW + 0.1)
    else:
        found = one.witness(CALL, NOW) + [each for _ in range(5) for each in one.hear(line(), NOW + 0.1)]
    assert classes(found) == [(ATTACKER, "proven")]
    assert one.testify(line(), NOW + 0.2) == []
    assert (one.hearsay_counted, one.confirmed) == (1, 1)


@pytest.mark.parametrize(
    "seen",
    [
        CALL._replace(transport="udp", evidence="unproven"),
        CALL._replace(evidence="reported"),
        CALL._replace(address=PHONE, source=PHONE),
        CALL._replace(time=NOW - 3),
        attempt(verdict="again"),
        attempt(verdict="stale"),
        attempt(verdict="seen", evidence="proven"),
        attempt(verdict="success"),
        attempt(evidence="reported"),
    ],
)
def test_what_confirms_nothing(seen):
    """No proof, another address or time, or no failure."""
    one = examined()
    assert one.hear(line(), NOW) + one.witness(seen, NOW) + one.hear(line(), NOW) + one.due(NOW + WAIT) == []


def test_a_failed_login_counts_by_itself():
    """The wire has counted it when the line comes."""
    one = examined()
    assert classes(one.witness(attempt(), NOW)) == [(ATTACKER, "proven")]
    assert one.hear(line(), NOW) == []


def test_it_does_not_wait_for_ever():
    """A line is remembered no longer than its attempt may take to be seen, a bounded number of them, and none that is old."""
    one = examined()
    one.hear(line(), NOW)
    one.expire(NOW + WAIT)
    assert one.witness(CALL, NOW + WAIT) == []
    one.hear(line(time=NOW - MEMORY), NOW)
    for number in range(10_000):
        one.hear(line(f"10.0.{number // 250}.{number % 250}"), NOW)
    assert len(one._hearsay) <= 4096


moments = st.floats(0, 20, allow_nan=False)
addresses = st.sampled_from([f"192.0.2.{n}" for n in range(60, 66)])
kinds = st.sampled_from([("failure", "proven"), ("failure", "unproven"), ("failure", "reported"), ("scan", "unproven")])


@given(
    lines=st.lists(st.tuples(addresses, moments), max_size=30),
    seen=st.lists(st.tuples(addresses, moments, kinds), max_size=30),
    forged=st.lists(st.tuples(addresses, moments), max_size=60),
    sighted=st.booleans(),
    blind=st.sampled_from(["", "packets were lost"]),
)
def test_it_changes_nothing_of_the_strict_reading(lines, seen, forged, sighted, blind):
    """Whatever is written into a log, those lines that the strict reading believes mean what they meant."""

    def weighed(*, hearsay):
        one = examined(Eyes(blind=blind), sighted=sighted)
        told = [(when, 0, attempt(address, NOW + when, verdict=verdict, evidence=evidence))
                for address, when, (verdict, evidence) in seen]  # fmt: skip
        told += [(when, 1, line(address, NOW + when)) for address, when in lines]
        told += [(when, 2, line(address, NOW + when)) for address, when in (forged if hearsay else ())]
        found = []
        for when, kind, what in sorted(told, key=lambda each: each[:2]):
            found += one.due(NOW + when)
            found += (one.witness, one.testify, one.hear)[kind](what, NOW + when)
        return classes(found + one.due(NOW + 100))

    assert weighed(hearsay=True) == weighed(hearsay=False)


class TestWeight:
    """What a confirmed call to nowhere means to the judge of a log's jail."""

    def judge(self):
        """Three failures ban."""
        return Judge(Jail("j", Filter("j", ()), maxretry=3), IgnoreList(()), clock=lambda: NOW + 10, banned=())

    def call(self):
        """A call that a log and the wire tell of."""
        return classed(Failure(ATTACKER, NOW, lines=("a line",)), "proven", attempt=CALL)

    def login(self):
        """A failed login that is proven."""
        return classed(line(), "proven", attempt=attempt())

    def test_of_a_carrier(self):
        """Who never fails to log in may call as many wrong numbers as he likes."""
        judge = self.judge()
        assert {judge.consider(self.call()).outcome for _ in range(20)} == {Outcome.UNPROVEN}

    def test_of_a_guesser(self):
        """Beside a failed login each counts; the ban is as long as any, and proven."""
        judge = self.judge()
        found = [judge.consider(one) for one in (self.login(), self.call(), self.call())]
        assert [one.outcome for one in found] == [Outcome.COUNTED, Outcome.COUNTED, Outcome.BAN]
        assert (found[-1].ban.evidence, found[-1].ban.until - found[-1].ban.since) == ("proven", 600)

    def test_of_who_has_logged_in(self):
        """A user who has mistyped his password before may misdial."""
        judge = self.judge()
        judge.consider(self.login())
        judge.welcome(Success(ATTACKER, NOW, user="2000"))
        assert judge.consider(self.call()).outcome is Outcome.UNPROVEN
