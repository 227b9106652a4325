"""What a node of the fleet asks of its own daemon, and tells it."""

from __future__ import annotations

from collections.abc import Collection, Iterable
from typing import Protocol

from sipguard.fleet.roster import FleetChange
from sipguard.model import Ban


class Local(Protocol):
    """The daemon, as the fleet sees it."""

    def bans(self, network: str) -> Collection[Ban]:
        """The live bans of exactly this network."""

    def networks(self) -> Iterable[str]:
        """Every network that is banned."""

    def is_complete(self) -> bool:
        """Whether the bans of earlier runs are known."""

    def changed(self, changes: Iterable[FleetChange]) -> None:
        """Others' bans have begun or ended. Times are Redis's."""

    def release(self, network: str) -> None:
        """Let a network through: an operator elsewhere has said so, whom this node trusts in that."""

    def caught_up(self) -> None:
        """Every other node was read once."""

    def own_addresses(self) -> Iterable[str]:
        """This machine's addresses."""
