"""Tells a jail's actions of its bans. The firewall comes first: what is told here has been done, and nobody waits for it.

Actions live as in Fail2ban: started with their jail, told of every ban, of restored ones too unless they refuse, and at
the end of the jail or the daemon flushed and stopped.
"""

from __future__ import annotations

import logging
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path

from sipguard.actions.base import Notice, Verb
from sipguard.actions.command import Runner
from sipguard.actions.evidence import Evidence
from sipguard.actions.queue import ActionQueue, finish
from sipguard.actions.ticket import JailFacts, JailTotals, Past, Ticket, blank
from sipguard.config.settings import Settings
from sipguard.daemon.ban_ledger import BanLedger
from sipguard.daemon.jail_runner import JailRunner
from sipguard.daemon.make_action import make_worker
from sipguard.daemon.state_writer import StateWriter
from sipguard.errors import ConfigError, of_jail
from sipguard.fail2ban.config.role import role_of
from sipguard.model import Action, Ban, Clock, Failure, Jail, NativeAction
from sipguard.policy.doubts import Alarms
from sipguard.text import printable

log = logging.getLogger("fail2ban.actions")

PATIENCE = 10.0
"""Seconds that actions have at the end: the rest is cut, and left undone."""
MOST_LINES = 100
"""Lines of earlier attempts in `<ipmatches>`: the latest."""


