"""What a login forgives, whom maxusers spares, how IPv6 is counted, and when a challenge becomes a sign of a scan."""

from __future__ import annotations

import dataclasses

import pytest

from sipguard.addresses import canonical
from sipguard.model import Challenge, Failure, Filter, Jail, Success
from sipguard.policy.ignore import IgnoreList
from sipguard.policy.judge import Judge, Outcome
from sipguard.policy.logins import PATIENCE

ADDRESS = "203.0.113.5"
FILTER = Filter("f", ("<HOST>",), options={"successregex": "x", "attempt_window": "32", "scanner_weight": "3"})
JAIL = Jail("j", FILTER, maxretry=3, findtime=600)


class Bench:
    """A judge with a clock that can be set."""

    def __init__(self, ignore=(), **changes):
        self.now = 1000.0
        self.judge = Judge(
            dataclasses.replace(JAIL, **changes), IgnoreList(ignore), clock=lambda: self.now, banned=set()
        )

    def fail(self, user="1000", host=ADDRESS, **tags):
        self.now += 1
        return self.judge.consider(Failure(host, self.now, user=user, tags=tags))

    def login(self, user="1000", host=ADDRESS):
        self.now += 1
        return self.judge.welcome(Success(host, self.now, user))


def test_a_login_forgives_its_own_user():
    """Two typos, the right password, two typos: no ban."""
    bench = Bench()
    bench.fail(), bench.fail(), bench.login()
    assert [bench.fail().outcome for _ in range(3)] == [Outcome.COUNTED, Outcome.COUNTED, Outcome.BAN]


@pytest.mark.parametrize(
    ("host", "neighbour"),
    [
        pytest.param("64:ff9b::203.0.113.5", "64:ff9b::203.0.113.6", id="NAT64"),
        pytest.param("64:ff9b:1::5", "64:ff9b:1::6", id="NAT64 of a site"),
        pytest.param("2002:cb00:7105::1", "2002:cb00:7105::2", id="6to4"),
        pytest.param("2001:0:c000:201::1", "2001:0:c000:201::2", id="Teredo"),
        pytest.param("2001::1", "2001::2", id="Teredo, written short"),
    ],
)
def test_an_embedded_ipv4_address_counts_by_itself(host, neighbour):
    """The others of its /64 are other people: the network would be the whole Internet of IPv4."""
    bench = Bench(ipv6prefix=64)
    assert [bench.fail(host=host).outcome for _ in range(3)][-1] is Outcome.BAN
    assert bench.judge.subject(canonical(host)) == canonical(host)
    assert bench.fail(host=neighbour).outcome is Outcome.COUNTED


def test_other_ipv6_addresses_count_by_their_network():
    """2001:db8:: and 2003:: are nobody's tunnel."""
    bench = Bench(ipv6prefix=64)
    assert [bench.judge.subject(one) for one in ("2001:db8::1", "2003::1", "64:ff9c::1")] == [
        "2001:db8::/64", "2003::/64", "64:ff9c::/64",
    ]  # fmt: skip


def test_a_login_forgives_nobody_elses_failures():
    """Who has an account of his own gains nothing."""
    bench = Bench()
    bench.fail("2000"), bench.fail("2001"), bench.login("1000")
    assert bench.fail("2002").outcome is Outcome.BAN


def test_a_login_elsewhere_forgives_nothing():
    """Address and user belong together."""
    bench = Bench()
    bench.fail(), bench.fail(), bench.login(host="203.0.113.6")
    assert bench.fail().outcome is Outcome.BAN


def test_a_phone_with_an_old_password_is_misconfigured_not_banned():
    """It has logged in before, and fails for one user; in the end it is banned all the same."""
    bench = Bench(maxusers=2)
    bench.login()
    outcomes = [bench.fail("1001").outcome for _ in range(PATIENCE * JAIL.maxretry + 1)]
    assert outcomes[2] is Outcome.MISCONFIGURED
    assert Outcome.BAN in outcomes
    assert outcomes.index(Outcome.BAN) >= (PATIENCE - 1) * JAIL.maxretry


@pytest.mark.parametrize(("maxusers", "users"), [(2, ("1", "2", "3")), (0, ("1", "1", "1"))], ids=["many users", "off"])
def test_many_users_are_guessing(maxusers, users):
    """Also from an address that has logged in."""
    bench = Bench(maxusers=maxusers)
    bench.login("9")
    assert [bench.fail(user).outcome for user in users][-1] is Outcome.BAN


@pytest.mark.parametrize(
    ("prefix", "banned"), [(64, "2001:db8::/64"), (128, "2001:db8::1"), (48, "2001:db8::/48")], ids=str
)
def test_ipv6_is_counted_by_its_network(prefix, banned):
    """IPv4 and mapped addresses are not touched."""
    bench = Bench(ipv6prefix=prefix)
    assert [bench.fail(host="2001:db8::1").ban for _ in range(3)][-1].address == banned
    assert [bench.fail(host="::ffff:192.0.2.1").ban for _ in range(3)][-1].address == "192.0.2.1"


def test_a_network_with_an_ignored_address_is_not_banned_as_a_whole():
    """Its other addresses are, one by one."""
    bench = Bench(ignore=["2001:db8::20"], ipv6prefix=64)
    assert bench.fail(host="2001:db8::20").outcome is Outcome.IGNORED
    assert [bench.fail(host="2001:db8::1").ban for _ in range(3)][-1].address == "2001:db8::1"


def test_a_scanners_name_weighs_more_but_never_alone():
    """One failure with the name counts as three; without a failure there is nothing to count."""
    assert Bench().fail(scanner="friendly-scanner").outcome is Outcome.BAN


def test_challenges_without_answer_count_once_per_user():
    """Answered ones never; the same user again within findtime neither."""
    bench = Bench()
    for user in ("1", "2", "2", "3"):
        bench.judge.challenge(Challenge(ADDRESS, bench.now, user, tags={"session": f"c{user}"}))
    bench.judge.challenge(Challenge(ADDRESS, bench.now, "3", answered=True, tags={"session": "c3"}))
    assert bench.judge.overdue() == []
    bench.now += 33
    assert [failure.user for failure in bench.judge.overdue()] == ["1", "2"]
    bench.judge.challenge(Challenge(ADDRESS, bench.now, "1", tags={"session": "c9"}))
    bench.now += 33
    assert bench.judge.overdue() == []
