"""For HEP without `[wire]`: which listening sockets of this machine's SIP servers have sent copies, and which never have.

A server may send copies of one profile and not of another. Packets to the other are never seen, so a line that may be about them
cannot be contradicted.
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
"""Seconds between two searches for sockets on which SIP servers listen."""
_ANY = {"0.0.0.0": False, "::": True}  # noqa: S104 - as sockets are bound, not where we listen
"""Wildcard address of a socket → whether it accepts IPv6."""


class CopiedPlaces:
    """The places (address, port) at which SIP servers listen, and those of which copies have come."""

    def __init__(self) -> None:
        self._bound: tuple[Bound, ...] = ()
        self._ports: frozenset[int] = frozenset()
        self._seen: set[tuple[str, int]] = set()
        self._looked = -LOOK

    async def look(self) -> None:
        """Search for listening sockets every `LOOK` seconds; to be called more often than that."""
        if time.monotonic() >= self._looked + LOOK:
            self._looked = time.monotonic()
            self.listen_at((await asyncio.to_thread(find)).bound)

    def listen_at(self, bound: tuple[Bound, ...]) -> None:
        """Note where SIP servers listen now, and forget ports that have been closed."""
        self._bound = bound
        self._ports = frozenset(one.port for one in bound)
        self._seen = {place for place in self._seen if place[1] in self._ports}

    def saw(self, packets: Iterable[Packet], own: Container[str]) -> None:
        """Note the places of copied packets; `own` are the machine's addresses."""
        for packet in packets:
            for place in (packet.source, packet.source_port), (packet.destination, packet.destination_port):
                if place[1] in self._ports and place[0] in own:
                    self._seen.add(place)

    def silent(self, address: str) -> str:
        """Why packets of this address may have gone unseen; "" if copies have come of every place that it can reach."""
        six = ":" in address
        for one in self._bound:
            if one.address in _ANY:
                # On Linux a socket bound to `::` accepts IPv4 as well.
                if (six and not _ANY[one.address]) or any(
                    port == one.port and (":" in where) == six for where, port in self._seen
                ):
                    continue
            elif (":" in one.address) != six or (one.address, one.port) in self._seen:
                continue
            return f"no copy has come from {one.server} at port {one.port}{' over IPv6' if six else ''}"
        return ""
