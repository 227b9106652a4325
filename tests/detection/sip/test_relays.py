"""Who relays for many: shown by logins alone, which nobody can make in others' names."""

from __future__ import annotations

import pytest
from sip_packets import SERVER, Talk, answer, request, uuid

from sipguard.detection.sip.relays import USERS, Relays
from sipguard.detection.sip.tracker import Tracker

PROXY = "198.51.100.5"
CLIENT = "Via: SIP/2.0/UDP 192.0.2.77:5060;branch=z9hG4bKclient"


def told(users, *, extra=CLIENT, status=200):
    """The relays, after so many users have registered from one address."""
    talk = Talk(Tracker(own={SERVER}))
    for number in range(users):
        talk.challenge(PROXY, uuid(number))
        asked = request(nonce=uuid(number), user=str(number), extra=extra)
        talk.send(PROXY, asked)
        talk.reply(PROXY, answer(status, asked))
    return talk.tracker.relays.many()


@pytest.mark.parametrize(
    ("users", "extra", "status", "relays"),
    [
        (USERS, CLIENT, 200, [PROXY]),
        (USERS - 1, CLIENT, 200, []),
        (3 * USERS, "", 200, []),
        (3 * USERS, CLIENT, 403, []),
    ],
    ids=["proxy", "few users", "an office behind NAT", "guesses"],
)
def test_relays(users, extra, status, relays):
    """Ten users by way of a proxy; not an office's phones, nor whoever writes a second Via and fails."""
    assert told(users, extra=extra, status=status) == relays


def test_memory_is_bounded():
    """However many addresses and users there are."""
    one = Relays()
    answered = answer(200, request(extra=CLIENT))
    for number in range(5000):
        one.login(f"10.0.{number // 256}.{number % 256}", "1000", answered)
        one.login(PROXY, f"{number}", answered)
    assert one.many() == [PROXY]
    assert sum(map(len, one._of.values())) <= 1000 + USERS
