"""The interface between a node of the fleet and its own daemon."""

from __future__ import annotations

from collections.abc import Collection, Iterable
from typing import Protocol

from sipguard.fleet.roster import FleetChange
from sipguard.model import Ban


class Local(Protocol):
    """What a node needs of the daemon."""

    def bans(self, network: str) -> Collection[Ban]:
        """The live bans of exactly this network."""

    def networks(self) -> Iterable[str]:
        """Every network that is banned."""

    def is_complete(self) -> bool:
        """Whether the bans of earlier runs are known."""

    def changed(self, changes: Iterable[FleetChange]) -> None:
        """Called when bans of other nodes begin or end. Times are by Redis's clock."""

    def release(self, network: str) -> None:
        """Unban a network because a trusted operator on another node did."""

    def caught_up(self) -> None:
        """Called when every other node has been read once."""

    def own_addresses(self) -> Iterable[str]:
        """This machine's addresses."""
