"""Real servers over HEP: attempts counted = attempts made, forged packets prove nobody, phones are never accused."""

from __future__ import annotations

from collections import Counter

import pytest
from lab.asterisk_conf import PASSWORD
from lab.lab import ATTACKER, PHONE, LabUnavailableError
from lab.wire import NONCES, PBX6, AsteriskWire, KamailioWire
from needs import needs

pytestmark = pytest.mark.timeout(900)
METHODS = ("REGISTER", "INVITE", "SUBSCRIBE", "MESSAGE")
VICTIM, OTHER = "198.51.100.90", "198.51.100.91"
FORGED = 500
"""Of each kind."""


def serving(make, which):
    """A running server, or the reason why there is none."""
    try:
        with make(which) as running:
            yield running
    except LabUnavailableError as reason:
        pytest.skip(str(reason))


def within_one_percent(counted, made):
    """Whether nearly all, and no more, were counted."""
    return made * 0.99 <= counted <= made * 1.01


@pytest.fixture(scope="module", params=["sid", "bullseye"])
@needs("root", "lab")
def asterisk(request):
    """Asterisk 22 and 16."""
    yield from serving(AsteriskWire, request.param)


@pytest.fixture(scope="module", params=list(NONCES))
@needs("root", "lab")
def kamailio(request):
    """Kamailio with each kind of nonces."""
    yield from serving(KamailioWire, request.param)


def failures(lab, evidence=None):
    """Method and transport → failures of the attacker."""
    return Counter(
        (one["method"], one["transport"])
        for one in lab.attempts()
        if one["verdict"] == "failure"
        and one["source"] in (ATTACKER, "2001:db8::66")
        and (evidence is None or one["evidence"] == evidence)
    )


class TestAsterisk:
    """PJSIP."""

    @pytest.mark.parametrize("transport", ["udp", "tcp", "tls"])
    @pytest.mark.parametrize("method", METHODS)
    def test_guesses(self, asterisk, method, transport):
        """Every guess is counted, and proven."""
        told = "tcp" if transport == "tls" else transport  # res_hep writes TLS as TCP
        before = failures(asterisk, "proven")[method, told]
        assert asterisk.client("atk", "guess", 5, method, transport) == ["401"] * 5
        assert failures(asterisk, "proven")[method, told] == before + 5

    def test_ipv6(self, asterisk):
        """Over IPv6 too."""
        assert asterisk.client("atk", "guess", 5, "REGISTER", "udp", server=PBX6) == ["401"] * 5
        counted = asterisk.counted()
        assert counted["2001:db8::66", "", "failure", "proven"] == 5

    def test_tools(self, asterisk):
        """svcrack: each password is one attempt. svwar asks without answering a challenge: no failure."""
        before = failures(asterisk)["REGISTER", "udp"]
        asterisk.crack(40)
        counted = failures(asterisk, "proven")["REGISTER", "udp"] - before
        assert within_one_percent(counted, 40)
        asterisk.enumerate(100, 130)
        assert failures(asterisk)["REGISTER", "udp"] == before + counted

    def test_forged(self, asterisk):
        """Invented nonces prove nobody; who fetches nonces for others' packets is charged with them."""
        before = asterisk.counted()
        assert asterisk.client("atk", "invented", FORGED, VICTIM) == [str(FORGED)]
        assert asterisk.client("atk", "borrowed", FORGED, OTHER) == [str(FORGED)]
        counted = asterisk.counted() - before
        assert within_one_percent(counted[VICTIM, "", "failure", "unproven"], FORGED)
        assert within_one_percent(counted[ATTACKER, OTHER, "failure", "lent"], FORGED)
        assert not {key for key in counted if key[0] in (VICTIM, OTHER) and key[3] != "unproven"}

    def test_phone(self, asterisk):
        """A phone that tries its used nonce first is welcome, and never accused."""
        assert asterisk.client("phone", "phone", 10, "1000", PASSWORD) == ["200"] * 10
        assert not [key for key in asterisk.counted() if key[0] == PHONE and key[2] == "failure"]


class TestKamailio:
    """With its own nonces, one-time ones, and such as are bound to the source."""

    @pytest.mark.parametrize("method", METHODS)
    def test_guesses(self, kamailio, method):
        """Every guess is seen; proven where the nonces can prove."""
        # Several addresses ask within a second: so it is learnt whether the nonces differ.
        for _ in range(4):
            kamailio.client("phone", "guess", 1, "REGISTER", "udp", "1000", PASSWORD)
            kamailio.client("atk", "guess", 1, "REGISTER", "udp", "1000", PASSWORD)
        before = failures(kamailio)[method, "udp"]
        assert kamailio.client("atk", "guess", 10, method, "udp") == ["401"] * 10
        assert failures(kamailio)[method, "udp"] == before + 10

    def test_forged(self, kamailio):
        """Nobody is proven by a forged packet."""
        before = kamailio.counted()
        kamailio.client("atk", "invented", FORGED, VICTIM)
        kamailio.client("atk", "borrowed", FORGED, OTHER)
        counted = kamailio.counted() - before
        assert sum(counted.values()) >= FORGED * 1.98
        assert not [key for key in counted if key[3] == "proven" and key[0] in (VICTIM, OTHER)]

    def test_phone(self, kamailio):
        """A phone that tries its used nonce first is never accused with proof."""
        answers = kamailio.client("phone", "phone", 10, "1000", PASSWORD)
        assert set(answers) == {"200"}
        assert not [key for key in kamailio.counted() if key[0] == PHONE and key[2] == "failure"]
