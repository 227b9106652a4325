"""Testimony against the wire: the table of docs/evidence.md, case by case, and what holds whatever comes in whatever order."""

from __future__ import annotations

from collections import Counter

import pytest
from hypothesis import given
from hypothesis import strategies as st
from testimony import ATTACKER, LENDER, NOW, PHONE, Eyes, attempt, classes, examined, line

from sipguard.model import Filter
from sipguard.policy.corroboration import BRIEF, SOON, WAIT
from sipguard.policy.pairing import MEMORY, MOST_OF_ONE
from sipguard.policy.wire import NO_GROUNDS, STRONG


@pytest.mark.parametrize("first", ["line", "wire"])
@pytest.mark.parametrize(
    ("seen", "counted"),
    [
        (attempt(), [(ATTACKER, "proven")]),
        (attempt(evidence="lent", charged=LENDER), [(LENDER, "lent")]),
        (attempt(evidence="reported"), [(ATTACKER, "reported")]),
        (attempt(evidence="unproven"), [(ATTACKER, "unproven")]),
        (attempt(evidence="unproven", blind="sipguard has just started"), [(ATTACKER, "reported")]),
        (attempt(verdict="again"), []),
        (attempt(verdict="stale", evidence="proven"), []),
        (attempt(verdict="seen", evidence=None), [(ATTACKER, "unproven")]),
        (attempt(verdict="seen", evidence="proven"), [(ATTACKER, "proven")]),
        (attempt(verdict="seen", evidence=None, transport="tcp"), [(ATTACKER, "reported")]),
        (attempt(transport="tls"), [(ATTACKER, "proven")]),
    ],
)
def test_a_line_takes_the_class_of_its_attempt(first, seen, counted):
    """And never a better one; whichever is told first, the attempt is weighed once."""
    one = examined()
    if first == "line":
        found = one.testify(line(), NOW) + one.witness(seen, NOW + 0.1)
    else:
        found = one.witness(seen, NOW) + one.testify(line(), NOW + 0.1)
    found += one.due(NOW + 60)
    assert classes(found) == counted
    assert one.confirmed == 1
    assert one.next_due is None


@pytest.mark.parametrize(
    ("eyes", "sighted", "result", "reason"),
    [
        (Eyes(present=set()), True, "contradicted", None),
        (Eyes(), True, "unproven", None),
        (Eyes(present=set()), False, "reported", "the wire has not confirmed this log yet"),
        (Eyes(present=set(), blind="packets were lost"), True, "reported", "packets were lost"),
        (Eyes(blind="packets were lost"), True, "reported", "packets were lost"),
        (Eyes(present=set(), cannot="a proxy speaks for it"), True, "reported", "a proxy speaks for it"),
        (Eyes(sessions={ATTACKER}), True, "corroborated", None),
        (Eyes(sessions={ATTACKER}, blind="packets were lost"), True, "corroborated", None),
        (Eyes(open=[attempt(verdict="seen", evidence="proven")]), True, "proven", None),
        (Eyes(open=[attempt(verdict="seen", evidence=None)]), True, "unproven", None),
        (Eyes(open=[attempt(verdict="seen", evidence=None, transport="tcp")]), True, "reported", None),
        (Eyes(open=[attempt(verdict="seen", evidence="proven", user="2000")]), True, "unproven", None),
    ],
)
def test_a_line_without_attempt(eyes, sighted, result, reason):
    """Contradicted only where the wire could have seen it; reported, with the reason, where it cannot know."""
    one = examined(eyes, sighted=sighted)
    (found,) = one.testify(line(), NOW) + one.due(NOW + WAIT)
    assert found.evidence == result
    assert (found.evidence in NO_GROUNDS) == (result in {"unproven", "contradicted"})
    if reason:
        assert one.reasons == {reason: 1}
        assert found.tags["why"] == reason


def test_a_request_without_answer_stands_for_one_line():
    """It has been told of: another line about it is one too many."""
    one = examined(Eyes(open=[attempt(verdict="seen", evidence="proven")]))
    one.testify(line(), NOW)
    one.testify(line(), NOW)
    assert sorted(found.evidence for found in one.due(NOW + WAIT)) == ["proven", "unproven"]
    assert one.witness(attempt(verdict="seen", evidence=None), NOW + 33) == []
    assert one.confirmed == 2


