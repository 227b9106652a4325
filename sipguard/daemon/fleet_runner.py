"""Joins the fleet with the bans, the firewall's thread and those who are never rejected. A daemon without loads none of it."""

from __future__ import annotations

import asyncio
import importlib.util
import logging
from collections import Counter
from collections.abc import Callable, Collection, Iterable, Iterator, Mapping
from typing import TYPE_CHECKING, Any

from sipguard.config.fleet import silent_fleet
from sipguard.config.settings import Settings
from sipguard.daemon.bans import Bans
from sipguard.daemon.foreign_set import ForeignSet, drop_sets
from sipguard.daemon.friends import KEEP, Friends
from sipguard.daemon.jail_runner import JailRunner
from sipguard.daemon.state_writer import StateWriter
from sipguard.errors import ConfigError, FleetError
from sipguard.model import Ban, Clock, Fleet
from sipguard.networks import admit
from sipguard.policy.ignore import own_addresses

if TYPE_CHECKING:
    from sipguard.fleet.node import Node
    from sipguard.fleet.roster import FleetChange

log = logging.getLogger("sipguard.fleet")

SET = "fleet"
"""Name of the firewall's sets."""
NOTED_EVERY = 600.0
"""Seconds between two notes of an address's login in the state."""
TOLD_SINGLY = 20
"""So many changes at once are logged one by one; more are summed up."""


def need_redis(settings: Settings) -> None:
    """Raise `ConfigError` if there is a fleet and the library for it is not there."""
    if settings.fleet and importlib.util.find_spec("redis") is None:
        raise ConfigError("[fleet] needs the library redis: pip install sipguard[fleet]", str(settings.config_file))


