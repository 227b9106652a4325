"""Failures that cannot be weighed at once: a host name has to be resolved first, or an `ignorecommand` asked.

They wait here, beside the event loop's work, and come back to their jail. Whoever is asked about may be an
attacker's choice, so only so many wait; one that finds no room is counted as it would be without an answer.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Mapping
from typing import TYPE_CHECKING

from sipguard.addresses import canonical
from sipguard.daemon.ignorecommand import IgnoreCommand
from sipguard.daemon.resolver import Resolver
from sipguard.text import printable

if TYPE_CHECKING:
    from sipguard.daemon.jail_runner import JailRunner
    from sipguard.daemon.state_writer import StateWriter
    from sipguard.model import Clock, Failure

log = logging.getLogger("fail2ban.filter")

MOST_WAITING = 10_000
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
        self._tasks: set[asyncio.Task[None]] = set()
        self._turns = asyncio.Semaphore(AT_ONCE)

    def ask(self, runner: JailRunner, failure: Failure) -> bool:
        """Take a failure over; False if there is no room."""
        if len(self._tasks) >= MOST_WAITING:
            return False
        task = asyncio.get_running_loop().create_task(self._settle(runner.jail.name, failure))
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)
        return True

    def forget_commands(self) -> None:
        """The jails have changed: their commands may have, too."""
        self._commands.clear()

    async def _settle(self, jail: str, failure: Failure) -> None:
        runner = self._runners.get(jail)
        if runner is None:
            return
        name = ""
        addresses: tuple[str, ...]
        try:
            addresses = (canonical(failure.host),)
        except ValueError:
            name = failure.host
            addresses = await self._resolve(runner, name)
        ignored = {address: await self._is_ignored(runner, address, failure, name) for address in addresses}
        now = self._runners.get(jail)
        if now is None:
            return  # its jail has gone while somebody was asked
        for address in addresses:
            if ignored[address]:
                now.ignored(address, "command")
            else:
                now.weigh(failure, self._store.changes, address=address)
        if not addresses:
            now.weigh(failure, self._store.changes, answered=True)
        self._store.touched()

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
        """End what is open."""
        for task in list(self._tasks):
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)
        await self._names.stop()
