"""Whom the kernel holds back, for all jails together, and what it is still to be told of them."""

from __future__ import annotations

import asyncio
import logging
import math
from collections import OrderedDict
from typing import TYPE_CHECKING

from sipguard.errors import FirewallError
from sipguard.policy.metering import places

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable

    from sipguard.daemon.packets import PacketWatch
    from sipguard.model import Clock, Entry
    from sipguard.wire_model import Meter

log = logging.getLogger("fail2ban.server")

MOST = 20_000
"""Addresses and networks held back at once: the kernel's sets have room for more. Those longest known go first."""


class HeldBack:
    """Gives orders to the kernel, in one go what comes at once. `released` is told whom it holds back no more."""

    def __init__(self, packets: PacketWatch, *, released: Callable[[str], None], clock: Clock) -> None:
        self._packets = packets
        self._released = released
        self._clock = clock
        self._until: OrderedDict[str, float] = OrderedDict()
        self._orders: list[Meter] = []
        self._lifted: set[str] = set()
        self._sending: asyncio.Task[None] | None = None
        packets.found_held = self.adopt

    def adopt(self, entries: Iterable[Entry]) -> None:
        """An earlier run has left these held back."""
        for entry in entries:
            self._note(entry.address, entry.until)

    def order(self, order: Meter) -> bool:
        """Have the kernel hold an address back; whether it can."""
        if self._packets.can_meter:
            self._note(order.address, order.until)
            self._orders.append(order)
            self._send()
        return self._packets.can_meter

    def holds(self, address: str) -> bool:
        """Whether the kernel has been told to hold this address back, or its network."""
        return any(self._until.get(one, 0.0) > self._clock() for one in places(address))

    def lift(self, address: str) -> None:
        """Somebody has logged in from there: it is let through, and so is its network."""
        for one in places(address):
            if self._until.pop(one, 0.0) > self._clock():
                self._let_go(one)

    def _note(self, address: str, until: float) -> None:
        self._until[address] = max(until, self._until.get(address, 0.0))
        self._until.move_to_end(address)
        if len(self._until) > MOST:
            oldest, _ = self._until.popitem(last=False)
            self._let_go(oldest)

    def _let_go(self, address: str) -> None:
        self._released(address)
        if self._packets.can_meter:
            self._lifted.add(address)
            self._send()

    def _send(self) -> None:
        if self._sending is None or self._sending.done():
            self._sending = asyncio.get_running_loop().create_task(self._send_all())

    async def _send_all(self) -> None:
        """What was ordered, in one go; what is ordered meanwhile as well."""
        while self._orders or self._lifted:
            # What was ordered and lifted meanwhile is as it was last.
            orders, self._orders = [one for one in self._orders if one.address in self._until], []
            lifted, self._lifted = self._lifted - self._until.keys(), set()
            try:
                if lifted:
                    await self._packets.unmeter(sorted(lifted))
                    lifted = set()
                if orders:
                    await self._packets.meter(orders)
            except FirewallError as error:
                log.error("[wire] nobody is held back: %s", error)
                self._until |= dict.fromkeys(lifted - self._until.keys(), math.inf)  # the next login asks for it again
                for order in orders:  # the next guess asks for it again; it may come with the table
                    self._released(order.address)

    def shift(self, seconds: float) -> None:
        """The clock was set."""
        for address in self._until:
            self._until[address] += seconds

    def stop(self) -> None:
        """Tell the kernel nothing more: what it holds back goes on."""
        if self._sending is not None:
            self._sending.cancel()
