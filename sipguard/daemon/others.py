"""Others' bans: the fleet and CrowdSec, each made when it is configured first. A daemon without loads none of it."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import Iterable
from typing import TYPE_CHECKING, Any

from sipguard.config.settings import Settings
from sipguard.daemon.firewall_worker import FirewallWorker
from sipguard.daemon.surroundings import MARK, Surroundings
from sipguard.errors import FirewallError, FleetError
from sipguard.model import Ban

if TYPE_CHECKING:
    from sipguard.daemon.crowdsec_runner import CrowdsecRunner
    from sipguard.daemon.fleet_runner import FleetRunner


class Others:
    """Every method may be called whether there are others or not."""

    def __init__(self, surroundings: Surroundings) -> None:
        self._surroundings = surroundings
        self.fleet: FleetRunner | None = None
        self.crowdsec: CrowdsecRunner | None = None
        self.known = asyncio.Event()
        """Whether a configuration has said which others there are."""

    @property
    def _runners(self) -> list[FleetRunner | CrowdsecRunner]:
        return [one for one in (self.fleet, self.crowdsec) if one is not None]

    async def start(self, settings: Settings) -> None:
        """Run by these settings; what they leave as it is goes on."""
        if settings.fleet and not self.fleet:
            from sipguard.daemon.fleet_runner import FleetRunner  # noqa: PLC0415 - only where there is a fleet

            self.fleet = FleetRunner(self._surroundings)
        if settings.crowdsec and not self.crowdsec:
            from sipguard.daemon.crowdsec_runner import CrowdsecRunner  # noqa: PLC0415 - only where there is CrowdSec

            self.crowdsec = CrowdsecRunner(self._surroundings)
        for one in self._runners:
            self._surroundings.bans.moved = self.moved
            await one.start(settings)
        for name, wanted in (("fleet", settings.fleet), ("crowdsec", settings.crowdsec)):
            if wanted is None:
                await drop_sets(self._surroundings.bans.firewall_worker, name)
        self.known.set()

    async def stop(self) -> None:
        """Hear and tell nothing more; what the firewall has stays."""
        for one in self._runners:
            await one.stop()

    async def check(self) -> None:
        """For every look around."""
        for one in self._runners:
            await one.check()

    async def reapply(self) -> None:
        """The firewall was flushed: give it the others' bans again."""
        for one in self._runners:
            await one.reapply()

    def moved(self, bans: Iterable[Ban]) -> None:
        """Bans of this machine have begun, ended, or got another end."""
        bans = list(bans)
        for one in self._runners:
            one.moved(bans)

    def registered(self, addresses: Iterable[str]) -> None:
        """Somebody has logged in from these addresses: no ban of others rejects them."""
        for one in self._runners:
            for address in addresses:
                one.registered(address)

    def shift(self, seconds: float) -> None:
        """The clock was set."""
        for one in self._runners:
            one.shift(seconds)

    # What operators ask.

    def status(self) -> dict[str, Any] | None:
        """What `sipguard fleet` shows; None without others."""
        fleet, crowdsec = (one.status() if one else None for one in (self.fleet, self.crowdsec))
        return {"fleet": fleet, "crowdsec": crowdsec} if fleet or crowdsec else None

    def problems(self) -> dict[str, str]:
        """Source → why not all of its bans are rejected here, or this machine's are not told to it."""
        return {one.name: problem for one in self._runners if (problem := one.problem())}

    def claims(self, address: str) -> list[dict[str, Any]]:
        """Who bans an address, and whether it is rejected here because of that."""
        return [claim for one in self._runners for claim in one.claims(address)]

    def pardon(self, address: str) -> list[str]:
        """Let an address through on every node that takes that from this one; gives the networks. Raises `FleetError`."""
        return self._the_fleet().pardon(address)

    def accept(self, name: str) -> None:
        """Take what a held node publishes. Raises `FleetError`."""
        self._the_fleet().accept(name)

    def _the_fleet(self) -> FleetRunner:
        if self.fleet is None:
            raise FleetError("there is no fleet; write [fleet] url = … to sipguard.toml")
        return self.fleet


async def drop_sets(worker: FirewallWorker, name: str) -> None:
    """Remove the list of an earlier run, whose configuration had one."""
    with contextlib.suppress(FirewallError):  # told by whoever opened the firewall; asked again at the next start
        for feed in await worker.call(worker.firewall.feeds.names):
            if feed.startswith(f"{name}{MARK}"):
                await worker.call(worker.firewall.feeds.drop, feed)
