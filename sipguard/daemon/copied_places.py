"""Where HEP alone is received: which of this machine's SIP servers' places have sent copies, and which never did.

A server may copy one of its profiles and not another. What reaches the other is never seen, so nothing can be held against lines
that may be about it.
"""

from __future__ import annotations

import asyncio
import time
from typing import TYPE_CHECKING

from sipguard.sources.packets.listening import Bound, find

if TYPE_CHECKING:
    from collections.abc import Container, Iterable

    from sipguard.wire_model import Packet

LOOK = 30.0
"""Seconds between two looks for places where SIP servers listen."""
_ANY = {"0.0.0.0": False, "::": True}  # noqa: S104 - as sockets are bound, not where we listen
"""All of the machine's addresses, and whether those of IPv6."""


class CopiedPlaces:
    """Addresses and ports at which SIP servers listen, and those of them that a copy has come from."""

    def __init__(self) -> None:
        self._bound: tuple[Bound, ...] = ()
        self._ports: frozenset[int] = frozenset()
        self._seen: set[tuple[str, int]] = set()
        self._looked = -LOOK

    async def look(self) -> None:
        """What is to be looked at every few seconds."""
        if time.monotonic() >= self._looked + LOOK:
            self._looked = time.monotonic()
            self.listen_at((await asyncio.to_thread(find)).bound)

    def listen_at(self, bound: tuple[Bound, ...]) -> None:
        """Here SIP servers listen now."""
        self._bound = bound
        self._ports = frozenset(one.port for one in bound)
        self._seen = {place for place in self._seen if place[1] in self._ports}

    def saw(self, packets: Iterable[Packet], own: Container[str]) -> None:
        """These were copied; `own` are the machine's addresses."""
        for packet in packets:
            for place in (packet.source, packet.source_port), (packet.destination, packet.destination_port):
                if place[1] in self._ports and place[0] in own:
                    self._seen.add(place)

    def silent(self, address: str) -> str:
        """Why what this address has sent may have gone unseen; "" where copies have come from all places that it can reach."""
        six = ":" in address
        for one in self._bound:
            if one.address in _ANY:
                # Servers of Linux take IPv4 at `::` as well.
                if (six and not _ANY[one.address]) or any(
                    port == one.port and (":" in where) == six for where, port in self._seen
                ):
                    continue
            elif (":" in one.address) != six or (one.address, one.port) in self._seen:
                continue
            return f"no copy has come from {one.server} at port {one.port}{' over IPv6' if six else ''}"
        return ""
