"""Real servers, and nothing but their packets: attempts counted = made, forged ones prove nobody, no phone is accused."""

from __future__ import annotations

from collections import Counter

import pytest
from lab.asterisk_conf import PASSWORD
from lab.lab import ATTACKER, LabUnavailableError
from lab.wire import ATTACKER6, NONCES, PACKET_COLLECTOR, PBX6, AsteriskWire, KamailioWire
from needs import needs

pytestmark = pytest.mark.timeout(900)
METHODS = ("REGISTER", "INVITE", "SUBSCRIBE", "MESSAGE")
VICTIM, OTHER = "198.51.100.90", "198.51.100.91"
FORGED = 500
"""Of each kind: a thousand in all."""


class AsteriskPackets(AsteriskWire):
    """Watched instead of told."""

    collector = PACKET_COLLECTOR


class KamailioPackets(KamailioWire):
    """Watched instead of told."""

    collector = PACKET_COLLECTOR


def serving(make, which):
    """A running server, or the reason why there is none."""
    try:
        with make(which) as running:
            yield running
    except LabUnavailableError as reason:
        pytest.skip(str(reason))


def is_nearly(counted, made):
    """Whether at least 99 % and at most 101 % were counted."""
    return made * 0.99 <= counted <= made * 1.01


@pytest.fixture(scope="module", params=["sid", "bullseye"])
@needs("root", "lab")
def asterisk(request):
    """Asterisk 22 and 16."""
    yield from serving(AsteriskPackets, request.param)


@pytest.fixture(scope="module", params=list(NONCES))
@needs("root", "lab")
def kamailio(request):
    """Kamailio with each kind of nonces, after phones and others have asked it for some within a second."""
    for one in serving(KamailioPackets, request.param):
        for _ in range(8):
            for host in ("phone", "atk"):
                one.client(host, "guess", 1, "REGISTER", "udp", "1000", PASSWORD)
        yield one


def failures(lab, before):
    """(address, source where it is another, verdict, evidence) → how often, since; no logins."""
    return Counter({key: count for key, count in (lab.counted() - before).items() if key[2] != "success"})


@pytest.mark.parametrize("transport", ["udp", "tcp", "ws"])
def test_asterisk_guesses(asterisk, transport):
    """Every guess by every method is counted, and proven."""
    before = asterisk.counted()
    for method in METHODS:
        assert asterisk.client("atk", "guess", 10, method, transport) == ["401"] * 10
    assert failures(asterisk, before) == {(ATTACKER, "", "failure", "proven"): 40}
    assert {one["transport"] for one in asterisk.attempts()[-40:]} == {transport}


def test_asterisk_ipv6(asterisk):
    """Over IPv6 too."""
    before = asterisk.counted()
    assert asterisk.client("atk", "guess", 10, "REGISTER", "udp", server=PBX6) == ["401"] * 10
    assert failures(asterisk, before) == {(ATTACKER6, "", "failure", "proven"): 10}


def test_asterisk_forged(asterisk):
    """Invented nonces prove nobody; who fetches nonces for others' packets is charged with them."""
    before = asterisk.counted()
    assert asterisk.client("atk", "invented", FORGED, VICTIM) == [str(FORGED)]
    assert asterisk.client("atk", "borrowed", FORGED, OTHER) == [str(FORGED)]
    counted = failures(asterisk, before)
    print(counted)
    assert set(counted) == {(VICTIM, "", "failure", "unproven"), (ATTACKER, OTHER, "failure", "lent")}


@pytest.mark.parametrize(("count", "pause"), [(20, 0), (3, 4)])
def test_asterisk_phone(asterisk, count, pause):
    """A phone that tries a used nonce first, or one that has expired, is never accused."""
    before = asterisk.counted()
    assert asterisk.client("phone", "phone", count, "1000", PASSWORD, pause) == ["200"] * count
    assert {key for key in failures(asterisk, before) if key[2] == "failure"} == set()


def test_kamailio_guesses(kamailio):
    """Every guess is seen; proven where the nonces can prove, and over TCP whatever they are."""
    before = kamailio.counted()
    for method in METHODS:
        assert kamailio.client("atk", "guess", 12, method, "udp") == ["401"] * 12
    counted = failures(kamailio, before)
    assert set(counted) == {(ATTACKER, "", "failure", kamailio.evidence)}
    assert is_nearly(counted.total(), 48)
    before = kamailio.counted()
    assert kamailio.client("atk", "guess", 10, "REGISTER", "tcp") == ["401"] * 10
    assert failures(kamailio, before) == {(ATTACKER, "", "failure", "proven"): 10}


def test_kamailio_forged(kamailio):
    """Nobody is proven by a forged packet."""
    before = kamailio.counted()
    assert kamailio.client("atk", "invented", FORGED, VICTIM) == [str(FORGED)]
    assert kamailio.client("atk", "borrowed", FORGED, OTHER) == [str(FORGED)]
    counted = failures(kamailio, before)
    print(counted)
    assert not any(address in {VICTIM, OTHER} and evidence == "proven" for address, _, _, evidence in counted)


@pytest.mark.parametrize(("count", "pause"), [(20, 0), (3, 4)])
def test_kamailio_phone(kamailio, count, pause):
    """A phone that tries a used nonce first, or one that has expired, is never accused."""
    before = kamailio.counted()
    assert kamailio.client("phone", "phone", count, "1000", PASSWORD, pause) == ["200"] * count
    assert {key for key in failures(kamailio, before) if key[2] == "failure"} == set()
