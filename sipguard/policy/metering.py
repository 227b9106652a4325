"""The law of the meter: whoever guesses unproven gets no more guesses than without the wire, and is not banned.

Over UDP nothing tells a guesser on invented nonces from a stranger in whose name he writes. So the kernel lets only a few
further SIP requests of that address through, until `bantime` is over: those that complete `maxretry` guesses within
`findtime`, the guesses already counted included. A proven login lifts it, and the ports from which an address has logged in
within a day pass freely: a forged flood must not silence a phone.
"""

from __future__ import annotations

import math
from collections import OrderedDict
from typing import TYPE_CHECKING

from sipguard.addresses import embeds_ipv4, network_of
from sipguard.policy.logins import KEPT
from sipguard.policy.window import Window
from sipguard.wire_model import Meter

if TYPE_CHECKING:
    from sipguard.model import Jail

METERED = 64
"""Length of the networks that the kernel meters IPv6 addresses by, where a jail counts them by one as large or larger."""
_ADDRESSES = 10_000
_HELD = 50_000
"""More than are held back at once (`daemon.held_back`)."""
_LOGIN = 2
"""Requests that a login takes, the challenged one and the one with credentials: whom others have slandered can show who he is."""
_FLOWS = 32
"""Ports of one address or IPv6 network that pass freely: the phones of an office have more, and the youngest count."""
_NOTED_EVERY = 3600.0
"""Seconds within which further logins of a flow are not stored: it is forgotten that much earlier after a restart."""
_LONGEST = 86_400.0
"""Seconds: who is banned for ever is metered for a day, and then again."""


class Metering:
    """The unproven failures of one jail. Times are POSIX seconds."""

    def __init__(self, jail: Jail) -> None:
        self._window = Window(jail.maxretry, jail.findtime)
        self._doubtful = Window(1, jail.findtime)
        """Who has failed unproven; all else ends in a ban by itself."""
        self.limit(jail)
        self._orders: OrderedDict[str, Meter] = OrderedDict()
        """Address → the last order to meter it."""
        self._known: OrderedDict[str, dict[tuple[str, int], float]] = OrderedDict()
        """IPv4 address or IPv6 network → addresses and ports of its logins, and their times."""

    def limit(self, jail: Jail) -> None:
        """Run by another definition of the jail."""
        self._window.limit(jail.maxretry, jail.findtime)
        self._doubtful.limit(1, jail.findtime)
        self._bantime = min(jail.bantime, _LONGEST)
        self._left = min(_LOGIN, self._window.maxretry // 2)

    def unproven(self, address: str, user: str, time: float, now: float) -> Meter | None:
        """Count an unproven failure. Returns the order to meter its address once too few guesses are left, else None."""
        self._doubtful.add(address, time, user=user)
        return self._order(address, self._count(address, user, time), now)

    def counted(self, address: str, user: str, time: float, now: float) -> Meter | None:
        """As `unproven`, of a failure that counts towards a ban: who fails both ways has no more guesses for it.

        Not of an address with logins: see `Judge`.
        """
        if self.flows(address, time):
            return None
        left = self._count(address, user, time)
        return self._order(address, left, now) if self._doubtful.count(address, now) else None

    def _count(self, address: str, user: str, time: float) -> int:
        """Count a failure. Returns how many guesses the address has left."""
        self._window.add(address, time, user=user)
        return self._window.maxretry - self._window.count(address, time)

    def _order(self, address: str, left: int, now: float) -> Meter | None:
        """Once few guesses are left, and again when none is: other jails' orders may have let more through, or other ways."""
        before = self._orders.get(address) if self.holds(address, now) else None
        if left > self._left or (before is not None and (left > 0 or not before.requests)):
            return None
        until = before.until if before is not None else now + self._bantime
        self._orders[address] = order = Meter(address, until, max(0, left), self.flows(address, now))
        self._orders.move_to_end(address)
        if len(self._orders) > _HELD:
            self._orders.popitem(last=False)
        return order

    def holds(self, address: str, now: float) -> bool:
        """Whether it has been ordered to meter this address."""
        order = self._orders.get(address)
        return order is not None and order.until > now

    def flows(self, address: str, now: float) -> tuple[tuple[str, int], ...]:
        """From where this address, or whoever in this network, has logged in within a day, youngest first."""
        known = self._known.get(places(address)[-1], {})
        return tuple(
            flow
            for flow, time in reversed(known.items())
            if now - time < KEPT and address in (flow[0], *places(flow[0]))
        )

    def login(self, address: str, port: int, user: str, time: float) -> bool:
        """A proven login: the address, and its network, are to be let through again. Whether the flow is to be remembered.

        Guesses at other users still count, so that who has an account cannot lift the meter to go on guessing.
        """
        for one in places(address):
            self._window.forgive(one, user, time)
            self._doubtful.forgive(one, user, time)
            self.release(one)
        return self.know(address, port, time)

    def know(self, address: str, port: int, time: float) -> bool:
        """From here somebody has logged in; whether that was not so within an hour before."""
        place = places(address)[-1]
        known = self._known.setdefault(place, {})
        before = known.pop((address, port), -math.inf)
        known[address, port] = time
        if len(known) > _FLOWS:
            del known[next(iter(known))]
        self._known.move_to_end(place)
        if len(self._known) > _ADDRESSES:
            self._known.popitem(last=False)
        return time - before > _NOTED_EVERY

    def release(self, address: str) -> None:
        """The kernel no longer meters this address: its next unproven failure may order that again."""
        self._orders.pop(address, None)

    def metered(self, now: float) -> int:
        """How many addresses are metered."""
        return sum(order.until > now for order in self._orders.values())

    def prune(self, now: float) -> None:
        """Forget what no longer matters."""
        self._window.prune(now)
        self._doubtful.prune(now)
        for address in [one for one, order in self._orders.items() if order.until <= now]:
            del self._orders[address]

    def shift(self, seconds: float) -> None:
        """The clock was set."""
        self._window.shift(seconds)
        self._doubtful.shift(seconds)
        for address, order in self._orders.items():
            self._orders[address] = order._replace(until=order.until + seconds)
        for known in self._known.values():
            for flow in known:
                known[flow] += seconds


def places(address: str) -> tuple[str, ...]:
    """What the kernel may meter for an address: the address itself and, last, its IPv6 network."""
    if ":" not in address or "/" in address or embeds_ipv4(address):
        return (address,)
    return address, network_of(address, METERED)
