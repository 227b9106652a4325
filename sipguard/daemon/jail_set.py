"""Makes the configured jails run: a runner for each, its ignore list, its rule in the firewall, its earlier bans."""

from __future__ import annotations

import asyncio
import contextlib
import logging
import math
from collections import Counter
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import replace
from functools import partial
from typing import Any

from sipguard.config.settings import Settings
from sipguard.daemon.bans import Bans
from sipguard.daemon.by_hand import any_by_hand, jail_by_hand
from sipguard.daemon.jail_runner import JailRunner
from sipguard.daemon.log_detectors import SharedDetectors
from sipguard.daemon.pending_lookups import ASKED, PendingLookups
from sipguard.daemon.resolver import Resolver
from sipguard.daemon.state_writer import StateWriter, Stored
from sipguard.errors import ConfigError, FirewallError, SipguardError, of_jail
from sipguard.model import BY_HAND, Ban, Clock, Jail, Position, Rule
from sipguard.policy.ignore import IgnoreList, own_addresses
from sipguard.sources.journal_query import query_of
from sipguard.state.changes import MAX_LINE, Changes, CountedAttempt
from sipguard.state.database import Database
from sipguard.troubles import GOES_ON

log = logging.getLogger("fail2ban.server")


def make_runner(jail: Jail, **told: Any) -> JailRunner:
    """The runner of a jail; `told` as for `JailRunner`. Raises `ConfigError`, naming the jail: it cannot run."""
    try:
        if jail.journal:
            query_of(jail)
        return JailRunner(jail, **told)
    except ConfigError as error:
        raise of_jail(jail.name, error) from error


