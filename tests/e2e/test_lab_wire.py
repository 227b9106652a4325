"""Real servers over HEP: attempts counted = attempts made, forged packets prove nobody, phones are never accused."""

from __future__ import annotations

import json
from collections import Counter

import pytest
import toml
from lab.asterisk_conf import PASSWORD
from lab.lab import ATTACKER
from lab.wire import ATTACKER6, KEY, NONCES, PBX6, PORT, AsteriskWire, KamailioWire
from lab.wire_trial import FORGED, METHODS, OTHER, VICTIM, Since, asked_before, is_nearly, serving
from needs import needs
from running import RunningDaemon

pytestmark = pytest.mark.timeout(900)


@pytest.fixture(scope="module", params=["sid", "bullseye"])
@needs("root", "lab")
def asterisk(request):
    """Asterisk 22 and 16."""
    yield from serving(AsteriskWire, request.param)


@pytest.fixture(scope="module", params=list(NONCES))
@needs("root", "lab")
def kamailio(request):
    """Kamailio with each kind of nonces, after phones and others have asked it for some within a second."""
    yield from asked_before(KamailioWire, request.param)


class TestAsterisk:
    """PJSIP. In its HEP packets TLS and WebSocket are called TCP."""

    @pytest.mark.parametrize("transport", ["udp", "tcp", "tls", "ws"])
    def test_guesses(self, asterisk, transport):
        """Every guess by every method is counted, and proven."""
        since = Since(asterisk)
        for method in METHODS:
            assert asterisk.client("atk", "guess", 10, method, transport) == ["401"] * 10
        assert since.counted() == {(ATTACKER, "", "failure", "proven"): 40}
        called = "udp" if transport == "udp" else "tcp"
        assert Counter(
            one["method"] for one in asterisk.attempts()[-40:] if one["transport"] == called
        ) == dict.fromkeys(METHODS, 10)

    def test_ipv6(self, asterisk):
        """Over IPv6 too."""
        since = Since(asterisk)
        assert asterisk.client("atk", "guess", 10, "REGISTER", "udp", server=PBX6) == ["401"] * 10
        assert since.counted() == {(ATTACKER6, "", "failure", "proven"): 10}

    def test_tools(self, asterisk):
        """Of svcrack what the server has refused, as its log tells. svwar answers no challenge: no failure."""
        since, log = Since(asterisk), asterisk.log("security")
        before = log.read_text().count("ChallengeResponseFailed")
        asterisk.crack(100)
        asterisk.settle()
        made = log.read_text().count("ChallengeResponseFailed") - before
        assert made >= 100
        counted = since.counted()
        assert set(counted) == {(ATTACKER, "", "failure", "proven")}
        assert is_nearly(counted.total(), made)
        since = Since(asterisk)
        asterisk.enumerate(100, 130)
        assert since.counted() == {}

    def test_forged(self, asterisk):
        """Invented nonces prove nobody; who fetches nonces for others' packets is charged with them."""
        since = Since(asterisk)
        assert asterisk.client("atk", "invented", FORGED, VICTIM) == [str(FORGED)]
        assert asterisk.client("atk", "borrowed", FORGED, OTHER) == [str(FORGED)]
        counted = since.counted()
        assert set(counted) == {(VICTIM, "", "failure", "unproven"), (ATTACKER, OTHER, "failure", "lent")}
        assert all(is_nearly(count, FORGED) for count in counted.values())

    def test_password_taken_with_an_invented_nonce(self, asterisk):
        """The server says by `stale=true` that the password was right: an alarm, after guesses."""
        since = Since(asterisk)
        asterisk.client("atk", "invented", 3, VICTIM)
        asterisk.client("atk", "invented", 1, VICTIM, PASSWORD)
        assert since.counted() == {(VICTIM, "", "failure", "unproven"): 4}
        assert [one["alarm"] for one in asterisk.attempts()[-4:]] == [False, False, False, True]

    @pytest.mark.parametrize(("count", "pause"), [(20, 0), (3, 4)])
    def test_phone(self, asterisk, count, pause):
        """A phone that tries a used nonce first, or one that has expired, is never accused."""
        since = Since(asterisk)
        assert asterisk.client("phone", "phone", count, "1000", PASSWORD, pause) == ["200"] * count
        assert {key for key in since.counted() if key[2] == "failure"} == set()

    def test_daemon(self, asterisk, tmp_path):
        """The whole way: guesses that no log shows are rejected in the kernel; forged ones and the phone are not."""
        asterisk.stop_collecting()
        daemon = RunningDaemon(tmp_path, {"sip": {}}, firewall="nftables", prefix=asterisk.command("pbx"))
        hep = {"hep": {"listen": f"127.0.0.1:{PORT}", "key": KEY}}
        daemon.config.write_text(daemon.config.read_text() + "\n" + toml.dumps(hep))
        daemon.start()
        try:
            asterisk.client("atk", "invented", 50, VICTIM)
            assert asterisk.client("atk", "guess", 5, "MESSAGE", "udp") == ["401"] * 5
            daemon.wait_logged(f"[sip] Ban {ATTACKER}")
            assert asterisk.guess(3) == ["rejected"] * 3
            assert asterisk.register() == "200"

            def explained(address):
                return json.loads(daemon.sipguard("explain", address, "--json", check=False).stdout)

            daemon.wait_for(lambda: len(explained(VICTIM)["doubts"]) == 20)  # the latest of fifty
            assert explained(VICTIM)["attempts"] == []
            assert daemon.banned("sip") == {ATTACKER}
            assert [one["line"] for one in explained(ATTACKER)["attempts"]] == [
                "proven: MESSAGE as 1000 over udp answered 401, agent lab"
            ] * 5
        finally:
            daemon.stop()
            asterisk.clear_firewall()
            asterisk.collect()


