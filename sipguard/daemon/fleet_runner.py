"""Joins the fleet with the bans, the firewall's thread and those who are never rejected. A daemon without loads none of it."""

from __future__ import annotations

import importlib.util
import logging
from collections.abc import Iterable
from typing import TYPE_CHECKING, Any

from sipguard.config.fleet import silent_fleet
from sipguard.config.settings import Settings
from sipguard.daemon.foreign_runner import ForeignRunner
from sipguard.errors import ConfigError, FleetError, pip_install
from sipguard.model import Ban, Fleet
from sipguard.networks import admit
from sipguard.policy.ignore import own_addresses

if TYPE_CHECKING:
    from sipguard.fleet.node import Node

log = logging.getLogger("sipguard.fleet")


def need_redis(settings: Settings) -> None:
    """Raise `ConfigError` if there is a fleet and the library for it is not there."""
    if settings.fleet and importlib.util.find_spec("redis") is None:
        raise ConfigError(f"[fleet] needs the library redis: {pip_install('fleet')}", str(settings.config_file))


class FleetRunner(ForeignRunner):
    """The fleet of the daemon."""

    name = "fleet"

    _fleet: Fleet | None = None
    _node: Node | None = None

    async def start(self, settings: Settings) -> None:
        """Run by these settings; a fleet that they leave as it is goes on."""
        if settings.fleet == self._fleet and self._node:
            await self.check()
            return
        await self.stop()
        self._fleet = settings.fleet
        if settings.fleet is None:
            return
        try:
            need_redis(settings)
        except ConfigError as error:
            log.error("%s; nothing is shared", error)
            return
        if settings.fleet.url.startswith("rediss:"):
            from sipguard.daemon import asyncio_tls  # noqa: PLC0415 - loads OpenSSL

            asyncio_tls.restore()
        from sipguard.fleet.node import Node  # noqa: PLC0415 - only where there is a fleet

        self._node = Node(settings.fleet, self, clock=self._clock)
        self._begin(settings.fleet.verdict, self._node.run())

    async def stop(self) -> None:
        """Hear and tell nothing more; what the firewall has stays."""
        if self._node:
            self._node.ending = True
        await self._finish()
        self._node = self._fleet = None

    def moved(self, bans: Iterable[Ban]) -> None:
        """Bans of this machine have begun, ended, or got another end."""
        if self._node:
            self._node.moved(ban.address for ban in bans)

    def shift(self, seconds: float) -> None:
        """The clock was set: Redis's was not."""
        super().shift(seconds)
        if self._node:
            self._node.shift(seconds)

    def connection_problem(self) -> str:
        """Why Redis cannot be used, or takes nothing."""
        if not self._node:
            return ""
        untold = f"it takes nothing: {self._node.untold}" if self._node.untold else ""
        return f"not connected: {self._node.problem}" if self._node.problem else untold

    @property
    def offset(self) -> float:
        """Redis's clock less this machine's, in seconds."""
        return self._node.link.offset if self._node else 0.0

    def ends(self) -> dict[str, float]:
        """Network → until when other nodes ban it."""
        return self._node.roster.ends if self._node else {}

    def around(self, address: str) -> list[str]:
        """The networks that may hold an address."""
        return self._node.roster.around(address) if self._node else []

    def own_addresses(self) -> Iterable[str]:
        """This machine's addresses, those alone that others can meet."""
        return [address for address in own_addresses() if _is_public(address)]

    def release(self, network: str) -> None:
        """An operator elsewhere lets a network through, and this node obeys."""
        bans = self._bans.live.of_network(network)
        self._bans.release(bans)
        self._store.touched()

    # What operators ask.

    def status(self) -> dict[str, Any] | None:
        """What `sipguard fleet` shows; None without a fleet."""
        if not self._node or not self._set:
            return None
        from sipguard.fleet import report  # noqa: PLC0415 - as above

        told = report.status(self._node)
        hints = silent_fleet(self._fleet, (runner.jail for runner in self._runners.values()))
        hint = hints[0] if hints else None
        return {**told, "firewall": self._set.problem, "ignored": dict(self._refused), "hint": hint}

    def claims(self, address: str) -> list[dict[str, Any]]:
        """The nodes that ban an address, and whether it is rejected here because of that."""
        if not self._node:
            return []
        from sipguard.fleet import report  # noqa: PLC0415 - as above

        now = self._clock()
        told = []
        for one in report.claims(self._node, address):
            why = self._friends.reason(one.network, now) or ""
            rejected = not why and one.network in self._node.roster.ends
            told.append({**one._asdict(), "rejected": rejected, "because": why})
        return told

    def pardon(self, address: str) -> list[str]:
        """Let an address through on every node that takes that from this one; gives the networks. Raises `FleetError`."""
        if not self._node:
            raise FleetError("there is no fleet; write [fleet] url = … to sipguard.toml")
        networks = self._node.roster.around(address)
        for network in networks:
            if not self._node.pardon(network):
                raise FleetError("too many unbans wait for Redis; see `sipguard fleet`")
        return networks

    def accept(self, name: str) -> None:
        """Take what a held node publishes. Raises `FleetError`."""
        if not self._node or not self._node.accept(name):
            raise FleetError(f"no node named {name}; see `sipguard fleet`")

    def _protected(self) -> Iterable[str]:
        return {*super()._protected(), *(self._node.roster.own_addresses() if self._node else ())}


def _is_public(address: str) -> bool:
    try:
        admit(address)
    except ValueError:
        return False
    return True
