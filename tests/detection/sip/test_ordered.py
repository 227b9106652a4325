"""Packets in their order: an unknown nonce was never sent, and no guesser gains by answers that wait."""

from __future__ import annotations

import pytest
from sip_packets import SERVER, Talk, answer, request, uuid

from sipguard.detection.sip.tracker import Tracker

ONE, OTHER = "198.51.100.66", "198.51.100.67"


def talk():
    """With a server whose nonces prove."""
    found = Talk(Tracker(own={SERVER}, patience=1.0, ordered=True))
    found.challenge(OTHER, uuid(1))
    return found


def test_unknown_nonces_are_judged_at_once():
    """Nothing that comes later can prove them."""
    one = talk()
    for number in range(3):
        one.guess(ONE, uuid(100 + number))
        assert [attempt.evidence for attempt in one.attempts] == ["unproven"] * (number + 1)


@pytest.mark.parametrize("number", [2, 5, 20])
def test_one_nonce_for_requests_at_once(number):
    """All are judged, though each may wait for what the others are told: at most one does."""
    one = talk()
    one.challenge(ONE, uuid(2))
    asked = [request(nonce=uuid(2), response=f"{n:032x}") for n in range(number)]
    for text in asked:
        one.send(ONE, text)
    for done, text in enumerate(asked, 1):
        one.reply(ONE, answer(401, text, nonce=uuid(1000 + done)))
        assert len(one.attempts) >= done - 1
    assert [(attempt.verdict, attempt.evidence) for attempt in one.attempts] == [("failure", "proven")] * number


def test_a_phone_that_uses_a_nonce_twice_at_once():
    """The refusal of the second use comes before the acceptance of the first: no failure."""
    one = talk()
    one.challenge(ONE, uuid(2))
    first, second = (request(nonce=uuid(2), response=f"{n:032x}") for n in range(2))
    one.send(ONE, first)
    one.send(ONE, second)
    one.reply(ONE, answer(401, second, nonce=uuid(3)))
    one.reply(ONE, answer(200, first))
    assert [attempt.verdict for attempt in one.attempts] == ["success", "again"]


def test_limits_of_an_address_are_no_excuse():
    """Who sends more than is read of one address has made himself blind: his proof would be in answers."""
    one = talk()
    one.tracker.blind(one.now - 10, one.now + 10, "too many of one", ONE)
    one.guess(ONE, uuid(100))
    assert [attempt.blind for attempt in one.attempts] == [""]
    one.tracker.blind(one.now - 10, one.now + 10, "too many of all")
    one.guess(ONE, uuid(101))
    assert one.attempts[-1].blind == "too many of all"
