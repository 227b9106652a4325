"""Copies of messages that come out of order: a challenge after the credentials that answer it."""

from __future__ import annotations

import pytest
from sip_packets import SERVER, Talk, answer, request, uuid

from sipguard.detection.sip.replies import MOST, MOST_OF_ONE
from sipguard.detection.sip.tracker import Tracker
from sipguard.wire_model import Packet

PHONE, GUESSER, VICTIM = "192.0.2.20", "198.51.100.66", "192.0.2.91"


@pytest.fixture
def talk():
    """A conversation that waits for late challenges; the server is known for nonces that nobody can predict."""
    made = Talk(Tracker(patience=1.0))
    made.challenge(PHONE, uuid(99))
    return made


def test_late_challenge(talk):
    """It proves the guess that answers it as soon as it comes, not those that wait for another."""
    talk.guess(GUESSER, uuid(1))
    talk.guess(GUESSER, uuid(2))
    talk.challenge(GUESSER, uuid(3))
    assert talk.verdicts == []
    talk.challenge(GUESSER, uuid(2))
    assert talk.verdicts == [(GUESSER, "failure", "proven")]
    talk.guess(GUESSER, uuid(2))
    assert talk.verdicts == [(GUESSER, "failure", "proven")] * 2


def test_many_late_challenges(talk):
    """More in one second than may wait at once: none of them takes the room of the next."""
    for number in range(4 * MOST_OF_ONE):
        talk.guess(GUESSER, uuid(number))
        talk.challenge(GUESSER, uuid(number))
    assert talk.verdicts == [(GUESSER, "failure", "proven")] * (4 * MOST_OF_ONE)


def test_many_lent_nonces(talk):
    """Nonces that were sent to another: he is charged, however many challenges come late within one second."""
    for number in range(4 * MOST_OF_ONE):
        talk.guess(VICTIM, uuid(number))
        talk.challenge(GUESSER, uuid(number))
    assert talk.verdicts == [(GUESSER, "failure", "lent")] * (4 * MOST_OF_ONE)


@pytest.mark.parametrize("late", ["challenge", "acceptance"])
def test_phone_on_a_busy_machine(talk, late):
    """A phone that tries the last nonce first is never accused, however many copies come late within one second."""
    for number in range(4 * MOST_OF_ONE):
        first, again = (request(nonce=uuid(number), response=f"{number:031x}{use}") for use in range(2))
        if late == "acceptance":
            talk.challenge(PHONE, uuid(number))
        talk.send(PHONE, first)
        if late == "challenge":
            talk.reply(PHONE, answer(200, first))
        talk.send(PHONE, again)
        talk.reply(PHONE, answer(401, again, nonce=uuid(900)))
        if late == "acceptance":
            talk.reply(PHONE, answer(200, first))
        else:
            talk.challenge(PHONE, uuid(number))
    assert talk.verdicts == [(PHONE, "success", "proven"), (PHONE, "again", "proven")] * (4 * MOST_OF_ONE)


def test_same_nonce_in_the_answer(talk):
    """Within a second some servers give an address one nonce: in the late challenge, and in the answer to the guess."""
    talk.guess(GUESSER, uuid(1), status=401, reply_nonce=uuid(1))
    assert talk.verdicts == []
    talk.challenge(GUESSER, uuid(1))
    assert talk.verdicts == [(GUESSER, "failure", "proven")]


def test_login(talk):
    """A login that is judged late still makes its nonce one that was accepted."""
    talk.guess(PHONE, uuid(1), status=200)
    talk.challenge(PHONE, uuid(1))
    talk.now += 1
    talk.guess(PHONE, uuid(1), status=401, reply_nonce=uuid(2))
    assert talk.verdicts == [(PHONE, "success", "proven"), (PHONE, "again", "proven")]


def test_late_acceptance(talk):
    """A nonce that a phone uses again is no failure, though the acceptance of its first use comes later."""
    talk.challenge(PHONE, uuid(1))
    first, second = (request(nonce=uuid(1), response=f"{number:032x}") for number in range(2))
    talk.send(PHONE, first)
    talk.send(PHONE, second)
    talk.reply(PHONE, answer(401, second, nonce=uuid(2)))
    talk.reply(PHONE, answer(200, first))
    assert [(one.verdict, one.evidence) for one in talk.attempts + talk.tracker.expire(talk.now + 1)] == [
        ("success", "proven"),
        ("again", "proven"),
    ]