def test_an_encrypted_failure_lends_its_line_to_no_packet():
    """A packet that anybody may have sent in its name has a line of its own, which then counts for nothing."""
    one = examined(Eyes(sessions={ATTACKER}))
    one.testify(line(), NOW)
    assert classes(one.due(NOW + WAIT)) == [(ATTACKER, "corroborated")]
    assert classes(one.witness(attempt(evidence="unproven"), NOW + WAIT)) == [(ATTACKER, "unproven")]
    assert one.testify(line(), NOW + WAIT) + one.due(NOW + 3 * WAIT) == []


def test_without_a_meter():
    """Where nobody can be held back, a line about an attempt that nothing proves counts as without the wire; not without one."""
    one = examined(Eyes(no_meter="no packets are watched"))
    assert classes(one.witness(attempt(evidence="unproven"), NOW)) == [(ATTACKER, "unproven")]
    assert classes(one.testify(line(), NOW)) == [(ATTACKER, "reported")]
    assert classes(one.testify(line(PHONE), NOW) + one.due(NOW + WAIT)) == [(PHONE, "reported")]
    one.testify(line("192.0.2.99"), NOW)
    assert classes(one.due(NOW + WAIT)) == [("192.0.2.99", "contradicted")]


def test_it_ends_with_the_wire():
    """What waits then counts as without it."""
    one = examined()
    one.testify(line(), NOW)
    assert classes(one.end()) == [(ATTACKER, "reported")]
    assert one.settled == set(one.kept)


def test_it_waits_before_it_contradicts():
    """A line may be visible before its packets are: for a second and more nothing is said against it."""
    one = examined(Eyes(present=set()))
    assert one.testify(line(), NOW) == []
    assert one.due(NOW + 1.0) == []
    assert one.next_due == NOW + WAIT
    assert [found.evidence for found in one.due(NOW + WAIT)] == ["contradicted"]


def test_what_counts_anyway_does_not_wait():
    """Where the wire cannot know, a guesser gets no second more than without it; while it may, only until it has been read."""
    blind = examined(Eyes(present=set(), blind="packets were lost"))
    assert classes(blind.testify(line(), NOW)) == [(ATTACKER, "reported")]
    silent = examined(Eyes(present=set()), sighted=False)
    assert silent.testify(line(), NOW) == []
    assert silent.next_due == NOW + SOON
    assert classes(silent.due(NOW + SOON)) == [(ATTACKER, "reported")]
    heard = examined(sighted=False)
    assert heard.testify(line(), NOW) == []
    assert heard.next_due == NOW + BRIEF
    assert classes(heard.due(NOW + BRIEF)) == [(ATTACKER, "reported")]
    assert heard.witness(attempt(), NOW + 0.5) == []  # it has counted
    assert heard.confirmed == 1


def test_lender_is_charged_though_the_line_has_counted():
    """A line that counted for the address it names does not let off who has lent the nonce."""
    one = examined(Eyes(present=set()), sighted=False)
    assert classes(one.testify(line(), NOW) + one.due(NOW + SOON)) == [(ATTACKER, "reported")]
    assert classes(one.witness(attempt(evidence="lent", charged=LENDER), NOW)) == [(LENDER, "lent")]


def test_sighted_after_three_proven_ones():
    """Of this log, within a day; another log is as unknown as before."""
    one = examined(Eyes(present={ATTACKER}), sighted=False)
    for number in range(3):
        assert not one.is_sighted("a.log", NOW)
        one.witness(attempt(time=NOW + number), NOW + number)
        one.testify(line(time=NOW + number), NOW + number, "a.log")
    assert one.is_sighted("a.log", NOW + 3)
    assert not one.is_sighted("b.log", NOW + 3)
    assert one.testify(line("192.0.2.99", NOW + 3), NOW + 3, "a.log") == []
    assert [found.evidence for found in one.due(NOW + 5)] == ["contradicted"]
    assert classes(one.testify(line("192.0.2.99", NOW + 3), NOW + 3, "b.log") + one.due(NOW + 5)) == [
        ("192.0.2.99", "reported")
    ]
    assert not one.is_sighted("a.log", NOW + 86_403)