class ActionDispatcher:
    """One queue for each action of each jail."""

    def __init__(self, live: BanLedger, store: StateWriter, runners: Mapping[str, JailRunner], *, clock: Clock) -> None:
        self.queues: dict[str, dict[str, ActionQueue]] = {}
        """Jail → name of the action → its queue."""
        self._live = live
        self._store = store
        self._runners = runners
        self._clock = clock
        self._runner = Runner()
        self._evidence = Evidence()
        self._made_from: dict[tuple[str, str], Action | NativeAction] = {}
        self._alarms = Alarms()

    async def set_up(self, settings: Settings) -> list[ConfigError]:
        """Have each jail's actions as the configuration says: what is new starts, what is gone stops, the rest goes on.

        Waits for what has to stop, since the same action with other parameters may follow it.
        """
        jails = [jail for jail in settings.jails if jail.name in self._runners]
        wanted = {jail.name: {one.name: one for one in actions_of(jail, settings)} for jail in jails}
        _tell_replaced(settings)
        ending = []
        for jail, queues in list(self.queues.items()):
            actions = wanted.get(jail, {})
            gone = [name for name in queues if self._made_from[jail, name] != actions.get(name)]
            self._tell_end(jail, gone)
            ending += [queues.pop(name) for name in gone]
            if not queues:
                del self.queues[jail]
        await finish(ending, PATIENCE)
        errors = []
        for one in jails:
            for action in wanted[one.name].values():
                try:
                    self._set_up_action(one, action)
                except ConfigError as error:
                    errors.append(of_jail(one.name, error))
        return errors

    def _set_up_action(self, jail: Jail, action: Action | NativeAction) -> None:
        """Start an action, or tell one that goes on of the reload. Raises `ConfigError`."""
        queues = self.queues.setdefault(jail.name, {})
        facts = self._facts(jail)
        if action.name in queues:
            self._put(queues[action.name], "reload", blank(facts, self._clock()))
            return
        ipv6 = Path("/proc/net/if_inet6").exists()  # an action with families of its own is started for it then
        worker = make_worker(action, facts, self._runner, clock=self._clock, ipv6=ipv6)
        queue = queues[action.name] = ActionQueue(f"[{jail.name}] Action {action.name}", worker)
        self._made_from[jail.name, action.name] = action
        self._put(queue, "start", blank(facts, self._clock()))
        for ban in self._notified(jail.name):
            self._put(queue, "ban", Ticket(ban, facts, restored=True))

    def observed(self, jail: str, address: str, failures: Sequence[Failure]) -> None:
        """Failures of a jail with actions were counted: their lines may become those of a ban."""
        for failure in failures:
            self._evidence.add(jail, address, failure)

    def alarmed(self, jail: str, address: str, failure: Failure) -> bool:
        """A password may be known: whoever wants alarms is told. Nothing proves the address, so Fail2ban's actions are not.

        Several jails may see one attempt: an action that they share is told once. False where another jail has told before.
        """
        now = self._clock()
        user = printable(failure.user or "a user", 64)
        ban = Ban(address, jail, now, now, count=0, reason=f"the password of {user} may be known: change it")
        ticket = Ticket(ban, self._facts_of(jail), failure.lines, {"user": user})
        for name, queue in self.queues.get(jail, {}).items():
            action = self._made_from[jail, name]
            if isinstance(action, NativeAction) and "alarm" in action.on and self._alarms.is_news(user, now, action):
                self._put(queue, "alarm", ticket)
        return self._alarms.is_news(user, now)

    def banned(self, ban: Ban, *, restored: bool = False) -> None:
        """The firewall rejects an address now, or, if it was told before, until another time."""
        queues = self.queues.get(ban.jail)
        if not queues:
            return
        record = self._live.record(ban.jail, ban.address)
        again = record is not None and record.notified
        if again and restored:
            return
        found = self._evidence.take(ban.jail, ban.address)
        ticket = Ticket(ban, self._facts_of(ban.jail), found.lines, found.data or {}, restored=restored)
        if record is not None:
            record.notified = True
        for queue in queues.values():
            self._put(queue, "prolong" if again else "ban", ticket)

    def seen_again(self, ban: Ban) -> None:
        """Lines of a banned address keep coming: an action that is the ban looks whether it holds."""
        for queue in self.queues.get(ban.jail, {}).values():
            if queue.worker.essential:
                self._put(queue, "check", Ticket(ban, self._facts_of(ban.jail)))

    def ended(self, ban: Ban) -> None:
        """An address is let through again, of which actions have been told."""
        for queue in self.queues.get(ban.jail, {}).values():
            self._put(queue, "unban", Ticket(ban, self._facts_of(ban.jail)))

    async def stop(self) -> None:
        """The daemon ends: every action is flushed and stopped, as far as there is time."""
        for jail in list(self.queues):
            self._tell_end(jail, list(self.queues[jail]))
        queues = [queue for queues in self.queues.values() for queue in queues.values()]
        self.queues.clear()
        await finish(queues, PATIENCE)

    def status(self, jail: str) -> list[dict[str, str | int]]:
        """Of each action: what waits, was done, failed, was dropped, and why it failed last."""
        return [
            {
                "name": name,
                "queued": queue.queued,
                "done": queue.done,
                "failed": queue.failed,
                "dropped": queue.dropped,
                "problem": queue.problem,
            }
            for name, queue in self.queues.get(jail, {}).items()
        ]

    def _tell_end(self, jail: str, names: Iterable[str]) -> None:
        facts = self._facts_of(jail)
        end = blank(facts, self._clock())
        bans = self._notified(jail)
        for name in names:
            queue = self.queues[jail][name]
            if queue.worker.flushes:
                self._put(queue, "flush", end)
            else:
                for ban in bans:
                    self._put(queue, "unban", Ticket(ban, facts))
            self._put(queue, "stop", end)

    def _notified(self, jail: str) -> list[Ban]:
        """The live bans of a jail that its actions have been told of."""
        records = self._live.of_runner(jail).values()
        return [record.ban for record in records if record.live and record.notified]

    @staticmethod
    def _put(queue: ActionQueue, verb: Verb, ticket: Ticket) -> None:
        if not (verb == "ban" and ticket.restored and queue.worker.norestored):
            queue.put(Notice(verb, ticket))

    def _facts_of(self, jail: str) -> JailFacts:
        runner = self._runners.get(jail)
        return self._facts(runner.jail) if runner else JailFacts(jail, past=self._past)

    def _facts(self, jail: Jail) -> JailFacts:
        return JailFacts(jail.name, jail.bantime, past=self._past, totals=lambda: self._totals(jail.name))

    def _totals(self, jail: str) -> JailTotals:
        runner = self._runners.get(jail)
        if runner is None:
            return JailTotals()
        counting = runner.judge.window.counting(self._clock())
        return JailTotals(len(self._live.of_jail(jail)), runner.totals.bans, counting, runner.totals.failures)

    def _past(self, address: str, jail: str | None) -> Past:
        """What is stored of an address, and what is about to be."""
        stored, _ = self._store.story(address)
        recent = [attempt for attempt in self._store.changes.attempts if attempt.address == address]
        found = [attempt for attempt in (*stored, *recent) if jail in (None, attempt.jail)]
        lines = [attempt.line for attempt in found if attempt.line]
        return Past(sum(attempt.attempts for attempt in found), tuple(lines[-MOST_LINES:]))


def actions_of(jail: Jail, settings: Settings) -> list[Action | NativeAction]:
    """The actions that a jail really has: without those whose work sipguard's own firewall does."""
    if settings.banactions == "commands":
        return list(jail.actions)
    return [action for action in jail.actions if not (isinstance(action, Action) and role_of(action).replaced)]


def _tell_replaced(settings: Settings) -> None:
    """Name each action that does not run, and why: nothing of a configuration is left out in silence."""
    for jail in settings.jails:
        for action in jail.actions:
            if settings.banactions != "commands" and isinstance(action, Action) and (role := role_of(action)).replaced:
                log.info("[%s] Action %s", jail.name, role.told(action))
