"""Who failed, and what proves it: messages as servers and attackers write them, one packet after another."""

from __future__ import annotations

import pytest
from sip_packets import SERVER, Talk, answer, request, uuid

from sipguard.detection.sip.tracker import Tracker

PHONE, GUESSER, OTHER = "192.0.2.20", "198.51.100.66", "192.0.2.91"
PJSIP = "1795825954/0123456789abcdef0123456789abcdef"


@pytest.fixture
def talk():
    """A conversation with a server whose nonces are UUIDs."""
    return Talk(Tracker())


class TestVerdicts:
    """What an answer says of the credentials."""

    def test_refused(self, talk):
        """403 to credentials with a nonce of this address is a proven failure; a first 401 is none."""
        talk.challenge(GUESSER, uuid(1))
        talk.guess(GUESSER, uuid(1))
        assert talk.verdicts == [(GUESSER, "failure", "proven")]
        (attempt,) = talk.attempts
        assert (attempt.user, attempt.method, attempt.agent, attempt.status) == ("1000", "REGISTER", "Phone 1.0", 403)

    @pytest.mark.parametrize("status", [401, 407])
    def test_challenged_again(self, talk, status):
        """So is another challenge, without `stale`."""
        talk.challenge(GUESSER, uuid(1))
        talk.guess(GUESSER, uuid(1), status=status, reply_nonce=uuid(2))
        assert talk.verdicts == [(GUESSER, "failure", "proven")]

    def test_stale(self, talk):
        """An old nonce of this address is no failure: its password was not judged."""
        talk.challenge(PHONE, uuid(1))
        talk.guess(PHONE, uuid(1), status=401, reply_nonce=uuid(2), stale=True)
        assert talk.verdicts == [(PHONE, "stale", "proven")]

    def test_accepted(self, talk):
        """200 to a registration is a login."""
        talk.challenge(PHONE, uuid(1))
        talk.guess(PHONE, uuid(1), status=200)
        assert talk.verdicts == [(PHONE, "success", "proven")]

    def test_accepted_without_being_asked(self, talk):
        """A method that the server never asks credentials for accepts any: no login, and no excuse for guesses."""
        talk.challenge(GUESSER, uuid(1))
        talk.guess(GUESSER, uuid(1), status=200, method="OPTIONS")
        talk.guess(GUESSER, uuid(1), status=401, reply_nonce=uuid(2))
        assert talk.verdicts == [(GUESSER, "failure", "proven")]

    def test_again(self, talk):
        """A nonce that was accepted, and is refused the next time, is a phone's habit; once per login."""
        talk.challenge(PHONE, uuid(1))
        talk.guess(PHONE, uuid(1), status=200)
        talk.guess(PHONE, uuid(1), status=401, reply_nonce=uuid(2))
        talk.guess(PHONE, uuid(1), status=401, reply_nonce=uuid(3))
        assert [verdict for _, verdict, _ in talk.verdicts] == ["success", "again", "failure"]

    def test_forbidden_number(self, talk):
        """403 with the cause of a call is the dial plan's word, not that of authentication."""
        talk.challenge(PHONE, uuid(1), method="INVITE")
        asked = request("INVITE", nonce=uuid(1))
        talk.send(PHONE, asked)
        talk.reply(PHONE, answer(403, asked, extra='Reason: Q.850;cause=21;text="CALL_REJECTED"'))
        assert talk.verdicts == []

    def test_unanswered(self, talk):
        """No answer within 32 s, no verdict."""
        talk.challenge(GUESSER, uuid(1))
        talk.send(GUESSER, request(nonce=uuid(1)))
        assert [one.verdict for one in talk.tracker.expire(talk.now + 100)] == ["seen"]

    def test_scan(self, talk):
        """A call to nowhere without credentials is a scan, once however often it is answered; other calls are not."""
        asked = request("INVITE", user="00441904911000")
        talk.send(GUESSER, asked)
        talk.reply(GUESSER, answer(404, asked))
        talk.reply(GUESSER, answer(404, asked))
        busy = request("INVITE")
        talk.reply(PHONE, answer(486, busy))
        assert talk.verdicts == [(GUESSER, "scan", "unproven")]

    def test_wrong_number(self, talk):
        """A call with credentials to a wrong number is neither."""
        talk.challenge(PHONE, uuid(1), method="INVITE")
        talk.guess(PHONE, uuid(1), status=404, method="INVITE")
        assert talk.verdicts == []

    def test_alarm(self, talk):
        """Asterisk says `stale` to an invented nonce when the password was right: after guesses that is an alarm."""
        talk.challenge(PHONE, PJSIP)
        talk.guess(GUESSER, "invented1", status=401, reply_nonce=PJSIP.replace("0123", "4567"))
        talk.guess(GUESSER, "invented2", status=401, reply_nonce=PJSIP.replace("0123", "89ab"), stale=True)
        assert talk.verdicts == [(GUESSER, "failure", "unproven")] * 2
        assert [one.alarm for one in talk.attempts] == [False, True]


