"""Whom the kernel holds back: for all jails together, across restarts, and never more than its sets have room for."""

from __future__ import annotations

import asyncio

from sipguard.daemon import held_back
from sipguard.daemon.held_back import HeldBack
from sipguard.errors import FirewallError
from sipguard.model import Entry
from sipguard.wire_model import Meter

NOW = 1_000_000.0
ONE, PHONE, NETWORK = "192.0.2.66", "2001:db8:1:2::20", "2001:db8:1:2::/64"


class Kernel:
    """Stands for what the firewall does; refuses while `refuses` is set."""

    can_meter = True

    def __init__(self):
        self.held = set()
        self.refuses = False

    async def meter(self, orders):
        """Hold back."""
        if self.refuses:
            raise FirewallError("the table is gone")
        self.held |= {order.address for order in orders}

    async def unmeter(self, addresses):
        """Let through."""
        if self.refuses:
            raise FirewallError("the table is busy")
        self.held -= set(addresses)


def run(*steps):
    """Do these with a new one, a moment apart; gives the kernel's addresses and those that were released."""

    async def through():
        kernel, released = Kernel(), []
        one = HeldBack(kernel, released=released.append, clock=lambda: NOW)
        for step in steps:
            step(one, kernel)
            for _ in range(5):
                await asyncio.sleep(0)
        one.stop()
        return kernel.held, released

    return asyncio.run(through())


def order(address, seconds=600.0):
    """An order."""
    return Meter(address, NOW + seconds, 2)


def test_a_login_lifts_its_address_and_network():
    """An address that nobody holds back costs no call."""
    orders = [lambda one, _: (one.order(order(NETWORK)), one.order(order(ONE)))]
    assert run(*orders, lambda one, _: one.lift("2001:db8:1:3::20")) == ({NETWORK, ONE}, [])
    assert run(*orders, lambda one, _: one.lift(PHONE)) == ({ONE}, [NETWORK])
    assert run(*orders, lambda one, _: one.lift(ONE)) == ({NETWORK}, [ONE])


def test_an_earlier_run():
    """Whom it has left held back a login lifts as well; who is free again by now needs none."""

    def left(one, kernel):
        kernel.held = {ONE, NETWORK}
        kernel.can_meter = True
        one.adopt([Entry(ONE, "", NOW + 60), Entry(NETWORK, "", NOW - 1)])

    assert run(left, lambda one, _: (one.lift(ONE), one.lift(PHONE))) == ({NETWORK}, [ONE])


def test_no_more_than_there_is_room_for(monkeypatch):
    """Forged packets name any number of addresses: the first go, and are counted anew. A set that is full would take nobody."""
    monkeypatch.setattr(held_back, "MOST", 100)
    held, released = run(lambda one, _: [one.order(order(f"192.0.2.{number}")) for number in range(150)])
    assert len(held) == 100
    assert released == [f"192.0.2.{number}" for number in range(50)]


def test_the_kernel_refuses():
    """Who is not held back is not thought to be: his next guess asks again."""

    def refuse(one, kernel):
        kernel.refuses = True
        one.order(order(ONE))

    assert run(refuse) == (set(), [ONE])

    def refuse_to_lift(one, kernel):
        kernel.refuses = True
        one.lift(ONE)

    def lift(one, kernel):
        kernel.refuses = False
        one.lift(ONE)

    ordered = [lambda one, _: one.order(order(ONE)), refuse_to_lift]
    assert run(*ordered) == ({ONE}, [ONE])
    assert run(*ordered, lift) == (set(), [ONE, ONE])


def test_what_comes_at_once_counts_as_it_was_last():
    """A login and a guess in one moment, in either order."""
    assert run(lambda one, _: (one.order(order(ONE)), one.lift(ONE))) == (set(), [ONE])
    assert run(lambda one, _: (one.order(order(ONE)), one.lift(ONE), one.order(order(ONE)))) == ({ONE}, [ONE])


def test_the_clock_is_set():
    """What lasts, lasts as long as before."""
    steps = [lambda one, _: one.order(order(ONE)), lambda one, _: one.shift(-NOW), lambda one, _: one.lift(ONE)]
    assert run(*steps) == ({ONE}, [])
