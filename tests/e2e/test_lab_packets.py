"""Real servers, and nothing but their packets: attempts counted = made, forged ones prove nobody, no phone is accused."""

from __future__ import annotations

import pytest
from lab.asterisk_conf import PASSWORD
from lab.lab import ATTACKER
from lab.wire import ATTACKER6, NONCES, PACKET_COLLECTOR, PBX6, AsteriskWire, KamailioWire
from lab.wire_trial import FORGED, METHODS, OTHER, VICTIM, Since, asked_before, is_nearly, serving
from needs import needs

pytestmark = pytest.mark.timeout(900)


class AsteriskPackets(AsteriskWire):
    """Watched instead of told."""

    collector = PACKET_COLLECTOR


class KamailioPackets(KamailioWire):
    """Watched instead of told."""

    collector = PACKET_COLLECTOR


@pytest.fixture(scope="module", params=["sid", "bullseye"])
@needs("root", "lab")
def asterisk(request):
    """Asterisk 22 and 16."""
    yield from serving(AsteriskPackets, request.param)


@pytest.fixture(scope="module", params=list(NONCES))
@needs("root", "lab")
def kamailio(request):
    """Kamailio with each kind of nonces, after phones and others have asked it for some within a second."""
    yield from asked_before(KamailioPackets, request.param)


@pytest.mark.parametrize("transport", ["udp", "tcp", "ws"])
def test_asterisk_guesses(asterisk, transport):
    """Every guess by every method is counted, and proven."""
    since = Since(asterisk)
    for method in METHODS:
        assert asterisk.client("atk", "guess", 10, method, transport) == ["401"] * 10
    assert since.counted() == {(ATTACKER, "", "failure", "proven"): 40}
    assert {one["transport"] for one in asterisk.attempts()[-40:]} == {transport}


def test_asterisk_ipv6(asterisk):
    """Over IPv6 too."""
    since = Since(asterisk)
    assert asterisk.client("atk", "guess", 10, "REGISTER", "udp", server=PBX6) == ["401"] * 10
    assert since.counted() == {(ATTACKER6, "", "failure", "proven"): 10}


def test_asterisk_forged(asterisk):
    """Invented nonces prove nobody; who fetches nonces for others' packets is charged with them."""
    since = Since(asterisk)
    assert asterisk.client("atk", "invented", FORGED, VICTIM) == [str(FORGED)]
    assert asterisk.client("atk", "borrowed", FORGED, OTHER) == [str(FORGED)]
    counted = since.counted()
    print(counted)
    assert set(counted) == {(VICTIM, "", "failure", "unproven"), (ATTACKER, OTHER, "failure", "lent")}


@pytest.mark.parametrize(("count", "pause"), [(20, 0), (3, 4)])
def test_asterisk_phone(asterisk, count, pause):
    """A phone that tries a used nonce first, or one that has expired, is never accused."""
    since = Since(asterisk)
    assert asterisk.client("phone", "phone", count, "1000", PASSWORD, pause) == ["200"] * count
    assert {key for key in since.counted() if key[2] == "failure"} == set()


def test_kamailio_guesses(kamailio):
    """Every guess is seen; proven where the nonces can prove, and over TCP whatever they are."""
    since = Since(kamailio)
    for method in METHODS:
        assert kamailio.client("atk", "guess", 12, method, "udp") == ["401"] * 12
    counted = since.counted()
    assert set(counted) == {(ATTACKER, "", "failure", kamailio.evidence)}
    assert is_nearly(counted.total(), 48)
    since = Since(kamailio)
    assert kamailio.client("atk", "guess", 10, "REGISTER", "tcp") == ["401"] * 10
    assert since.counted() == {(ATTACKER, "", "failure", "proven"): 10}


def test_kamailio_forged(kamailio):
    """Nobody is proven by a forged packet."""
    since = Since(kamailio)
    assert kamailio.client("atk", "invented", FORGED, VICTIM) == [str(FORGED)]
    assert kamailio.client("atk", "borrowed", FORGED, OTHER) == [str(FORGED)]
    counted = since.counted()
    print(counted)
    assert not any(address in {VICTIM, OTHER} and evidence == "proven" for address, _, _, evidence in counted)


@pytest.mark.parametrize(("count", "pause"), [(20, 0), (3, 4)])
def test_kamailio_phone(kamailio, count, pause):
    """A phone that tries a used nonce first, or one that has expired, is never accused."""
    since = Since(kamailio)
    assert kamailio.client("phone", "phone", count, "1000", PASSWORD, pause) == ["200"] * count
    assert {key for key in since.counted() if key[2] == "failure"} == set()
