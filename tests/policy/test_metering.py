"""Whom the kernel is told to hold back, and who is let through again."""

from __future__ import annotations

import pytest
from effort import part

from sipguard.model import Filter, Jail
from sipguard.policy.logins import KEPT
from sipguard.policy.metering import Metering

NOW = 1_000_000.0
ONE = "192.0.2.66"


def metering(**keys):
    """Of a jail with three tries, if nothing else is said."""
    return Metering(Jail("sip", Filter("sip", ()), findtime=600.0, **{"maxretry": 3, "bantime": 600.0, **keys}))


def guesses(one, number, *, address=ONE, user="1000", time=NOW):
    """The orders of so many unproven failures, a second apart."""
    found = [one.unproven(address, user, time + n, time + n) for n in range(number)]
    return [order for order in found if order is not None]


def test_the_law():
    """Before and after together maxretry guesses within findtime, once per bantime, however many come."""
    one = metering(maxretry=5)
    assert guesses(one, 2) == []
    orders = guesses(one, 500, time=NOW + 2)
    assert orders == [(ONE, NOW + 2 + 600, 2, ()), (ONE, NOW + 2 + 600, 0, ())]
    assert one.metered(NOW + 2) == 1
    assert [order.requests for order in guesses(one, 3, time=NOW + 700)] == [0]


@pytest.mark.parametrize("maxretry", [1, 2, 3, 4, 5, 10, 100])
def test_no_more_guesses_than_without_the_wire(maxretry):
    """Those that are counted before the kernel is told, and those that it lets through."""
    one, made = metering(maxretry=maxretry), 0
    while not (orders := guesses(one, 1, time=NOW + made)):
        made += 1
    assert made + 1 + orders[0].requests == maxretry


@pytest.mark.parametrize("maxretry", [2, 3, 4, 5, 10])
@pytest.mark.parametrize("first", range(1, 10))
def test_failures_of_both_kinds_in_any_order(maxretry, first):
    """An unproven one among those that count towards a ban: together they are no more than without the wire."""
    one, made, order = metering(maxretry=maxretry), 0, None
    while order is None and made < maxretry:
        made += 1
        tell = one.unproven if made == first else one.counted
        order = tell(ONE, "1000", NOW + made, NOW + made)
    if order is None:  # they were all counted: that is a ban
        assert first > maxretry
    else:
        assert made + order.requests == maxretry


def test_proven_failures_leave_fewer():
    """Who fails both ways has no more guesses for it; of an address with logins only what is unproven is counted."""
    one = metering(maxretry=5)
    for _ in range(3):
        assert one.counted(ONE, "1000", NOW, NOW) is None
    (order,) = guesses(one, 1)
    assert order.requests == 1
    one = metering(maxretry=5)
    one.login(ONE, 5060, "2000", NOW)
    for _ in range(4):
        assert one.counted(ONE, "1000", NOW, NOW) is None
    assert guesses(one, 2) == []


def test_slow_guesses():
    """Too slow to be banned, too slow to be metered."""
    one = metering()
    assert [one.unproven(ONE, "1000", NOW + 601 * n, NOW + 601 * n) for n in range(10)] == [None] * 10


def test_login_lifts_it():
    """The phone is itself; who has an account is metered again at the next guess at another's."""
    one = metering()
    guesses(one, 2)
    one.login(ONE, 5060, "2000", NOW + 4)
    assert one.metered(NOW + 4) == 0
    assert len(guesses(one, 1, time=NOW + 6)) == 1
    other = metering()
    guesses(other, 3)
    other.login(ONE, 5060, "1000", NOW + 4)
    assert guesses(other, 1, time=NOW + 6) == []


def test_ports_of_logins_pass():
    """Of an address with logins within a day only the other ports are held back."""
    one = metering()
    for port in (5060, 5062, 5060):
        one.login(ONE, port, "1", NOW)
    one.login(ONE, 5064, "1", NOW - KEPT)
    (order,) = guesses(one, 2)
    assert order.flows == ((ONE, 5060), (ONE, 5062))
    assert one.flows(ONE, NOW + KEPT) == ()


def test_a_network_of_ipv6():
    """Phones in it pass freely, and whoever logs in there lifts the meter of all, as behind one address of IPv4."""
    phone, other, network = "2001:db8:1:2::20", "2001:db8:1:2::21", "2001:db8:1:2::/64"
    one = metering()
    one.login(phone, 5060, "1", NOW)
    one.login("2001:db8:1:3::20", 5060, "1", NOW)
    (order,) = guesses(one, 2, address=network)
    assert (order.address, order.flows) == (network, ((phone, 5060),))
    assert (one.flows(phone, NOW), one.flows(other, NOW)) == (((phone, 5060),), ())
    one.login(other, 5061, "1000", NOW + 4)
    assert one.metered(NOW + 4) == 0
    assert guesses(one, 1, address=network, time=NOW + 5) == []


def test_who_is_released_completes_an_order_with_his_next_guess():
    """The kernel has refused, or had no room: nobody is to go on guessing for that."""
    one = metering()
    (order,) = guesses(one, 2)
    one.release(ONE)
    (again,) = guesses(one, 1, time=NOW + 4)
    assert (again.requests, again.until) == (0, order.until + 3)


def test_a_ban_for_ever_is_metered_for_a_day():
    """The kernel's sets have no end of their own."""
    (order,) = guesses(metering(bantime=float("inf")), 2)
    assert order.until == NOW + 1 + 86_400


@pytest.mark.more
def test_memory_is_bounded(monkeypatch):
    """However many addresses log in or guess, from however many ports."""
    held = part(50_000)
    monkeypatch.setattr("sipguard.policy.metering._HELD", held)
    one = metering()
    for number in range(held + 10_000):
        address = f"10.{number // 65536}.{number // 256 % 256}.{number % 256}"
        one.login(address, number, "1", NOW)
        guesses(one, 3, address=address)
    for port in range(1000):
        one.login(ONE, port, "1", NOW)
    assert one.metered(NOW) == held
    assert len(one.flows(ONE, NOW)) == 32


@pytest.mark.parametrize("seconds", [3600.0, -3600.0])
def test_the_clock_is_set(seconds):
    """What is behind lies as far behind as before."""
    one = metering()
    one.login(ONE, 5060, "1", NOW)
    guesses(one, 3)
    one.shift(seconds)
    assert one.metered(NOW + seconds + 600) == 1
    assert one.metered(NOW + seconds + 602) == 0
    one.prune(NOW + seconds + 603)
    assert one.flows(ONE, NOW + seconds) == ((ONE, 5060),)
