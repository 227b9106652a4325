"""The life of a ban: decided, made by the kernel, stored, logged, ended.

A ban counts as made when the kernel has it: only then is it stored and logged. One that an earlier run left in the kernel and in
the database goes on without a word.
"""

from __future__ import annotations

import asyncio
import logging
from collections import Counter
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import replace
from operator import attrgetter
from typing import Literal

from sipguard.config.values import format_duration
from sipguard.daemon.action_dispatcher import ActionDispatcher
from sipguard.daemon.ban_ledger import BanLedger, Record, State
from sipguard.daemon.enforcement import Enforcement
from sipguard.daemon.firewall_worker import FirewallWorker
from sipguard.daemon.jail_runner import JailRunner
from sipguard.daemon.own_log import NOTICE, LogBatch
from sipguard.daemon.state_writer import StateWriter
from sipguard.errors import SipguardError
from sipguard.firewall.base import Firewall
from sipguard.model import Ban, Clock, Entry, Rule
from sipguard.policy.escalation import grown
from sipguard.policy.wire import NO_GROUNDS
from sipguard.state.database import Database

log = logging.getLogger("fail2ban.actions")

Because = Literal["hand", "time", "jail"]

PATIENCE = 5.0
"""How long a request waits for the kernel to confirm, in seconds."""
ROUNDING = 5.0
"""Seconds by which a ban's end in the kernel may differ from the stored one: backends round."""


