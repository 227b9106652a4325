"""Failures that cannot be weighed at once: a host name has to be resolved first, or an `ignorecommand` asked.

They wait here, beside the event loop's work, and come back to their jail. Whoever is asked about may be an
attacker's choice, so only so many wait; one that finds no room is counted as it would be without an answer. What waits is
stored (`Unpaired`): the next start asks again, for its line is not read again.
"""

from __future__ import annotations

import asyncio
import json
import logging
from collections.abc import Mapping
from typing import TYPE_CHECKING

from sipguard.addresses import canonical
from sipguard.daemon.examiner import failure_of
from sipguard.daemon.ignorecommand import IgnoreCommand
from sipguard.daemon.resolver import Resolver
from sipguard.policy.told_once import numbers
from sipguard.state.changes import MAX_LINE
from sipguard.text import printable
from sipguard.wire_model import Unpaired

if TYPE_CHECKING:
    from sipguard.daemon.jail_runner import JailRunner
    from sipguard.daemon.state_writer import StateWriter
    from sipguard.model import Clock, Failure

log = logging.getLogger("fail2ban.filter")

MOST_WAITING = 10_000
ASKED = "asked"
"""Kind of `Unpaired`: a failure that waits here."""
AT_ONCE = 8
"""Commands that run at once."""


class PendingLookups:
    """The open questions of all jails. `runners` are the running jails; attempts are noted in `store`."""

    def __init__(self, names: Resolver, runners: Mapping[str, JailRunner], store: StateWriter, *, clock: Clock) -> None:
        self._names = names
        self._runners = runners
        self._store = store
        self._clock = clock
        self._commands: dict[str, IgnoreCommand] = {}
        self._tasks: dict[int, asyncio.Task[None]] = {}
        self._turns = asyncio.Semaphore(AT_ONCE)
        self.paused = asyncio.Lock()
        """Nothing is counted while somebody holds it: the jails are replaced."""

    def ask(self, runner: JailRunner, failure: Failure) -> bool:
        """Take a failure over; False if there is no room."""
        if len(self._tasks) >= MOST_WAITING:
            return False
        row = self._row(failure)
        self._store.changes.keep(runner.jail.name, row)
        self._begin(runner.jail.name, failure, row.number)
        return True

    def restore(self) -> None:
        """Ask again what an earlier run has left; of a jail that does not run now, once it does."""
        for jail, row in self._store.waiting((ASKED,)):
            if jail not in self._runners or row.number in self._tasks or row.number in self._store.changes.settled:
                continue
            failure = failure_of(row)
            evidence, tags = json.loads(row.tags)
            failure = failure._replace(told=(failure.users, failure.lines, tags), evidence=evidence)
            self._begin(jail, failure, row.number)

    def _row(self, failure: Failure) -> Unpaired:
        time = self._clock() if failure.time is None else failure.time
        tags = json.dumps([failure.evidence, {name: value[:MAX_LINE] for name, value in failure.tags.items()}])
        line = failure.lines[-1] if failure.lines else ""
        return Unpaired(next(numbers), ASKED, failure.host, time, failure.user or "", line, failure.regex, tags)

    def _begin(self, jail: str, failure: Failure, number: int) -> None:
        self._tasks[number] = task = asyncio.get_running_loop().create_task(self._settle(jail, failure, number))
        task.add_done_callback(lambda _: self._tasks.pop(number, None))

    def forget_commands(self) -> None:
        """The jails have changed: their commands may have, too."""
        self._commands.clear()

    async def _settle(self, jail: str, failure: Failure, number: int) -> None:
        runner = self._runners.get(jail)
        answer = await self._answer(runner, failure) if runner is not None else {}
        async with self.paused:
            self._store.changes.settle(number)
            self._store.touched()
            if (now := self._runners.get(jail)) is None:
                return  # its jail has gone while somebody was asked
            for address, ignored in answer.items():
                if ignored:
                    now.ignored(address, "command")
                else:
                    now.weigh(failure, self._store.changes, address=address)
            if not answer:
                now.weigh(failure, self._store.changes, answered=True)

    async def _answer(self, runner: JailRunner, failure: Failure) -> dict[str, bool]:
        """The addresses of a failure's host, and whether each is to be ignored."""
        name = ""
        addresses: tuple[str, ...]
        try:
            addresses = (canonical(failure.host),)
        except ValueError:
            name = failure.host
            addresses = await self._resolve(runner, name)
        return {address: await self._is_ignored(runner, address, failure, name) for address in addresses}

    async def _resolve(self, runner: JailRunner, name: str) -> tuple[str, ...]:
        addresses: tuple[str, ...] = ()
        if runner.jail.usedns in ("yes", "warn"):
            addresses = await self._names.addresses(name)
        if addresses and runner.jail.usedns == "warn":
            found = ", ".join(addresses)
            log.warning("[%s] Determined IP using DNS Lookup: %s = [%s]", runner.jail.name, printable(name, 100), found)
        return addresses

    async def _is_ignored(self, runner: JailRunner, address: str, failure: Failure, name: str) -> bool:
        if not runner.jail.ignorecommand or runner.is_settled(address):
            return False
        command = self._commands.get(runner.jail.name)
        if command is None:
            command = self._commands[runner.jail.name] = IgnoreCommand(runner.jail, clock=self._clock)
        async with self._turns:
            return await command.ignores(address, failure, name)

    async def stop(self) -> None:
        """End what is open: the next start asks again."""
        tasks = list(self._tasks.values())
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
        await self._names.stop()
