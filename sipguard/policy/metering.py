"""The law of the meter: whoever guesses unproven gets no more guesses than without the wire, and is not banned.

Over UDP nothing tells a guesser on invented nonces from a stranger in whose name he writes. So the kernel lets only a few further
SIP requests of that address through, until `bantime` is over: as many as make `maxretry` guesses within `findtime` together with
those before. A proven login lifts it, and the ports from which an address has logged in within a day pass freely: a forged flood
must not silence a phone.
"""

from __future__ import annotations

from collections import OrderedDict
from typing import TYPE_CHECKING

from sipguard.policy.logins import KEPT
from sipguard.policy.window import Window
from sipguard.wire_model import Meter

if TYPE_CHECKING:
    from sipguard.model import Jail

_ADDRESSES = 10_000
_LOGIN = 2
"""Requests that a login takes, the challenged one and the one with credentials: whom others have slandered can show who he is."""
_PORTS = 32
"""Ports of one address that pass freely: the phones of an office behind NAT have more, and the youngest count."""
_LONGEST = 86_400.0
"""Seconds: who is banned for ever is metered for a day, and then again."""


class Metering:
    """The unproven failures of one jail. Times are POSIX seconds."""

    def __init__(self, jail: Jail) -> None:
        self._window = Window(jail.maxretry, jail.findtime)
        self.limit(jail)
        self._until: OrderedDict[str, float] = OrderedDict()
        self._known: OrderedDict[str, dict[int, float]] = OrderedDict()

    def limit(self, jail: Jail) -> None:
        """Run by another definition of the jail."""
        self._window.limit(jail.maxretry, jail.findtime)
        self._bantime = min(jail.bantime, _LONGEST)
        self._left = min(_LOGIN, self._window.maxretry // 2)

    def unproven(self, address: str, user: str, time: float, now: float) -> Meter | None:
        """Count a failure that nothing proves; the order that it completes."""
        left = self._count(address, user, time)
        if left > self._left or self._until.get(address, 0.0) > now:
            return None
        self._until[address] = until = now + self._bantime
        self._until.move_to_end(address)
        if len(self._until) > _ADDRESSES:
            self._until.popitem(last=False)
        return Meter(address, until, max(1, left), self.ports(address, now))

    def proven(self, address: str, user: str, time: float) -> None:
        """Count a proven failure: who fails both ways has no more guesses for it. Not of an address with logins: see `Judge`."""
        if not self.ports(address, time):
            self._count(address, user, time)

    def _count(self, address: str, user: str, time: float) -> int:
        """Count a failure; how many are left to this address, beside those that were counted."""
        self._window.add(address, time, user=user)
        return self._window.maxretry - self._window.count(address, time)

    def ports(self, address: str, now: float) -> tuple[int, ...]:
        """From where this address has logged in within a day, youngest first."""
        known = self._known.get(address, {})
        return tuple(port for port, time in reversed(known.items()) if now - time < KEPT)

    def login(self, address: str, port: int, user: str, time: float) -> bool:
        """A proven login; whether the address is to be let through again.

        Guesses at other users still count, so that who has an account cannot lift the meter to go on guessing.
        """
        known = self._known.setdefault(address, {})
        known.pop(port, None)
        known[port] = time
        if len(known) > _PORTS:
            del known[next(iter(known))]
        self._known.move_to_end(address)
        if len(self._known) > _ADDRESSES:
            self._known.popitem(last=False)
        self._window.forgive(address, user, time)
        return self._until.pop(address, 0.0) > time

    def metered(self, now: float) -> int:
        """How many addresses are metered."""
        return sum(until > now for until in self._until.values())

    def prune(self, now: float) -> None:
        """Forget what no longer matters."""
        self._window.prune(now)
        for address in [one for one, until in self._until.items() if until <= now]:
            del self._until[address]

    def shift(self, seconds: float) -> None:
        """The clock was set."""
        self._window.shift(seconds)
        for address in self._until:
            self._until[address] += seconds
        for known in self._known.values():
            for port in known:
                known[port] += seconds
