"""Notices a ban that does not work: its address is heard though the kernel has it. Says why, and mends what is ours.

That a ban is renewed at such a line mends what others have taken away, and ends the address's flows in connection tracking.
What is left is a way past the rule (`sipguard.firewall.bypass`).
"""

from __future__ import annotations

import asyncio
import logging
import time
from collections import Counter
from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING, NamedTuple

from sipguard.errors import FirewallError
from sipguard.firewall.bypass import CAUSES, Bypass, BypassSearch
from sipguard.firewall.cover import packets_of
from sipguard.firewall.flows import Flows

if TYPE_CHECKING:
    from sipguard.daemon.firewall_worker import FirewallWorker
    from sipguard.model import Ban, Clock, Rule

log = logging.getLogger("fail2ban.firewall")

EVERY = 3.0
"""Seconds between two looks: to read one element's counter the kernel gives its whole set."""
SHARE = 0.05
"""Of its time that the firewall's thread may look: where a look takes long, there are fewer."""
AT_ONCE = 20
"""Addresses that one look is about."""
KEPT = 600.0
"""Seconds without such a line after which an address counts as rejected again."""
MENDED = 60.0
"""The same where sipguard has mended the cause."""
MOST = 1000
"""Addresses that are remembered."""


class _Noticed(NamedTuple):
    at: float
    rule: Rule | None
    bypass: Bypass


class Enforcement:
    """The addresses whose bans do not work. `rule` gives the rule of a jail, `live` the live ban of an address in a jail."""

    def __init__(
        self,
        worker: FirewallWorker,
        rule: Callable[[str], Rule | None],
        live: Callable[[str, str], Ban | None],
        *,
        clock: Clock,
    ) -> None:
        self._worker = worker
        self._rule = rule
        self._live = live
        self._clock = clock
        self._flows = Flows()
        self._seen: dict[tuple[str, str], _Noticed] = {}
        self._waiting: dict[tuple[str, str], Ban] = {}
        self._next = 0.0
        self._timer: asyncio.TimerHandle | None = None
        self._tasks: set[asyncio.Task[None]] = set()

    def passed(self, ban: Ban) -> None:
        """A line of a banned address came when none should any more. To be called before its ban is renewed."""
        if not self._worker.firewall.in_kernel or len(self._waiting) >= AT_ONCE:
            return
        self._waiting[ban.jail, ban.address] = ban
        if self._timer:
            return
        pause = self._next - time.monotonic()
        if pause <= 0:
            self._start()
        else:
            self._timer = asyncio.get_running_loop().call_later(pause, self._start)

    def _start(self) -> None:
        """Ask at once: what is ordered after this, and ends flows, comes after it in the firewall's thread."""
        self._timer = None
        self._next = time.monotonic() + EVERY
        bans = [ban for ban in self._waiting.values() if self._rule(ban.jail)]
        self._waiting.clear()
        asked = self._worker.call(self._look, bans)
        task = asyncio.get_running_loop().create_task(self._tell(asked))
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    def _look(self, bans: list[Ban]) -> tuple[list[tuple[Ban, Bypass]], float]:
        """In the firewall's thread: what each gets past by, and the seconds that it took. Raises `FirewallError`.

        What tells of all addresses is read once.
        """
        begun = time.monotonic()
        firewall = self._worker.firewall
        count = getattr(firewall, "rejected_by_target", None)
        counts: Mapping[str, int] | None = count() if count else None
        problems = firewall.verify()
        forwards = getattr(firewall, "cover_forwarded", None)
        search = BypassSearch(before_translation=forwards is None, problems=problems)
        found = []
        for ban in bans:
            rule = self._rule(ban.jail)
            packets = None if counts is None else packets_of(ban.address, counts)
            if rule is None or (counts is not None and packets is None):
                continue  # the kernel did not have it: now it has
            bypass = search.look(ban.address, firewall.reach(rule), packets)
            if bypass.cause == "forward" and forwards:
                forwards()
            if bypass.cause == "offload":  # those that it began end with its ban's renewal
                self._flows.end([ban], answered=True)
            found.append((ban, bypass))
        return found, time.monotonic() - begun

    async def _tell(self, asked: asyncio.Future[tuple[list[tuple[Ban, Bypass]], float]]) -> None:
        try:
            found, took = await asked
        except FirewallError:
            return  # told by whoever gives it bans
        self._next = max(self._next, time.monotonic() + took / SHARE - took)
        for ban, bypass in found:
            key = (ban.jail, ban.address)
            before = self._seen.pop(key, None)
            self._seen[key] = _Noticed(self._clock(), self._rule(ban.jail), bypass)
            if len(self._seen) > MOST:
                del self._seen[next(iter(self._seen))]
            if before is None or before.bypass.cause != bypass.cause:
                level = logging.WARNING if bypass.ours else logging.ERROR
                log.log(
                    level, "[%s] the ban of %s does not work (%s): %s", ban.jail, ban.address, bypass.cause, bypass.why
                )
        if any(bypass.cause == "forward" for _, bypass in found):
            await self._worker.open(self._worker.rules)

    def _current(self) -> dict[str, Bypass]:
        """Those whose bans are live, by the rule that was seen to fail: of another nothing is known yet."""
        now = self._clock()
        return {
            address: found.bypass
            for (jail, address), found in self._seen.items()
            if found.at > now - (MENDED if found.bypass.ours else KEPT)
            and found.rule == self._rule(jail)
            and self._live(jail, address)
        }

    def problems(self) -> Mapping[str, str]:
        """Address → why its ban does not work."""
        return {address: bypass.why for address, bypass in self._current().items()}

    def causes(self) -> Mapping[str, int]:
        """Cause → how many addresses get past by it; every cause is named."""
        found = Counter(bypass.cause for bypass in self._current().values())
        return {cause: found[cause] for cause in CAUSES}