class TestProof:
    """Whose nonce it is."""

    def test_invented(self, talk):
        """A nonce that the server has sent to nobody proves nothing."""
        talk.challenge(PHONE, uuid(1))
        talk.guess(OTHER, "invented")
        assert talk.verdicts == [(OTHER, "failure", "unproven")]

    def test_judged_before_recorded(self, talk):
        """The nonce that the answer itself brings does not count for the request that it answers."""
        talk.challenge(PHONE, uuid(1))
        talk.guess(OTHER, uuid(7), status=401, reply_nonce=uuid(7))
        assert talk.verdicts == [(OTHER, "failure", "unproven")]

    def test_lent(self, talk):
        """Who fetches nonces for packets in others' names is charged with them."""
        talk.challenge(GUESSER, uuid(1))
        talk.guess(OTHER, uuid(1))
        assert talk.verdicts == [(GUESSER, "failure", "lent")]
        assert talk.attempts[0].source == OTHER

    def test_any_of_several(self, talk):
        """Of two Authorization headers any may be the one that is judged."""
        talk.challenge(GUESSER, uuid(1))
        extra = f'Authorization: Digest username="1000", nonce="{uuid(1)}", response="1"'
        asked = request(nonce="invented", extra=extra)
        talk.send(GUESSER, asked)
        talk.reply(GUESSER, answer(403, asked))
        assert talk.verdicts == [(GUESSER, "failure", "proven")]

    def test_body_is_no_header(self, talk):
        """What a body imitates is not read: a first challenge to such a message is none after credentials."""
        talk.challenge(GUESSER, uuid(1))
        asked = request("MESSAGE", body=f'\r\nAuthorization: Digest username="1000", nonce="{uuid(1)}"\r\n')
        talk.send(GUESSER, asked)
        talk.reply(GUESSER, answer(407, asked, nonce=uuid(2)))
        assert talk.verdicts == []

    def test_one_nonce_for_all(self, talk):
        """A server that sends one nonce to two addresses is never proof again; its refusals are reports."""
        plain = "aGVsbG8gd29ybGQhaGVsbG8gd29ybGQh"
        talk.challenge(PHONE, plain)
        talk.challenge(GUESSER, plain)
        talk.guess(GUESSER, plain)
        assert talk.verdicts == [(GUESSER, "failure", "reported")]
        assert talk.tracker.nonces.spoilt

    def test_login_with_a_nonce_that_others_have(self, talk):
        """Of two phones that are sent one nonce each logs in with it, and may try it again once."""
        plain = "aGVsbG8gd29ybGQhaGVsbG8gd29ybGQh"
        talk.challenge(PHONE, plain)
        talk.challenge(GUESSER, plain)
        for phone in (PHONE, GUESSER):
            talk.guess(phone, plain, status=200)
            talk.guess(phone, plain, status=401, reply_nonce="bmV4dA==")
        assert talk.verdicts == [
            (phone, verdict, "reported") for phone in (PHONE, GUESSER) for verdict in ("success", "again")
        ]

    def test_accepted_without_being_asked_where_nonces_are_shared(self, talk):
        """A method that the server never asks credentials for accepts any there too."""
        for one in (PHONE, GUESSER):
            talk.challenge(one, "aGVsbG8gd29ybGQhaGVsbG8gd29ybGQh", method="INVITE")
        talk.guess(GUESSER, "aGVsbG8gd29ybGQhaGVsbG8gd29ybGQh", status=200)
        assert talk.verdicts == []

    def test_learns(self, talk):
        """Three times different nonces to different addresses within one second: they do not depend on time alone."""
        for number in range(4):
            talk.challenge(PHONE if number % 2 else GUESSER, f"unknownform{number}")
        talk.guess(GUESSER, "unknownform0")
        assert talk.verdicts == [(GUESSER, "failure", "proven")]

    def test_does_not_learn_from_the_turn_of_seconds(self, talk):
        """Two seconds, two nonces, says nothing."""
        for number in range(8):
            talk.now = 1_000_000.0 + number + 0.5
            talk.challenge(PHONE if number % 2 else GUESSER, f"unknownform{number}")
        talk.guess(GUESSER, "unknownform0")
        assert talk.verdicts == [(GUESSER, "failure", "reported")]

    @pytest.mark.parametrize("transport", ["tcp", "tls", "wss"])
    def test_connection(self, talk, transport):
        """An answer on the request's own connection proves the address, whatever the nonce."""
        talk.challenge(PHONE, uuid(1))
        talk.guess(GUESSER, "invented", transport=transport, port=40000)
        assert talk.verdicts == [(GUESSER, "failure", "proven")]

    def test_old_nonce(self, talk):
        """After its lifetime a nonce is nobody's."""
        talk.challenge(GUESSER, uuid(1))
        talk.now += 2000
        talk.challenge(PHONE, uuid(2))
        talk.guess(GUESSER, uuid(1))
        assert talk.verdicts == [(GUESSER, "failure", "unproven")]

    def test_untrusted_sender(self):
        """What anybody may have made up is a report; and whom it would charge instead, is up to nobody."""
        talk = Talk(Tracker(trusted=False))
        talk.challenge(GUESSER, uuid(1))
        talk.guess(GUESSER, uuid(1))
        talk.guess(OTHER, uuid(1))
        assert talk.verdicts == [(GUESSER, "failure", "reported"), (OTHER, "failure", "unproven")]

    def test_blindness(self, talk):
        """A nonce may have been sent while packets were lost: the attempt says so."""
        talk.challenge(PHONE, uuid(1))
        talk.tracker.blind(talk.now - 5, talk.now, "packets were lost")
        talk.guess(OTHER, "invented")
        assert talk.attempts[0].blind == "packets were lost"


