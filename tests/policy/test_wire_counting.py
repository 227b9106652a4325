"""What an attempt of the wire means to a jail, and how it is told."""

from __future__ import annotations

import pytest

from sipguard.model import Failure, Filter, Jail, Success
from sipguard.policy.ignore import IgnoreList
from sipguard.policy.judge import Judge, Outcome
from sipguard.policy.wire import describe, event_of
from sipguard.wire_model import Attempt

NOW = 1_000_000.0
ATTEMPT = Attempt(
    NOW, "192.0.2.66", "192.0.2.66", 5060, "203.0.113.1", 5060, "udp",
    "REGISTER", "1000", "1000", "Phone", 403, "failure", "proven",
)  # fmt: skip


def judge(**keys):
    """The judge of a jail of the wire."""
    jail = Jail("sip", Filter("sip", ()), source="wire", maxretry=3, **keys)
    return Judge(jail, IgnoreList(()), clock=lambda: NOW, banned=())


def outcomes(judge_, *attempts):
    """What becomes of each failure; logins are given to the judge too."""
    found = []
    for attempt in attempts:
        event = event_of(attempt)
        if isinstance(event, Success):
            judge_.welcome(event)
        elif event is not None:
            found.append(judge_.consider(event))
    return found


@pytest.mark.parametrize("evidence", ["proven", "lent", "reported"])
def test_counted(evidence):
    """Three of these ban."""
    last = outcomes(judge(), *[ATTEMPT._replace(evidence=evidence)] * 3)[-1]
    assert (last.outcome, last.ban.address) == (Outcome.BAN, "192.0.2.66")


def test_unproven():
    """However many of these ban nobody."""
    found = outcomes(judge(), *[ATTEMPT._replace(evidence="unproven")] * 20)
    assert {one.outcome for one in found} == {Outcome.UNPROVEN}


@pytest.mark.parametrize("verdict", ["stale", "again", "seen"])
def test_no_failure(verdict):
    """Neither counts what says nothing."""
    assert event_of(ATTEMPT._replace(verdict=verdict)) is None


@pytest.mark.parametrize(
    ("evidence", "believed"), [("proven", True), ("reported", True), ("lent", False), ("unproven", False)]
)
def test_login(evidence, believed):
    """A login whose address nothing shows speaks for no address."""
    assert isinstance(event_of(ATTEMPT._replace(verdict="success", evidence=evidence)), Success) is believed


def test_login_forgives():
    """The user's own failures, and one user's where another has logged in."""
    login = ATTEMPT._replace(verdict="success")
    assert outcomes(judge(), ATTEMPT, ATTEMPT, login, ATTEMPT)[-1].outcome is Outcome.COUNTED
    old_password = [ATTEMPT._replace(user="1001")] * 3
    assert outcomes(judge(maxusers=2), login, *old_password)[-1].outcome is Outcome.MISCONFIGURED


class TestScan:
    """Calls to nowhere."""

    scan = ATTEMPT._replace(method="INVITE", verdict="scan", status=404, user="", account="00441", evidence="unproven")

    def test_off(self):
        """Count for nothing where they are not asked for, over TCP neither."""
        for evidence in ("unproven", "proven"):
            found = outcomes(judge(), *[self.scan._replace(evidence=evidence)] * 9)
            assert {one.outcome for one in found} == {Outcome.UNPROVEN}

    @pytest.mark.parametrize(("evidence", "seconds"), [("unproven", 3600), ("proven", 86_400)])
    def test_on(self, evidence, seconds):
        """Ban for an hour over UDP, for as long as the jail says where the address is proven."""
        ban = outcomes(judge(mode="scan", bantime=86_400.0), *[self.scan._replace(evidence=evidence)] * 3)[-1].ban
        assert (ban.until - ban.since, ban.evidence) == (seconds, evidence)

    def test_nobody_who_has_logged_in(self):
        """A phone misdials as often as it likes."""
        found = outcomes(judge(mode="scan"), ATTEMPT._replace(verdict="success"), *[self.scan] * 9)
        assert {one.outcome for one in found} == {Outcome.UNPROVEN}


def test_neighbours_of_a_phone():
    """Where a phone has logged in, the others of its network are counted and banned each for itself."""
    attacker = ATTEMPT._replace(address="2001:db8::66", source="2001:db8::66")
    phone = ATTEMPT._replace(address="2001:db8::20", source="2001:db8::20", verdict="success")
    assert outcomes(judge(ipv6prefix=64), attacker, attacker, attacker)[-1].ban.address == "2001:db8::/64"
    assert outcomes(judge(ipv6prefix=64), phone, attacker, attacker, attacker)[-1].ban.address == "2001:db8::66"


@pytest.mark.parametrize(
    ("change", "line"),
    [
        ({}, "proven: REGISTER as 1000 over udp answered 403, agent Phone"),
        ({"user": "a\nb\x1b[2J", "agent": ""}, r"proven: REGISTER as a\nb\x1b[2J over udp answered 403"),
        (
            {"evidence": "lent", "source": "192.0.2.91", "agent": ""},
            "lent: REGISTER as 1000 over udp answered 403, sent in the name of 192.0.2.91 with a nonce of 192.0.2.66",
        ),
        (
            TestScan.scan._replace(agent="")._asdict(),
            "unproven: INVITE of 00441 without credentials over udp answered 404",
        ),
        (
            {"alarm": True, "agent": ""},
            "proven: REGISTER as 1000 over udp answered 403; the server has taken this password: it may be known",
        ),
    ],
)
def test_told(change, line):
    """In one printable line."""
    told = describe(ATTEMPT._replace(**change))
    assert told == line
    assert told.isprintable()
    event = event_of(ATTEMPT._replace(**change))
    assert isinstance(event, Failure)
    assert event.lines == (told,)


@pytest.mark.parametrize(
    ("classes", "of_the_ban"),
    [
        (["proven"] * 3, "proven"),
        (["lent"] * 3, "lent"),
        (["proven", "lent", "proven"], "lent"),
        (["reported"] * 3, "reported"),
        (["proven", "reported", "proven"], "reported"),
    ],
)
def test_the_class_of_a_ban(classes, of_the_ban):
    """It is that of the weakest failure that the ban needs: what one forged line completes is not proven."""
    judge_ = judge()
    last = outcomes(judge_, *(ATTEMPT._replace(evidence=one) for one in classes))[-1]
    assert last.ban.evidence == of_the_ban
    assert len(judge_.grounds) == 0


def test_failures_of_before_a_login_prove_nothing_more():
    """Who has logged in begins anew."""
    judge_ = judge()
    outcomes(judge_, ATTEMPT, ATTEMPT, ATTEMPT._replace(verdict="success", status=200))
    last = outcomes(judge_, *[ATTEMPT._replace(evidence="reported", user="1001")] * 2, ATTEMPT._replace(user="1002"))[
        -1
    ]
    assert last.ban.evidence == "reported"


def test_lines_of_a_log_have_no_class():
    """Nor has their ban."""
    judge_ = Judge(
        Jail("freeswitch", Filter("freeswitch", ()), maxretry=3), IgnoreList(()), clock=lambda: NOW, banned=()
    )
    ban = [judge_.consider(Failure("192.0.2.66", NOW)) for _ in range(3)][-1].ban
    assert (ban.address, ban.evidence) == ("192.0.2.66", None)