@pytest.mark.parametrize("evidence", ["reported", "unproven"])
def test_what_is_not_proven_does_not_make_a_log_sighted(evidence):
    """Anybody can send a packet and write a line."""
    one = examined(sighted=False)
    for number in range(5):
        one.witness(attempt(time=NOW + number, evidence=evidence), NOW + number)
        one.testify(line(time=NOW + number), NOW + number, "a.log")
    assert one.confirmed == 5
    assert not one.is_sighted("a.log", NOW + 5)


def test_other_names_for_an_attempt_that_counts():
    """While the wire cannot contradict, a line by another name near an attempt that counts is not counted beside it."""
    one = examined(sighted=False)
    assert len(one.witness(attempt(user="trunk"), NOW)) == 1
    assert one.testify(line(user="endpoint-7"), NOW) + one.due(NOW + WAIT) == []
    assert classes(one.testify(line(user="endpoint-7"), NOW) + one.due(NOW + WAIT)) == [(ATTACKER, "reported")]


def test_two_lines_of_one_attempt():
    """A server that tells of one guess in two lines: the second is no testimony of its own."""
    repeated = []
    jail = Filter("test", failregex=(), options={"attempt_window": "2"})
    one = examined(jail=jail, repeated=lambda address, _failure: repeated.append(address))
    assert one.testify(line(probe="unknown"), NOW) == []
    assert one.testify(line(answer="failure"), NOW) == []
    assert classes(one.witness(attempt(), NOW)) == [(ATTACKER, "proven")]
    assert repeated == [ATTACKER]
    assert one.due(NOW + 60) == []


def test_an_event_that_names_a_connection():
    """It is proof by itself, counts at once, and once."""
    one = examined()
    event = line(answer="x")._replace(evidence="proven")
    (found,) = one.testify(event, NOW)
    assert (found.evidence, "answer" in found.tags) == ("proven", False)
    assert one.witness(attempt(transport="tcp"), NOW) == []


def test_a_name_for_an_address():
    """Who resolves it knows more: it passes as it is."""
    told = line("host.example")
    assert examined().testify(told, NOW) == [told]


def test_lines_older_than_the_memory():
    """A log that is twenty minutes late is reported, not contradicted."""
    one = examined(Eyes(present=set()))
    assert classes(one.testify(line(time=NOW - 1200), NOW)) == [(ATTACKER, "reported")]
    assert one.reasons == {"the line is older than the wire's memory": 1}


def test_more_attempts_than_are_remembered():
    """What went is not held against the lines about it; another address is not blind for it."""
    one = examined()
    for number in range(MOST_OF_ONE + 1):
        one.witness(attempt(time=NOW, user=str(number), evidence="reported"), NOW)
    assert classes(one.testify(line(user="0"), NOW) + one.due(NOW + WAIT)) == [(ATTACKER, "reported")]
    assert one.reasons["more attempts came than can be remembered"] == 1
    assert classes(one.testify(line(PHONE), NOW) + one.due(NOW + WAIT)) == [(PHONE, "unproven")]


def test_more_testimony_than_may_wait():
    """What finds no room is judged at once; nothing is lost."""
    one = examined(Eyes(present=set()))
    found = [each for _ in range(1000) for each in one.testify(line(), NOW)]
    assert len(found) + len(one.due(NOW + WAIT)) == 1000
    assert one.classes["contradicted"] == 1000


def test_kept_for_a_crash():
    """What waits is kept until it is settled: lines until they are judged, attempts until their line has come."""
    one = examined()
    one.testify(line(), NOW)
    one.witness(attempt(PHONE), NOW)
    assert sorted(row.kind for row in one.kept.values()) == ["line", "wire"]
    one.witness(attempt(), NOW)
    one.testify(line(PHONE), NOW)
    assert one.settled == set(one.kept)


