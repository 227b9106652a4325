"""Notices a ban that does not work: lines of its address go on though the kernel has it. Says what the kernel's counter shows.

That a ban is renewed at such a line mends what others have taken away. What is left is a way past the rule.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING

from sipguard.errors import FirewallError

if TYPE_CHECKING:
    from sipguard.daemon.firewall_worker import FirewallWorker
    from sipguard.model import Ban, Clock, Rule

log = logging.getLogger("fail2ban.firewall")

EVERY = 10.0
"""Seconds between two questions to the kernel: to read one element's counter it gives its whole set."""
KEPT = 600.0
"""Seconds without such a line after which an address counts as rejected again."""
MOST = 1000
"""Addresses that are remembered."""


class Enforcement:
    """The addresses whose bans do not work. `rule` gives the rule of a jail."""

    def __init__(self, worker: FirewallWorker, rule: Callable[[str], Rule | None], *, clock: Clock) -> None:
        self._worker = worker
        self._rule = rule
        self._clock = clock
        self._seen: dict[tuple[str, str], tuple[float, str]] = {}
        self._next = 0.0
        self._task: asyncio.Task[None] | None = None

    def passed(self, ban: Ban) -> None:
        """A line of a banned address came when none should any more. To be called before its ban is renewed."""
        firewall, now = self._worker.firewall, self._clock()
        if not (firewall.in_kernel and hasattr(firewall, "rejected")) or 0 <= self._next - now <= EVERY:
            return
        self._next = now + EVERY
        self._task = asyncio.get_running_loop().create_task(self._look(ban))

    async def _look(self, ban: Ban) -> None:
        try:
            packets = await self._worker.call(self._worker.firewall.rejected, ban.address)  # type: ignore[attr-defined]
        except FirewallError:
            return  # told by whoever gives it bans
        if packets is None:
            return  # the kernel did not have it: now it has
        why, key = self._cause(ban, packets), (ban.jail, ban.address)
        news = key not in self._seen
        self._seen.pop(key, None)
        self._seen[key] = self._clock(), why
        if len(self._seen) > MOST:
            del self._seen[next(iter(self._seen))]
        if news:
            log.error("[%s] the ban of %s does not work: %s", ban.jail, ban.address, why)

    def _cause(self, ban: Ban, packets: int) -> str:
        rule = self._rule(ban.jail)
        ports = ", ".join(map(str, rule.ports)) if rule else ""
        other = (
            f"to a port that the jail does not name (it rejects {ports}: try all_ports)"
            if ports
            else "over a flow that is offloaded"
        )
        if not packets:
            return (
                "the server goes on hearing it, and none of its packets has met the rule: they come from another address "
                f"(a proxy or an address translation in front of this machine: ban there), or {other}"
            )
        return f"{packets} of its packets were rejected, and others reach the server: {other}"

    def problems(self) -> Mapping[str, str]:
        """Address → why its ban does not work."""
        oldest = self._clock() - KEPT
        return {address: why for (_, address), (at, why) in self._seen.items() if at > oldest}