class TestOurs:
    """The machine itself, and proxies."""

    def test_own_address(self):
        """Is never accused, neither of failing at others' servers nor by them."""
        talk = Talk(Tracker(own={SERVER, "203.0.113.2"}))
        talk.guess("203.0.113.2", uuid(1))
        talk.reply("203.0.113.2", answer(401, request(), nonce=uuid(3)))
        talk.guess(OTHER, uuid(3))
        assert talk.verdicts == [(OTHER, "failure", "reported")]

    def test_answers_that_come_in(self):
        """A client's own `200 OK` changes nothing: answers are the server's."""
        talk = Talk(Tracker(own={SERVER}))
        talk.challenge(GUESSER, uuid(1))
        asked = request(nonce=uuid(1))
        talk.send(GUESSER, asked)
        talk.send(GUESSER, answer(200, asked))
        talk.reply(GUESSER, answer(403, asked))
        assert talk.verdicts == [(GUESSER, "failure", "proven")]

    def test_answers_that_come_in_without_knowing_us(self, talk):
        """Nor where our own addresses are not known."""
        talk.challenge(GUESSER, uuid(1))
        asked = request(nonce=uuid(1))
        talk.send(GUESSER, asked)
        talk.send(GUESSER, answer(200, asked))
        talk.reply(GUESSER, answer(403, asked))
        assert talk.verdicts == [(GUESSER, "failure", "proven")]

    def test_proxy(self):
        """A proxy is not accused, and what was sent to it is proof of nothing."""
        talk = Talk(Tracker(proxies={PHONE}))
        talk.challenge(PHONE, uuid(1))
        talk.guess(PHONE, uuid(1))
        talk.guess(OTHER, uuid(1))
        assert talk.verdicts == [(OTHER, "failure", "unproven")]


