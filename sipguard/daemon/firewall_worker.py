"""The one worker thread that owns the firewall, and the queue before it.

The firewall may block (a child process, the xtables lock), so it runs beside the event loop. Whatever has queued up while it was
busy goes to the kernel in one transaction: a burst costs hardly more than one ban. What the kernel refuses stays queued, and is
tried again with growing pauses. What a set has no room for waits apart, and keeps nothing else waiting; so does a single ban
that the kernel refuses while it takes others. A jail whose rule is refused keeps no other jail from having its own.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
import time
from collections.abc import Callable, Iterable, Sequence
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from typing import Literal, ParamSpec, TypeVar

from sipguard.daemon.ban_ledger import BanLedger, State, shifted
from sipguard.daemon.sole_owner import SoleOwner
from sipguard.errors import FirewallError, FullError
from sipguard.firewall.base import Firewall
from sipguard.firewall.flows import Flows
from sipguard.model import Ban, Rule

log = logging.getLogger("fail2ban.actions")

P = ParamSpec("P")
T = TypeVar("T")
Verb = Literal["ban", "unban"]

FIRST_PAUSE = 0.5
LONGEST_PAUSE = 30.0
"""Seconds between tries when the kernel refuses."""
ROOM = 10.0
"""Seconds between tries of bans that no set had room for."""
REFUSED = 30.0
"""Seconds between tries of bans that the kernel refused one by one."""
SEARCH = 5.0
"""After this many seconds of refusals alone, the firewall counts as broken, rather than single bans as refused."""
BATCH = 20_000
"""Bans in one transaction at most: what a kernel takes in a tenth of a second."""


class FirewallWorker:
    """Orders to the firewall, in the order given. `made` is called in the event loop with bans that the kernel has made."""

    def __init__(
        self,
        firewall: Firewall,
        made: Callable[[Sequence[Ban]], None],
        live: Callable[[], list[Ban]],
        ledger: BanLedger,
    ) -> None:
        """`live` gives the bans that the kernel should have; `ledger` keeps which of them it does not take, and why."""
        self.firewall = firewall
        self.rules: Sequence[Rule] = ()
        """What `open` was last asked to make."""
        self.problem: str | None = None
        """Why the kernel lacks bans or rules; None if it has all of them."""
        self.unruled: dict[str, str] = {}
        """Jail → why the kernel refuses its rule: it can ban nobody."""
        self._ruled: Sequence[Rule] = ()
        """What the kernel made last."""
        self._made = made
        self._flows = Flows()
        self._owner = SoleOwner()
        self._next_open: asyncio.TimerHandle | None = None
        self._live = live
        self.is_open = False
        """Whether the rules are made, as far as is known."""
        self._orders: list[tuple[Verb, list[Ban]]] = []
        """Up to `BATCH` bans of one kind each."""
        self._in_hand = 0
        """How many of them are being carried out."""
        self._ledger = ledger
        self._told_full: set[tuple[str, str]] = set()
        self._next_try: asyncio.TimerHandle | None = None
        self._wake = asyncio.Event()
        self._thread = ThreadPoolExecutor(max_workers=1, thread_name_prefix="firewall")
        self._opened = asyncio.Event()
        """Set when somebody else has opened the firewall while `run` pauses."""
        self.idle = asyncio.Event()
        """Set while nothing is queued."""
        self.idle.set()

    @property
    def queued(self) -> int:
        """Orders that the kernel has not carried out yet."""
        return sum(len(bans) for _, bans in self._orders)

    @property
    def waiting(self) -> int:
        """Bans that no set has room for now."""
        return len(self._ledger.waiting(State.NO_ROOM))

    def order(self, verb: Verb, bans: Sequence[Ban]) -> None:
        if verb == "unban" and self._ledger.waits:
            self._ledger.taken(bans)
        for begin in range(0, len(bans), BATCH):
            part = list(bans[begin : begin + BATCH])
            # What has queued up goes in one go; what is in hand is under way.
            same = len(self._orders) > self._in_hand and self._orders[-1][0] == verb
            if same and len(self._orders[-1][1]) + len(part) <= BATCH:
                self._orders[-1][1].extend(part)
            else:
                self._orders.append((verb, part))
            self.idle.clear()
            self._wake.set()

    def shift(self, seconds: float) -> None:
        """The clock was set: what waits ends as much later or earlier by the clock."""
        self._orders = [(verb, [shifted(ban, seconds) for ban in bans]) for verb, bans in self._orders]

    def call(self, function: Callable[P, T], *args: P.args, **kwargs: P.kwargs) -> asyncio.Future[T]:
        """Run one of the firewall's other methods in its thread. It is queued there when this returns: before later orders.

        Raises `FirewallError` to whoever awaits it.
        """
        work = partial(function, *args, **kwargs)
        must_ask = self.firewall.in_kernel and not self._owner.is_settled
        return asyncio.get_running_loop().run_in_executor(
            self._thread, partial(self._alone, work) if must_ask else work
        )

    def _alone(self, work: Callable[[], T]) -> T:
        """Do it with the right to change the firewall. Raises `FirewallError` while another sipguard has that."""
        self._owner.claim()
        return work()

    async def open(self, rules: Sequence[Rule]) -> bool:
        """Make the jails' rules, and give the firewall every live ban; False when the kernel refuses, for now."""
        self.rules = rules
        return await self._open(self._live())

    async def change(self, rules: Sequence[Rule]) -> bool:
        """Make the rules of other jails than before. What the kernel has stays, and is not given to it again."""
        earlier = {rule.jail for rule in self.rules} if self.is_open else set()
        self.rules = rules
        try:
            lost = bool(await self.call(self.firewall.verify))
        except FirewallError as error:
            self._failed(error)
            return False
        return await self._open([ban for ban in self._live() if lost or ban.jail not in earlier])

    async def _open(self, bans: Iterable[Ban]) -> bool:
        refused = {(ban.jail, ban.address) for ban in self._ledger.waiting(State.REFUSED)}
        bans = [ban for ban in bans if (ban.jail, ban.address) not in refused]
        try:
            if await self._make_rules():
                bans = [ban for ban in self._live() if (ban.jail, ban.address) not in refused]
            try:
                made = await self._try("ban", bans)
            except FirewallError:
                made = await self._isolate("ban", bans)
            self._await_room(bans, made)
        except FirewallError as error:
            self._failed(error)
            return False
        self.is_open = True
        self._opened.set()
        self._works()
        return True

    async def _make_rules(self) -> bool:
        """Make the rules, but for those that the kernel refuses; True when bans may be gone. Raises `FirewallError`."""
        try:
            await self.call(self.firewall.open, self.rules)
        except FirewallError as error:
            if len(self.rules) < 2:
                raise
            await self._leave_out_refused(error)
            return True
        self.unruled, self._ruled = {}, self.rules
        return False

    async def _leave_out_refused(self, error: FirewallError) -> None:
        """Make as many rules as the kernel takes. Raises `FirewallError` if it takes none: then it is not a single rule."""
        good = [rule for rule in self.rules if rule in self._ruled]
        await self.call(self.firewall.open, good)
        refused: dict[str, str] = {}
        left = [[rule for rule in self.rules if rule not in good]]
        end = time.monotonic() + SEARCH
        while left:
            part = left.pop()
            try:
                await self.call(self.firewall.open, [*good, *part])
            except FirewallError as refusal:
                half = len(part) // 2
                if half and time.monotonic() < end:
                    left += [part[half:], part[:half]]
                else:
                    refused |= {rule.jail: str(refusal) for rule in part}
            else:
                good += part
        if not good:
            raise error
        await self.call(self.firewall.open, good)
        for jail, why in refused.items():
            if jail not in self.unruled:
                log.error(
                    "Firewall: jail %s bans NOBODY, since its rule is refused: %s; the other jails go on", jail, why
                )
        self.unruled, self._ruled = refused, good

    async def run(self) -> None:
        """Carry out orders until cancelled."""
        pause = FIRST_PAUSE
        while True:
            await self._wake.wait()
            self._wake.clear()
            if self.problem and not self._orders:
                await self.open(self.rules)
            while self._orders:
                self._in_hand = 1
                done = await self._carry_out(*self._orders[0])
                self._in_hand = 0
                if done:
                    pause = FIRST_PAUSE
                    continue
                self._opened.clear()
                with contextlib.suppress(TimeoutError):
                    async with asyncio.timeout(pause):  # not wait_for: see FirewallMonitor
                        await self._opened.wait()
                pause = min(pause * 2, LONGEST_PAUSE)
            self.idle.set()

    async def _carry_out(self, verb: Verb, bans: list[Ban]) -> bool:
        """Do the orders at the front, which stay queued until they are carried out."""
        if not self.is_open and not await self.open(self.rules):
            return False
        try:
            try:
                made = await self._try(verb, bans)
            except FirewallError:
                # Whoever has taken the table away has taken every ban: these alone must not come back.
                lost = await self.call(self.firewall.verify)
                if lost and not await self.open(self.rules):
                    return False
                made = await self._isolate(verb, bans)
        except FirewallError as error:
            self._failed(error)
            return False
        if self.problem:
            self._works()
        del self._orders[0]
        if verb == "unban":
            if self._ledger.waits:
                self._try_waiting()
            return True
        if self._ledger.waits or self._told_full or len(made) < len(bans):
            self._await_room(bans, made)
        self._made(made)
        if self.firewall.in_kernel:
            await self.call(self._flows.end, made)
        return True

    async def _isolate(self, verb: Verb, bans: list[Ban]) -> list[Ban]:
        """Halve what was refused together until the culprits stand alone, and put those aside; gives what was carried out.

        Raises `FirewallError` when everything is refused, or something of ours is gone: then nothing is put aside.
        """
        made: list[Ban] = []
        refused: list[tuple[Ban, FirewallError]] = []
        left = [bans]
        end = time.monotonic() + SEARCH
        while left:
            part = left.pop()
            try:
                made += await self._try(verb, part)
            except FirewallError as error:
                if not made and len(bans) > 1 and time.monotonic() > end:
                    raise
                lost = await self.call(self.firewall.verify) if len(part) in (1, len(bans)) else []
                if lost:
                    raise
                if len(part) > 1:
                    left += [part[len(part) // 2 :], part[: len(part) // 2]]
                else:
                    refused += [(ban, error) for ban in part]
        for ban, why in refused:
            self._put_aside(verb, ban, why)
        return made

    def _put_aside(self, verb: Verb, ban: Ban, error: FirewallError) -> None:
        if verb == "unban":
            log.error("Firewall: cannot unban %s in jail %s: %s; all others go on", ban.address, ban.jail, error)
            return
        if self._refuse(ban, str(error)):
            log.error("Firewall: cannot ban %s in jail %s: %s; all others go on", ban.address, ban.jail, error)

    def _refuse(self, ban: Ban, why: str) -> bool:
        """Let a refused ban wait; returns whether it was not waiting yet."""
        if not self._ledger.waiting(State.REFUSED):
            asyncio.get_running_loop().call_later(REFUSED, self._try_refused)
        return self._ledger.wait(ban, State.REFUSED, why)

    def _try_refused(self) -> None:
        """Queue those again that the kernel refused: another program may have been at its sets."""
        if bans := self._ledger.waiting(State.REFUSED):
            self.order("ban", bans)
            asyncio.get_running_loop().call_later(REFUSED, self._try_refused)

    async def _try(self, verb: Verb, bans: list[Ban]) -> list[Ban]:
        """Carry out as many of these as there is room for, and give those. Raises `FirewallError` when it is not for room."""
        if verb == "unban":
            await self.call(self.firewall.unban, bans)
            return bans
        if self.unruled:
            for ban in bans:
                if why := self.unruled.get(ban.jail):
                    self._refuse(ban, why)
            bans = [ban for ban in bans if ban.jail not in self.unruled]
        try:
            await self.call(self.firewall.ban, bans)
        except FullError:
            groups: dict[tuple[str, object], list[Ban]] = {}
            for ban in bans:
                groups.setdefault((ban.jail, self.firewall.room(ban.address)), []).append(ban)
        else:
            return bans
        if len(groups) > 1:
            return [ban for group in groups.values() for ban in await self._try(verb, group)]
        half = len(bans) // 2
        made = await self._try(verb, bans[:half]) if half else []
        return made if not half or len(made) < half else made + await self._try(verb, bans[half:])

    def _await_room(self, bans: list[Ban], made: list[Ban]) -> None:
        """Let wait what was not made, but for what the kernel refuses, or is to be unbanned by now."""
        self._ledger.taken(made)
        if len(made) == len(bans):
            if not self.waiting and not self._orders:
                self._told_full.clear()
            return
        done = {(ban.jail, ban.address) for ban in [*made, *self._ledger.waiting(State.REFUSED)]}
        done |= {(ban.jail, ban.address) for verb, bans in self._orders if verb == "unban" for ban in bans}
        for ban in bans:
            key = (ban.jail, ban.address)
            if key in done:
                continue
            self._ledger.wait(ban, State.NO_ROOM)
            what, limit = self.firewall.room(ban.address) or ("bans", 0)
            if (ban.jail, what) not in self._told_full:
                self._told_full.add((ban.jail, what))
                log.error(
                    "Firewall: jail %s has no room for more than %d %s: further bans wait until some have ended",
                    ban.jail, limit, what,
                )  # fmt: skip
        if self.waiting and self._next_try is None:
            self._next_try = asyncio.get_running_loop().call_later(ROOM, self._try_waiting)

    def _try_waiting(self) -> None:
        """Queue those again that have waited longest."""
        if self._next_try:
            self._next_try.cancel()
            self._next_try = None
        if bans := self._ledger.waiting(State.NO_ROOM)[:BATCH]:
            self._ledger.taken(bans)
            self.order("ban", bans)

    def _failed(self, error: FirewallError) -> None:
        if self.problem is None:
            log.error("Firewall: %s; failures are counted, bans wait until it works", error)
        self.problem = str(error)
        self.is_open = False
        if self._next_open is None:
            self._next_open = asyncio.get_running_loop().call_later(LONGEST_PAUSE, self._try_open)

    def _try_open(self) -> None:
        """Have `run` open the firewall: no order may come to do it."""
        self._next_open = None
        self._wake.set()

    def _works(self) -> None:
        if self.problem:
            log.info("Firewall: works again")
        self.problem = None

    def leave(self, *, flush: bool) -> None:
        """Release the firewall, after `stop`. `flush` removes all that is ours first; live bans come back at the next start."""
        try:
            if flush:
                if self.firewall.in_kernel:
                    self._owner.claim()
                self.firewall.flush()
                log.info("Firewall: everything of sipguard's is removed")
            self.firewall.close()
        except FirewallError as error:
            log.error("Firewall: %s", error)
        self._owner.leave()

    def stop(self) -> None:
        """End the thread when its present job is done."""
        self._thread.shutdown(wait=True)