class Bans:
    """Every ban of every jail. `runners` are the running jails, by name."""

    def __init__(
        self, firewall: Firewall, store: StateWriter, runners: Mapping[str, JailRunner], *, clock: Clock
    ) -> None:
        self.live = BanLedger()
        self.dispatcher = ActionDispatcher(self.live, store, runners, clock=clock)
        self.firewall_worker = FirewallWorker(
            firewall, self._carried_out, lambda: [ban for ban in self.live if self._enforced(ban)], self.live
        )
        self.enforcement = Enforcement(
            self.firewall_worker,
            lambda jail: runners[jail].jail.rule if jail in runners else None,
            self.live.get,
            clock=clock,
        )
        self.changed: Callable[[], None] = lambda: None
        """Called when the next end may have moved."""
        self.took: Callable[[float], None] | None = None
        """Called with the seconds from a decision to the kernel's having the ban."""
        self.moved: Callable[[Iterable[Ban]], None] | None = None
        """Called with bans that have begun, ended, or got another end."""
        self.held: dict[str, Rule] = {}
        """Jails that cannot run by what the configuration says now, and never did in this run: their bans go on."""
        self.made: Counter[tuple[str, str]] = Counter()
        """(jail, `attack` or `hand`) → bans that the kernel has been given in this run; not those of earlier ones."""
        self._decided: list[Record] = []
        """The records of bans that have not been queued for the kernel yet."""
        self._store = store
        self._runners = runners
        self._clock = clock

    def decide(self, ban: Ban) -> None:
        """Record a jail's decision. All decisions of this turn of the loop go to the kernel together, at the next turn."""
        if not self._decided:
            asyncio.get_running_loop().call_soon(self._send)
        self._decided.append(self.live.decide(ban))

    def _send(self) -> None:
        """Queue the decided bans for the kernel, without those undone since. Repeated bans get their longer time here."""
        bans, addresses = [], []
        for record in self._decided:
            if not record.over:
                bans.append(record.ban)
                addresses.append(record.ban.address)
        self._decided.clear()
        if not bans:
            return
        if self._store.changes.ended:  # who comes back at once has been banned before, too
            self._store.save()
        if earlier := self._store.ask(Database.ban_counts, addresses):
            for place, ban in enumerate(bans):
                if count := earlier[self._history(ban.jail), ban.address]:
                    bans[place] = self._grown(replace(ban, count=count + 1), count)
                    self.live.decide(bans[place])
        self._order(bans)

    def _history(self, jail: str) -> str | None:
        """The jail whose earlier bans count for this one: itself, or all jails (None)."""
        runner = self._runners.get(jail)
        return None if runner and runner.jail.growth.overalljails else jail

    def _enforced(self, ban: Ban) -> bool:
        """Whether the firewall carries out this ban. For a jail that is gone: yes, it may still be there."""
        runner = self._runners.get(ban.jail)
        return runner is None or runner.jail.enforced

    def _order(self, bans: Sequence[Ban]) -> None:
        """Queue bans for the firewall. Those that it does not carry out count as made at the loop's next turn."""
        ours: list[Ban] = []
        others: list[Ban] = []
        for ban in bans:
            (ours if self._enforced(ban) else others).append(ban)
        self.firewall_worker.order("ban", ours)
        if others:
            asyncio.get_running_loop().call_soon(self._carried_out, others)

    def earlier(self, jail: str, address: str) -> int:
        """How often this address has been banned before: in this jail, or in any (`overalljails`)."""
        earlier = self._store.ask(Database.ban_counts, [address])
        return earlier[self._history(jail), address] if earlier else 0

    def _grown(self, ban: Ban, earlier: int) -> Ban:
        """A ban that lasts longer, if its jail says so; one by hand has the time that the operator gave."""
        runner = self._runners.get(ban.jail)
        if runner is None or not ban.attempts or ban.evidence in NO_GROUNDS:
            return ban
        try:
            seconds = grown(runner.jail.bantime, runner.jail.growth, earlier)
        except ValueError as error:
            log.error("[%s] bantime.formula: %s; the ban lasts bantime", ban.jail, error)
            return ban
        return replace(ban, until=ban.since + seconds)

    def restore(self, stored: Iterable[Ban]) -> None:
        """Bans of an earlier run: make sure that the kernel has them, and go on without logging them again.

        Those that live already, at a reload, the kernel was given when the firewall was opened.
        """
        bans = [self._not_from_the_future(ban) for ban in stored if ban.jail in self._runners or ban.jail in self.held]
        new = [ban for ban in bans if self.live.get(ban.jail, ban.address) is None]
        for ban in bans:
            if runner := self._runners.get(ban.jail):
                runner.totals.bans += self.live.get(ban.jail, ban.address) is None
            self.live.add(ban)
            self.dispatcher.banned(ban, restored=True)
        if self.moved is not None:
            self.moved(new)
        self._order(new)

    def adopt(self, entries: Iterable[Entry]) -> None:
        """Bans that the kernel has and the state does not tell of, since it cannot be read or is lost: they go on."""
        now = self._clock()
        for entry in entries:
            key = (entry.jail, entry.address)
            runner = self._runners.get(entry.jail)
            if (runner is None and entry.jail not in self.held) or self.live.record(*key) or entry.until <= now:
                continue
            ban = Ban(entry.address, entry.jail, now, entry.until, reason="found in the firewall")
            self.live.add(ban, adopted=True)
            self._store.changes.bans[key] = ban
            if runner:
                runner.totals.bans += 1
            self.dispatcher.banned(ban, restored=True)
        self._store.touched()
        self.changed()

    def merge(self, stored: Iterable[Ban]) -> None:
        """The state can be read at last: its bans, and those of this run. What ends later counts, what has ended is over."""
        for ban in stored:
            key = (ban.jail, ban.address)
            mine = self.live.record(*key)
            if mine is None:
                if key not in self._store.changes.ended:
                    self.restore([ban])
            elif mine.adopted:
                until = mine.ban.until if mine.ban.until > ban.until + ROUNDING else ban.until
                self.live.add(replace(ban, until=until), adopted=True)
                self._store.changes.bans[key] = replace(ban, until=until)
            else:
                self.prolong(*key, ban.until)
        for ban in [ban for ban in self.live if (ban.jail, ban.address) in self._store.changes.bans]:
            runner, record = self._runners.get(ban.jail), self.live.record(ban.jail, ban.address)
            if runner and runner.jail.growth.increment and record and not record.adopted:
                earlier = self.earlier(ban.jail, ban.address)
                if earlier >= ban.count:  # when it was decided, nobody knew of the earlier ones
                    self.prolong(ban.jail, ban.address, self._grown(ban, earlier).until)
        self.changed()

    def shift(self, seconds: float) -> None:
        """The clock was set: every ban has as much time left as before, as the kernel counts it."""
        self.live.shift(seconds)
        self._store.changes.bans |= {(ban.jail, ban.address): ban for ban in self.live}
        self.firewall_worker.shift(seconds)

    def _not_from_the_future(self, ban: Ban) -> Ban:
        """Stored before the clock was set back: it begins now, and lasts no longer than it was meant to."""
        ahead = ban.since - self._clock()
        return replace(ban, since=ban.since - ahead, until=ban.until - ahead) if ahead > 0 else ban

    async def settle(self, bans: Iterable[Ban] = ()) -> None:
        """Wait until the kernel has done what was ordered by hand, and it is on disk, since no log tells of it again.

        Raises `SipguardError` when the kernel does not answer in good time, or has no room for one of these `bans`.
        """
        if not self._store.save():  # what was undone; what is made is saved when the kernel has it
            self._store.touched()
        if self._decided:
            self._send()
        try:
            async with asyncio.timeout(PATIENCE):
                await self.firewall_worker.idle.wait()
        except TimeoutError:
            why = f": {problem}; still trying" if (problem := self.firewall_worker.problem) else "; still trying"
            raise SipguardError(f"the firewall has not confirmed the ban yet{why}") from None
        for ban in bans if self.live.waits else ():
            record = self.live.record(ban.jail, ban.address)
            if record and record.state is State.REFUSED:
                raise SipguardError(f"the firewall refuses this ban: {record.refusal}")
            if record and record.state is State.NO_ROOM:
                raise SipguardError("the firewall has no room for this ban; still trying: raise set_size in [firewall]")

    def reinforce(self, jail: str, address: str) -> None:
        """Lines of a banned address keep coming: make sure that the kernel has the ban."""
        if ban := self.live.get(jail, address):
            log.log(NOTICE, "[%s] %s already banned", jail, address)
            self.dispatcher.seen_again(ban)
            if self._enforced(ban):
                self.enforcement.passed(ban)
            self._order([ban])

    def prolong(self, jail: str, address: str, until: float) -> None:
        """A live ban is to end later than it would; one that ends later anyway stays as it is."""
        ban = self.live.get(jail, address)
        if ban is not None and ban.until < until:
            ban = replace(ban, until=until)
            self.live.add(ban)
            self._store.changes.bans[jail, address] = ban
            self._store.touched()
            self._order([ban])
            self.dispatcher.banned(ban)
            if self.moved is not None:
                self.moved([ban])

    def release(self, bans: Sequence[Ban], *, because: Because = "hand") -> None:
        """Let these addresses through: by `hand` before their time, when their attempts and history are cleared; by `time`.

        When their `jail` ends: the state keeps such bans, and they come back with it. Who saves the state, does so after this.
        """
        now, changes, lines = self._clock(), self._store.changes, LogBatch()
        if because == "hand":
            changes.forget(map(attrgetter("jail", "address"), bans))
        for ban in bans:
            key = ban.jail, ban.address
            if (record := self.live.end(*key)) and record.notified:
                self.dispatcher.ended(ban)
            if because != "jail":
                changes.ended[key] = min(now, ban.until)
                if runner := self._runners.get(ban.jail):
                    runner.judge.window.forget(ban.address)
            lines.append(f"[{ban.jail}] Unban {ban.address}")
        if not bans:
            return
        log.log(NOTICE, lines)
        # The kernel has ended it by itself, or is told to now.
        if because != "time" or not self.firewall_worker.firewall.ends_bans:
            self.firewall_worker.order("unban", list(filter(self._enforced, bans)))
        if self.moved is not None:
            self.moved(bans)

    def end_due(self) -> None:
        """End the bans whose time is over."""
        self.release(self.live.ended(self._clock()), because="time")
        self._store.touched()

    def _carried_out(self, bans: Sequence[Ban]) -> None:
        made = self.live.made(bans, self._clock())
        self.changed()
        if not made:
            return
        changes, now, lines = self._store.changes, self._clock(), LogBatch()
        for ban in made:
            key = ban.jail, ban.address
            changes.bans[key] = ban
            changes.ended.pop(key, None)
            self.made[ban.jail, "hand" if ban.evidence == "hand" else "attack"] += 1
            if self.took is not None:
                self.took(max(0.0, now - ban.since))
            lines.append(f"[{ban.jail}] Ban {ban.address}")
            if ban.count > 1 and (runner := self._runners.get(ban.jail)) and runner.jail.growth.increment:
                length = format_duration(round(ban.until - ban.since))
                lines.append(f"[{ban.jail}] Increase Ban {ban.address} ({ban.count} # {length})")
        # Stored before it is logged: a run that is killed in between logs it not at all, rather than twice.
        if not self._store.save():
            self._store.touched()
        log.log(NOTICE, lines)
        if self.moved is not None:
            self.moved(made)
        for ban in made if self.dispatcher.queues else ():
            self.dispatcher.banned(ban)
