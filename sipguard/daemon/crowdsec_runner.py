"""Joins CrowdSec's local API with the bans, the firewall and those who are never rejected. A daemon without loads none of it."""

from __future__ import annotations

from collections.abc import Iterable
from typing import TYPE_CHECKING, Any

from sipguard.config.settings import Settings
from sipguard.daemon.foreign_runner import ForeignRunner
from sipguard.model import Ban, Crowdsec

if TYPE_CHECKING:
    from sipguard.fleet.crowdsec import CrowdsecNode

MOST_EVENTS = 10
"""Attempts that are told of with a ban."""


class CrowdsecRunner(ForeignRunner):
    """CrowdSec beside the daemon."""

    name = "crowdsec"
    offset = 0.0
    _settings: Crowdsec | None = None
    _node: CrowdsecNode | None = None

    async def start(self, settings: Settings) -> None:
        """Run by these settings; what they leave as it is goes on."""
        if settings.crowdsec == self._settings and self._node:
            await self.check()
            return
        await self.stop()
        self._settings = settings.crowdsec
        if settings.crowdsec is None:
            return
        from sipguard.fleet.crowdsec import CrowdsecNode  # noqa: PLC0415 - only where there is CrowdSec

        self._node = CrowdsecNode(settings.crowdsec, self, clock=self._clock)
        self._begin(settings.crowdsec.verdict, self._node.run())

    async def stop(self) -> None:
        """Hear and tell nothing more; what the firewall has stays."""
        await self._finish()
        self._node = self._settings = None

    def moved(self, bans: Iterable[Ban]) -> None:
        """Bans of this machine have begun, ended, or got another end."""
        if self._node:
            self._node.moved(ban.address for ban in bans)

    def connection_problem(self) -> str:
        """Why the API cannot be used."""
        return f"not connected: {self._node.problem}" if self._node and self._node.problem else ""

    def ends(self) -> dict[str, float]:
        """Network → until when CrowdSec bans it."""
        return self._node.decisions.ends if self._node else {}

    def around(self, address: str) -> list[str]:
        """The networks of decisions that hold an address."""
        return self._node.decisions.around(address) if self._node else []

    def attempts(self, ban: Ban) -> list[tuple[float, str]]:
        """Time and user of the latest attempts that led to a ban."""
        told, _ = self._store.story(ban.address)
        return [(one.time, one.user or "") for one in told if one.jail == ban.jail][-MOST_EVENTS:]

    def status(self) -> dict[str, Any] | None:
        """What `sipguard fleet` shows; None without CrowdSec."""
        if not self._node or not self._set:
            return None
        return {**self._node.status(), "firewall": self._set.problem, "ignored": dict(self._refused)}

    def claims(self, address: str) -> list[dict[str, Any]]:
        """The decisions about an address, in the form of other nodes' claims."""
        if not self._node:
            return []
        now, decisions = self._clock(), self._node.decisions
        return [
            {
                "node": "crowdsec",
                "network": network,
                "until": decisions.ends[network],
                "evidence": "decision",
                "jail": "",
                "reason": decisions.why(network),
                "rejected": not (why := self._friends.reason(network, now)),
                "because": why or "",
            }
            for network in self.around(address)
        ]