class TestPairing:
    """Which answer is for which request."""

    def test_copies(self, talk):
        """The same request again is one attempt, however often it is sent and answered."""
        talk.challenge(GUESSER, uuid(1))
        asked = request(nonce=uuid(1))
        for _ in range(4):
            talk.send(GUESSER, asked)
        for _ in range(4):
            talk.reply(GUESSER, answer(403, asked))
        assert talk.verdicts == [(GUESSER, "failure", "proven")]

    def test_five_passwords_in_one_branch(self, talk):
        """Servers judge each; so do we."""
        talk.challenge(GUESSER, uuid(1))
        guesses = [request(nonce=uuid(1), branch="z9hG4bKsame", response=f"{n:032x}") for n in range(5)]
        for asked in guesses:
            talk.send(GUESSER, asked)
        for asked in guesses:
            talk.reply(GUESSER, answer(403, asked))
        assert talk.verdicts == [(GUESSER, "failure", "proven")] * 5

    def test_third_address(self):
        """An answer that is sent elsewhere (maddr) is paired by its branch."""
        talk = Talk(Tracker(own={SERVER}))
        talk.challenge(GUESSER, uuid(1))
        asked = request(nonce=uuid(1))
        talk.send(GUESSER, asked)
        talk.reply("192.0.2.200", answer(403, asked))
        assert talk.verdicts == [(GUESSER, "failure", "proven")]

    def test_another_method_does_not_excuse(self, talk):
        """A 200 to OPTIONS in the same branch is not the answer to the guess."""
        talk.challenge(GUESSER, uuid(1))
        asked = request(nonce=uuid(1), branch="z9hG4bKsame")
        talk.send(GUESSER, asked)
        talk.reply(GUESSER, answer(200, request("OPTIONS", branch="z9hG4bKsame")))
        talk.reply(GUESSER, answer(403, asked))
        assert talk.verdicts == [(GUESSER, "failure", "proven")]

    @pytest.mark.parametrize(
        "change",
        [
            lambda text: text.replace(b"\r\n", b"\n"),
            lambda text: text.replace(b"\r\n", b"\r"),
            lambda text: b"\r\n\r\n" + text,
            lambda text: text.replace(b" sip:", b"  sip:", 1).replace(b" SIP/2.0\r", b"\tsip/2.0\r", 1),
            lambda text: text.replace(b"Via:", b"v:").replace(b"Call-ID:", b"i :").replace(b"From:", b"f:"),
            lambda text: text.replace(b"Authorization: ", b"aUTHORIZATION:\r\n ").replace(b"nonce", b"NONCE"),
            lambda text: text.replace(b";rport;", b';x=";branch=z9hG4bKfalse";rport;'),
            lambda text: text.replace(b";rport;", b";branch=z9hG4bKfalse;"),
            lambda text: text.replace(b"Via:", b"Subject: x;branch=z9hG4bKfalse\r\nVia:"),
            lambda text: text.replace(b"User-Agent", b"X-Padding: " + b"x" * 40_000 + b"\r\nUser-Agent"),
        ],
        ids=[
            "LF",
            "CR",
            "empty lines",
            "blanks",
            "compact",
            "case and fold",
            "quoted",
            "twice",
            "before Via",
            "padding",
        ],
    )
    def test_as_servers_read(self, talk, change):
        """What a server takes is read: otherwise it would be a way to hide."""
        talk.challenge(GUESSER, uuid(1))
        asked = request(nonce=uuid(1))
        talk.send(GUESSER, change(asked))
        talk.reply(GUESSER, answer(403, asked))
        assert talk.verdicts == [(GUESSER, "failure", "proven")]


def test_nothing_secret_is_kept(talk):
    """No attempt holds a nonce, a response or a body."""
    talk.challenge(GUESSER, uuid(1))
    asked = request(nonce=uuid(1), response="5ecret", body="a secret body")
    talk.send(GUESSER, asked)
    talk.reply(GUESSER, answer(403, asked))
    for secret in (uuid(1), "5ecret", "a secret body"):
        assert secret not in repr(talk.attempts)


def test_bounded():
    """A flood of challenges and of unanswered credentials fills no memory, and is known to have made us blind."""
    tracker = Tracker()
    talk = Talk(tracker)
    for number in range(60_000):
        talk.now -= 0.0099
        talk.send(GUESSER, request(nonce=f"n{number}"))
    assert len(tracker._transactions) <= 50_000
    assert tracker.blindness(talk.now - 60, talk.now) == "a table was full"