class Jails:
    """The jails of `settings`, kept in `runners` by name: others hold the same dictionary."""

    def __init__(
        self,
        settings: Settings,
        runners: dict[str, JailRunner],
        *,
        bans: Bans,
        store: StateWriter,
        names: Resolver,
        registered: Callable[[Iterable[str]], None],
        clock: Clock,
    ) -> None:
        self.settings = settings
        self.runners = runners
        self.errors: list[ConfigError] = []
        """Why some jails, or parts of them, do not run."""
        self.lookups = PendingLookups(names, runners, store, clock=clock)
        self._detectors = SharedDetectors(clock)
        self._bans = bans
        self._store = store
        self._names = names
        self._registered = registered
        self._clock = clock
        self._rules: dict[str, Rule] = {}
        """What each jail's bans reject, as it was when its configuration was last good."""
        self._counted: list[CountedAttempt] = []
        """What the jails before a reload had counted."""
        self.hand = asyncio.Lock()
        """Held while a ban by hand is made, so that its jail does not end meanwhile."""
        self.know: Callable[[Mapping[str, Position]], None] = lambda _positions: None
        """Told how far earlier runs have read the logs, when that is known only after they were begun again."""
        self._late_by_hand: list[Ban] = []
        self._to_adopt = True
        """Whether it is still to be asked which bans the kernel has."""

    @property
    def is_complete(self) -> bool:
        """Whether every ban of earlier runs is known, from the state or from the kernel."""
        return self._store.is_read and not self._to_adopt

    async def begin(self, settings: Settings) -> None:
        """Run the jails that these settings have, from where their last run ended, and no others.

        A jail that is wrong now goes on as it ran before; one that has not run yet goes on rejecting whom it has banned.
        """
        self.settings = settings
        self.errors = list(settings.errors)
        last_good = {name: runner.jail for name, runner in self.runners.items()}
        broken = {error.jail for error in settings.errors} - {jail.name for jail in settings.jails}
        wanted = {jail.name: jail for jail in settings.jails}
        wanted |= {name: jail for name, jail in last_good.items() if name in broken}
        if any_by_hand(self._bans.live):
            wanted.setdefault(BY_HAND, self._by_hand())
        self._bans.release([ban for ban in self._bans.live if ban.jail not in wanted.keys() | broken], because="jail")
        with contextlib.suppress(SipguardError):  # a kernel that refuses now is tried again, by the new jails as well
            await self._bans.settle()
        stored = self._read_state()
        if stored and any_by_hand(stored.bans):
            wanted.setdefault(BY_HAND, self._by_hand())
        self._make_runners(wanted, last_good)
        self._hold(broken | {error.jail for error in self.errors if error.jail}, stored)
        await self.learn_ignored()
        await self.open_firewall()
        action_errors = await self._set_up_actions()
        self._restore(stored)
        self.lookups.restore()
        await self.adopt()
        self.errors += action_errors
        for problem in self.problems:
            log.error("%s", problem)
        for odd in self.settings.warnings:
            log.warning("%s", odd)

    def _hold(self, broken: Iterable[str], stored: Stored | None) -> None:
        """Keep a rule for each jail that cannot run, so that its bans hold, and store the others' rules for that case."""
        known = {**self._rules, **(stored.rules if stored else {})}
        self._bans.held.clear()
        self._bans.held |= {name: known.get(name, Rule(name)) for name in broken if name and name not in self.runners}
        for name, runner in self.runners.items():
            if runner.jail.enforced and known.get(name) != runner.jail.rule:
                self._store.changes.rules[name] = known[name] = runner.jail.rule
        self._rules = known

    def _fate(self, jail: str) -> str:
        """What becomes of a jail that is wrong, for the log and `status`."""
        if jail in self.runners:
            return f"; jail {jail} {GOES_ON}"
        held = jail in self._bans.held and self._bans.live.of_jail(jail)
        return f"; jail {jail} does not run, its bans stay until their time" if held else ""

    @property
    def problems(self) -> list[str]:
        """Why some jails, or parts of them, do not run as the configuration says, and what they do instead."""
        return [f"{error}{self._fate(error.jail)}" for error in self.errors]

    def problems_of(self, jail: str) -> list[str]:
        """Those that are about one jail."""
        return [f"{error}{self._fate(jail)}" for error in self.errors if error.jail == jail]

    def _make_runners(self, wanted: Mapping[str, Jail], last_good: Mapping[str, Jail]) -> None:
        """A runner for each jail; one whose filter is wrong goes on as it was, or is left out, and is reported."""
        self._counted = self.everything().attempts
        before = dict(self.runners)
        self.runners.clear()
        self.lookups.forget_commands()
        own = own_addresses()
        for name, jail in wanted.items():
            for definition in (jail, *([last_good[name]] if name in last_good else [])):
                try:
                    self.runners[name] = self._runner(definition, own)
                    if name in before:
                        self.runners[name].count_on_from(before[name])
                    break
                except ConfigError as error:
                    self.errors.append(error)

    def _runner(self, jail: Jail, own: Sequence[str]) -> JailRunner:
        """Raises `ConfigError`. `own` are the machine's addresses."""
        return make_runner(
            jail,
            ignore=self._ignore_list(jail, own),
            clock=self._clock,
            decide=self._bans.decide,
            reinforce=self._bans.reinforce,
            ledger=self._bans.live,
            detectors=self._detectors,
            observe=self._bans.dispatcher.observed,
            observed=self._bans.dispatcher.queues,
            alarm=self._bans.dispatcher.alarmed,
            earlier=partial(self._bans.earlier, jail.name),
            ask=self.lookups.ask,
            registered=self._registered,
        )

    def _ignore_list(self, jail: Jail, own: Sequence[str]) -> IgnoreList:
        """Jails that never ban the same addresses share one list: each address is looked for once."""
        wanted = jail.ignoreip, jail.ignoreself
        alike = (one for one in self.runners.values() if (one.jail.ignoreip, one.jail.ignoreself) == wanted)
        other = next(alike, None)
        return other.judge.ignore if other else IgnoreList(jail.ignoreip, own=own if jail.ignoreself else ())

    async def add(self, jail: Jail) -> None:
        """One more, that the configuration does not have: it ends with the next `begin`. Raises `ConfigError`."""
        self.runners[jail.name] = self._runner(jail, own_addresses())
        await self.open_firewall()

    async def remove(self, name: str) -> None:
        """End one, with its bans; its logs must be left in the same turn of the loop, and its rule goes with `open_firewall`."""
        self._bans.release(self._bans.live.of_jail(name), because="jail")
        await self._bans.settle()
        del self.runners[name]

    def _by_hand(self) -> Jail:
        return jail_by_hand(self.settings.jails, self.settings.ignoreip)

    async def begin_by_hand(self) -> None:
        """Have the jail of bans by hand that name none. Raises `ConfigError` where the configuration has one of that name."""
        if any(jail.name == BY_HAND for jail in self.settings.jails):
            raise ConfigError(
                f"your configuration has a jail named {BY_HAND}, as sipguard's own is; rename it, or name a jail with --jail"
            )
        if BY_HAND not in self.runners:
            await self.add(self._by_hand())
            await self.learn_ignored()

    async def tend_by_hand(self) -> None:
        """End the jail of bans by hand with its last ban; begin it for bans that could be read only now."""
        if self.hand.locked() or any(jail.name == BY_HAND for jail in self.settings.jails):
            return
        async with self.hand:
            late, self._late_by_hand = self._late_by_hand, []
            if late:
                await self.begin_by_hand()
                self._bans.restore(late)
            elif (runner := self.runners.get(BY_HAND)) and not runner.banned:
                await self.remove(BY_HAND)
                await self.open_firewall()

    async def learn_ignored(self) -> None:
        """What the host names and lists in `ignoreip` stand for now."""
        await asyncio.gather(*map(self._names.refresh, {runner.judge.ignore for runner in self.runners.values()}))

    async def open_firewall(self) -> None:
        """Have a rule for each jail, with the bans that are live."""
        await self._bans.firewall_worker.change(
            [runner.jail.rule for runner in self.runners.values() if runner.jail.enforced] + [*self._bans.held.values()]
        )

    async def _set_up_actions(self) -> list[ConfigError]:
        """What else happens on a ban; gives why an action cannot be: its jail runs all the same."""
        running = replace(self.settings, jails=tuple(runner.jail for runner in self.runners.values()))
        return [ConfigError(error.what, error.where) for error in await self._bans.dispatcher.set_up(running)]

    def _read_state(self) -> Stored | None:
        """What earlier runs, or this one before a reload, have left; None when it cannot be read now."""
        first = self._store.late is None
        stored = self._store.read(self._clock()) if first or self._store.is_read else None
        if first:
            self._store.late = self._merge
            self._to_adopt = stored is None or stored.fresh
        return stored

    def _restore(self, stored: Stored | None) -> None:
        """Go on where the last run ended: live bans into the kernel, attempts into the windows."""
        ended = self._store.changes.ended
        bans = self._store.bans(stored) if stored else ()
        live = {key: ban for ban in bans if (key := (ban.jail, ban.address)) not in ended}
        # Those of this run, at a reload: the disk may have refused to take them.
        live |= {(ban.jail, ban.address): ban for ban in self._bans.live}
        self._bans.restore(live.values())
        # What cannot be read at a reload is as it was counted before.
        for attempt in [*stored.attempts, *self._store.changes.attempts] if stored else self._counted:
            if runner := self.runners.get(attempt.jail):
                with runner.degrading():
                    runner.recall(attempt)
        self._bans.changed()

    async def adopt(self) -> None:
        """Take over the bans that the kernel has, when the state does not tell of them; later, if the kernel refuses now."""
        if self._to_adopt:
            worker = self._bans.firewall_worker
            with contextlib.suppress(FirewallError):
                entries = await worker.call(worker.firewall.entries)
                if any(entry.jail == BY_HAND for entry in entries):
                    await self.begin_by_hand()
                self._bans.adopt(entries)
                self._to_adopt = False

    def _merge(self, stored: Stored) -> None:
        """The state can be read at last. The logs were read again meanwhile: what it has of them is not counted twice."""
        self.know(stored.positions)
        self._late_by_hand = [ban for ban in stored.bans if ban.jail == BY_HAND]
        self._bans.merge(stored.bans)
        changes = self._store.changes
        changes.settled |= {row.number for _, row in self._store.waiting(("line", "silenced", ASKED))}
        oldest = min((attempt.time for attempt in changes.attempts), default=math.inf)
        rows = self._store.ask(Database.attempts_since, oldest) or []
        lines = Counter(row[:4] for row in rows)
        answered = {row[:2]: row[2] for row in sorted(rows, key=lambda row: row[2]) if row[4]}
        new = []
        for attempt in changes.attempts:
            key = (attempt.jail, attempt.address, attempt.time, attempt.line[:MAX_LINE])
            if attempt.time <= answered.get(key[:2], -math.inf):
                continue  # one row stands for all that a ban has answered
            if lines[key]:
                lines[key] -= 1
            else:
                new.append(attempt)
        changes.attempts[:] = new
        counted = {name: runner.judge.window.times() for name, runner in self.runners.items()}
        known = Counter(
            (name, address, time)
            for name, window in counted.items()
            for address, times in window.items()
            for time in times
        )
        for attempt in stored.attempts:
            moment = (attempt.jail, attempt.address, attempt.time)
            again = min(attempt.attempts, known[moment])
            known[moment] -= again
            if attempt.attempts > again and (runner := self.runners.get(attempt.jail)):
                runner.recall(attempt._replace(attempts=attempt.attempts - again))

    def everything(self) -> Changes:
        """All that a new database has to know, when the old one is lost."""
        attempts = [
            CountedAttempt(name, address, when)
            for name, runner in self.runners.items()
            for address, times in runner.judge.window.times().items()
            for when in times
        ]
        bans = {(ban.jail, ban.address): ban for ban in self._bans.live}
        return Changes(attempts=attempts, bans=bans, rules=dict(self._rules))