def test_acceptance_of_a_late_challenge(talk):
    """The same while the acceptance itself waits for its challenge."""
    talk.guess(PHONE, uuid(1), status=200)
    talk.challenge(PHONE, uuid(1))
    talk.guess(PHONE, uuid(1), status=401, reply_nonce=uuid(2))
    assert [(one.verdict, one.evidence) for one in talk.attempts + talk.tracker.expire(talk.now + 1)] == [
        ("success", "proven"),
        ("again", "proven"),
    ]


def test_guesses_at_once(talk):
    """Five guesses with one nonce, sent before the first is answered, are five."""
    talk.challenge(GUESSER, uuid(1))
    guesses = [request(nonce=uuid(1), response=f"{number:032x}") for number in range(5)]
    for guess in guesses:
        talk.send(GUESSER, guess)
    for guess in guesses:
        talk.reply(GUESSER, answer(401, guess, nonce=uuid(2)))
    found = talk.attempts + talk.tracker.expire(talk.now + 1)
    assert [(one.verdict, one.evidence) for one in found] == [("failure", "proven")] * 5


def test_challenge_that_never_came(talk):
    """An invented nonce stays unproven, and is told without another packet."""
    talk.guess(VICTIM, uuid(1))
    assert talk.verdicts == []
    assert [(one.address, one.evidence) for one in talk.tracker.expire(talk.now + 1)] == [(VICTIM, "unproven")]
    assert talk.tracker.expire(talk.now + 2) == []


def test_own_challenge(talk):
    """A server that sends an invented nonce back in its answer proves neither this request by that, nor the next."""
    for _ in range(2):
        talk.guess(VICTIM, uuid(1), status=401, reply_nonce=uuid(1))
        talk.now += 1
    talk.challenge(PHONE, uuid(98))
    assert talk.verdicts == [(VICTIM, "failure", "unproven")] * 2


def test_alarm(talk):
    """`stale=true` of Asterisk, after guesses, is an alarm as well when it is judged late."""
    pjsip = "1795825954/0123456789abcdef0123456789abcde"
    talk.challenge(PHONE, pjsip + "0")
    talk.guess(VICTIM, pjsip + "1", status=401, reply_nonce=pjsip + "2")
    talk.guess(VICTIM, pjsip + "3", status=401, reply_nonce=pjsip + "4", stale=True)
    assert [one.alarm for one in talk.tracker.expire(talk.now + 1)] == [False, True]


def test_bounded(talk):
    """A flood of invented nonces waits in a bounded place; what has none is judged at once."""
    for number in range(MOST + 10):
        source = f"10.0.{number // 250}.{number % 250}"
        asked = request(nonce=f"{number:032x}", response=f"{number:032x}")
        talk.tracker.feed(Packet(talk.now, source, 5060, SERVER, 5060, "udp", asked))
        talk.attempts += talk.tracker.feed(Packet(talk.now, SERVER, 5060, source, 5060, "udp", answer(403, asked)))
    assert len(talk.attempts) == 10
    assert len(talk.tracker.expire(talk.now + 1)) == MOST


def test_a_fast_guesser_gains_no_second(talk):
    """Of one address a few answers wait; those of a burst are judged at once, and others' wait as before."""
    for number in range(20):
        talk.guess(VICTIM, uuid(number))
    assert len(talk.attempts) == 20 - MOST_OF_ONE
    talk.guess(GUESSER, uuid(70))
    assert len(talk.attempts) == 20 - MOST_OF_ONE
    assert len(talk.tracker.expire(talk.now + 1)) == MOST_OF_ONE + 1
    talk.guess(VICTIM, uuid(1))
    assert len(talk.attempts) == 20 - MOST_OF_ONE


def test_clock_that_was_set(talk):
    """Nobody waits for an hour because a clock has gone back by one."""
    talk.guess(VICTIM, uuid(1))
    assert len(talk.tracker.expire(talk.now - 3600)) == 1