class FleetRunner:
    """The fleet of the daemon. Every method may be called whether there is one or not."""

    def __init__(
        self,
        bans: Bans,
        runners: Mapping[str, JailRunner],
        store: StateWriter,
        *,
        clock: Clock,
        complete: Callable[[], bool],
        never: Callable[[], Iterable[str]],
    ) -> None:
        """`complete` tells whether all bans of earlier runs are known, `never` whom no list may reject."""
        self._bans = bans
        self._runners = runners
        self._store = store
        self._clock = clock
        self._complete = complete
        self._never = never
        self._fleet: Fleet | None = None
        self._node: Node | None = None
        self._set: ForeignSet | None = None
        self._friends = Friends()
        self._refused: Counter[str] = Counter()
        self._tasks: list[asyncio.Task[None]] = []

    async def start(self, settings: Settings) -> None:
        """Run by these settings; a fleet that they leave as it is goes on."""
        if settings.fleet == self._fleet and self._node:
            await self.check()
            return
        await self.stop()
        self._fleet = settings.fleet
        if settings.fleet is None:
            await drop_sets(self._bans.firewall_worker, SET)
            return
        try:
            need_redis(settings)
        except ConfigError as error:
            log.error("%s; nothing is shared", error)
            return
        if settings.fleet.url.startswith("rediss:"):
            from sipguard.daemon import asyncio_tls  # noqa: PLC0415 - loads OpenSSL

            asyncio_tls.restore()
        from sipguard.fleet.node import Node  # noqa: PLC0415 - only where there is a fleet

        self._friends = Friends(self._store.logins(self._clock() - KEEP))
        self._node = Node(settings.fleet, self, clock=self._clock)
        self._set = ForeignSet(SET, self._bans.firewall_worker, self._entries, verdict=settings.fleet.verdict)
        self._friends.set_never(self._protected())
        self._bans.moved = self._moved
        self._tasks = [
            asyncio.create_task(job, name=f"fleet {name}")
            for name, job in (("node", self._node.run()), ("set", self._set.run()))
        ]

    async def stop(self) -> None:
        """Hear and tell nothing more; what the firewall has stays."""
        self._bans.moved = lambda _bans: None
        if self._node:
            self._node.ending = True
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)
        self._tasks = []
        self._node = self._set = self._fleet = None

    async def check(self) -> None:
        """Heed new addresses of this machine and of other nodes, put back what was removed. For every look around."""
        if self._set:
            if self._friends.set_never(self._protected()):
                self._set.make_anew()
            await self._set.check()

    async def reapply(self) -> None:
        """The firewall was flushed: give it the others' bans again."""
        if self._set:
            self._set.make_anew()
            await self._set.settled()

    def shift(self, seconds: float) -> None:
        """The clock was set."""
        if self._node:
            self._node.shift(seconds)
            self._friends.shift(seconds)

    def registered(self, address: str) -> None:
        """Somebody has logged in from this address: no other node's ban rejects it."""
        if not self._node:
            return
        now = self._clock()
        before = self._friends.login(address, now)
        if now - before > NOTED_EVERY:
            self._store.changes.logins[address] = now
            self._store.touched()
        if now - before > KEEP:
            for network in self._node.roster.around(address):
                if self._node.roster.ends.get(network):
                    self._drop(network)

    # What the fleet asks of the daemon.

    def bans(self, network: str) -> Collection[Ban]:
        """The live bans of exactly this network."""
        return self._bans.live.of_network(network)

    def networks(self) -> Iterable[str]:
        """Every network that is banned."""
        return {ban.address for ban in self._bans.live}

    def is_complete(self) -> bool:
        """Whether the bans of earlier runs are known."""
        return self._complete()

    def own_addresses(self) -> Iterable[str]:
        """This machine's addresses, those alone that others can meet."""
        return [address for address in own_addresses() if _is_public(address)]

    def caught_up(self) -> None:
        """All nodes are read: what an earlier run has left in the firewall is over."""
        if self._set:
            self._set.make_anew()

    def changed(self, changes: Iterable[FleetChange]) -> None:
        """Others' bans have begun or ended."""
        if self._node is None or self._set is None:
            return
        offset, now, told = self._node.link.offset, self._clock(), []
        for network, before, after in changes:
            if not after:
                self._set.change(network, 0.0, known=True)
                told.append(f"Unban {network}")
            elif why := self._friends.reason(network, now):
                self._refused[why] += 1
                told.append(f"Ignore {network}: {why}")
            else:
                self._set.change(network, after - offset, known=before > 0)
                if not before:
                    told.append(f"Ban {network}")
        if len(told) > TOLD_SINGLY:
            counts = Counter(line.partition(" ")[0] for line in told)
            log.info("[fleet] %s", ", ".join(f"{what} {count} of others" for what, count in counts.items()))
        else:
            for line in told:
                log.info("[fleet] %s", line)

    def release(self, network: str) -> None:
        """An operator elsewhere lets a network through, and this node obeys."""
        bans = self._bans.live.of_network(network)
        for ban in bans:
            if runner := self._runners.get(ban.jail):
                runner.judge.window.forget(ban.address)
        self._bans.release(bans)

    # What operators ask.

    def status(self) -> dict[str, Any] | None:
        """What `sipguard fleet` shows; None without a fleet."""
        if not self._node or not self._set:
            return None
        from sipguard.fleet import report  # noqa: PLC0415 - as above

        told = report.status(self._node)
        hints = silent_fleet(self._fleet, (runner.jail for runner in self._runners.values()))
        hint = hints[0] if hints else None
        return {**told, "firewall": self._set.problem, "ignored": dict(self._refused), "hint": hint}

    def claims(self, address: str) -> list[dict[str, Any]]:
        """The nodes that ban an address, and whether it is rejected here because of that."""
        if not self._node:
            return []
        from sipguard.fleet import report  # noqa: PLC0415 - as above

        now = self._clock()
        told = []
        for one in report.claims(self._node, address):
            why = self._friends.reason(one.network, now) or ""
            rejected = not why and one.network in self._node.roster.ends
            told.append({**one._asdict(), "rejected": rejected, "because": why})
        return told

    def pardon(self, address: str) -> list[str]:
        """Let an address through on every node that takes that from this one; gives the networks. Raises `FleetError`."""
        if not self._node:
            raise FleetError("there is no fleet; write [fleet] url = … to sipguard.toml")
        networks = self._node.roster.around(address)
        for network in networks:
            if not self._node.pardon(network):
                raise FleetError("too many unbans wait for Redis; see `sipguard fleet`")
        return networks

    def accept(self, name: str) -> None:
        """Take what a held node publishes. Raises `FleetError`."""
        if not self._node or not self._node.accept(name):
            raise FleetError(f"no node named {name}; see `sipguard fleet`")

    def _moved(self, bans: Iterable[Ban]) -> None:
        if self._node:
            self._node.moved(ban.address for ban in bans)

    def _drop(self, network: str) -> None:
        if self._set:
            self._set.change(network, 0.0, known=True)

    def _entries(self) -> Iterator[tuple[str, float]]:
        """All that is to be rejected, by this machine's clock."""
        if self._node:
            offset, now = self._node.link.offset, self._clock()
            for network, until in self._node.roster.ends.items():
                if until - offset > now and not self._friends.reason(network, now):
                    yield network, until - offset

    def _protected(self) -> Iterable[str]:
        others = self._node.roster.own_addresses() if self._node else ()
        return {*self._never(), *others}


def _is_public(address: str) -> bool:
    try:
        admit(address)
    except ValueError:
        return False
    return True