def test_attempts_of_an_earlier_run():
    """A line about an attempt that an earlier run has counted is not counted again, once."""
    one = examined()
    one.witness(attempt(), NOW)
    (row,) = one.kept.values()
    again = examined(Eyes(present=set()), sighted=False)
    again.restore([row], lambda row: attempt(row.address, row.time, user=row.user))
    assert again.testify(line(), NOW) == []
    assert again.settled == {row.number}
    assert classes(again.testify(line(), NOW) + again.due(NOW + SOON)) == [(ATTACKER, "reported")]


def test_the_clock_is_set():
    """What waits goes on waiting as long as before."""
    one = examined(Eyes(present=set()))
    one.testify(line(), NOW)
    one.shift(3600)
    assert one.next_due == NOW + 3600 + WAIT
    assert classes(one.witness(attempt(time=NOW + 3600.5), NOW + 3600.5)) == [(ATTACKER, "proven")]


moments = st.floats(0, 30, allow_nan=False)
addresses = st.sampled_from([f"192.0.2.{n}" for n in range(60, 70)])


@given(
    guesses=st.lists(st.tuples(addresses, moments, st.booleans(), st.floats(-1.0, 1.0)), max_size=60),
    forged=st.lists(st.tuples(addresses, moments), max_size=60),
    data=st.data(),
)
def test_each_attempt_once(guesses, forged, data):
    """Whatever the order and however many lines: what counts are the attempts of the wire, each once, for who made it."""
    one = examined(Eyes(present={address for address, *_ in guesses}))
    told = [(when, "wire", attempt(address, NOW + when)) for address, when, _, _ in guesses]
    told += [
        (max(0.0, when + skew), "log", line(address, NOW + when + skew)) for address, when, has, skew in guesses if has
    ]
    told += [(when, "log", line(address, NOW + when)) for address, when in forged]
    told = sorted(data.draw(st.permutations(told)), key=lambda each: each[0])
    found = []
    for when, who, what in told:
        found += one.due(NOW + when)
        found += one.witness(what, NOW + when) if who == "wire" else one.testify(what, NOW + when)
    found += one.due(NOW + 100)
    counted = Counter(each.host for each in found if each.evidence not in NO_GROUNDS)
    assert counted == Counter(address for address, *_ in guesses)
    assert {each.evidence for each in found} <= {"proven", "unproven", "contradicted"}
    assert one.confirmed <= len(guesses)
    silent = {address for address, _ in forged} - {address for address, *_ in guesses}
    assert {each.host for each in found if each.evidence == "contradicted"} <= silent
    one.expire(NOW + 100 + MEMORY)
    assert one.settled == set(one.kept)


@given(
    lines=st.lists(st.tuples(addresses, moments), max_size=80),
    seen=st.lists(
        st.tuples(addresses, moments, st.sampled_from(["proven", "lent", "reported", "unproven"])), max_size=80
    ),
    sighted=st.booleans(),
    blind=st.sampled_from(["", "packets were lost"]),
)
def test_nobody_is_accused_by_lines_alone(lines, seen, sighted, blind):
    """A class that is shared rests on an attempt; a line that counts has an attempt, or the wire could not know."""
    one = examined(Eyes(present={address for address, *_ in seen}, blind=blind), sighted=sighted)
    told = [(when, 0, attempt(address, NOW + when, evidence=kind, charged=LENDER if kind == "lent" else address))
            for address, when, kind in seen]  # fmt: skip
    told += [(when, 1, line(address, NOW + when)) for address, when in lines]
    found = []
    for when, kind, what in sorted(told, key=lambda each: each[:2]):
        found += one.due(NOW + when)
        found += one.testify(what, NOW + when) if kind else one.witness(what, NOW + when)
    found += one.due(NOW + 100)
    strong = Counter(each.host for each in found if each.evidence in STRONG)
    proven = Counter(LENDER if kind == "lent" else address for address, _, kind in seen if kind in STRONG)
    assert strong <= proven
    # A line that has counted stands for the attempt that the wire shows later.
    assert strong + Counter(each.host for each in found if each.evidence == "reported") >= proven
    assert one.confirmed <= len(seen)
    if sighted and not blind:
        assert strong == proven
        reported = Counter(each.host for each in found if each.evidence == "reported")
        assert reported <= Counter(address for address, _, kind in seen if kind == "reported")
    assert len(found) <= len(lines) + len(seen)