class TestKamailio:
    """With the nonces of its own making, one-time ones, and such as are bound to the source."""

    def test_guesses(self, kamailio):
        """Every guess is seen; proven where the nonces can prove."""
        since = Since(kamailio)
        for method in METHODS:
            assert kamailio.client("atk", "guess", 25, method, "udp") == ["401"] * 25
        counted = since.counted()
        assert set(counted) == {(ATTACKER, "", "failure", kamailio.evidence)}
        assert is_nearly(counted.total(), 100)

    def test_tcp(self, kamailio):
        """Over TCP the address is proven whatever the nonces are."""
        since = Since(kamailio)
        assert kamailio.client("atk", "guess", 10, "REGISTER", "tcp") == ["401"] * 10
        assert since.counted() == {(ATTACKER, "", "failure", "proven"): 10}

    def test_tools(self, kamailio):
        """svcrack and svwar."""
        since = Since(kamailio)
        kamailio.crack(100)
        counted = since.counted()
        assert set(counted) == {(ATTACKER, "", "failure", kamailio.evidence)}
        assert 99 <= counted.total() <= 102  # svcrack ends with a guess or two more than it was told
        since = Since(kamailio)
        kamailio.enumerate(100, 130)
        assert since.counted() == {}

    def test_forged(self, kamailio):
        """Nobody is proven by a forged packet; who has fetched the nonces is charged where that can be known."""
        since = Since(kamailio)
        assert kamailio.client("atk", "invented", FORGED, VICTIM) == [str(FORGED)]
        assert kamailio.client("atk", "borrowed", FORGED, OTHER) == [str(FORGED)]
        counted = since.counted()
        if kamailio.evidence == "proven":
            assert set(counted) == {(VICTIM, "", "failure", "unproven"), (ATTACKER, OTHER, "failure", "lent")}
        else:
            assert set(counted) == {(one, "", "failure", "reported") for one in (VICTIM, OTHER)}
        assert all(is_nearly(count, FORGED) for count in counted.values())

    @pytest.mark.parametrize(("count", "pause"), [(20, 0), (3, 4)])
    def test_phone(self, kamailio, count, pause):
        """A phone that tries a used nonce first, or one that has expired, is never accused."""
        since = Since(kamailio)
        assert kamailio.client("phone", "phone", count, "1000", PASSWORD, pause) == ["200"] * count
        assert {key for key in since.counted() if key[2] == "failure"} == set()
