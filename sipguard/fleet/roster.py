"""All other nodes together: what this node rejects because of them, and on whose word. No input or output."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from itertools import islice
from typing import NamedTuple

from sipguard.fleet.messages import CLASSES, Event
from sipguard.fleet.replica import Contents, Replica
from sipguard.networks import BITS, parse, write

MOST_NODES = 1000
"""Most nodes that are read; further names are ignored."""
MOST_REASONS = 10_000
"""Bans whose reason is remembered, for `explain`."""
SLICE = 20_000
"""Bans looked at in one call of `prune`: a few milliseconds."""


class FleetChange(NamedTuple):
    """A network whose rejection now ends at `after` instead of `before`; 0 means not rejected."""

    network: str
    before: float
    after: float


class Claim(NamedTuple):
    """What one node says of an address."""

    node: str
    network: str
    until: float
    evidence: str
    jail: str = ""
    reason: str = ""


class Roster:
    """The replicas of all nodes. Times are Redis's."""

    def __init__(self, *, size: int, accept: Iterable[str], unban_from: Iterable[str], max_time: float) -> None:
        self.replicas: dict[str, Replica] = {}
        self.ends: dict[str, float] = {}
        """Network → until when it is to be rejected here."""
        self._size = size
        self.accept = tuple(one for one in CLASSES if one in set(accept))
        self._unban_from = frozenset(unban_from)
        self._max_time = max_time
        self.pardons: dict[str, float] = {}
        """This node's own pardons."""
        self._reasons: dict[tuple[str, str], tuple[str, str]] = {}
        self._lengths: dict[int, set[int]] = {4: set(), 6: set()}
        self._sweep: list[str] = []
        self._next: list[str] = []

    def replica(self, node: str) -> Replica | None:
        """The replica of a node, created if needed; None if there are too many nodes."""
        if node not in self.replicas:
            if len(self.replicas) >= MOST_NODES:
                return None
            self.replicas[node] = Replica(node, size=self._size, accept=self.accept)
        return self.replicas[node]

    def is_trusted(self, node: str) -> bool:
        """Whether a pardon of this node is heard."""
        return node in self._unban_from

    def take(self, replica: Replica, event: Event, now: float) -> list[FleetChange]:
        """Apply an event of a node."""
        if event.kind == "pardon" and not self.is_trusted(replica.name):
            replica.refused["a fleet-wide unban: not in unban_from"] += 1
            replica.follow(event)
            return []
        touched = replica.take(event, now)
        if event.kind == "ban" and touched:
            self._reasons[replica.name, event.network] = event.jail, event.reason
            if len(self._reasons) > MOST_REASONS:
                del self._reasons[next(iter(self._reasons))]
        return self.settle(replica, touched, now)

    def replace(self, replica: Replica, contents: Contents, run: str, number: int, now: float) -> list[FleetChange]:
        """Apply the complete sets of a node."""
        if not self.is_trusted(replica.name):
            contents.pardons.clear()
        return self.settle(replica, replica.replace(contents, run, number, now), now)

    def settle(self, replica: Replica, networks: Iterable[str], now: float) -> list[FleetChange]:
        """The changes to make here after a node's bans of these networks have changed."""
        changes = []
        for network in networks:
            before = self.ends.get(network, 0.0)
            until = replica.contents.until(network)
            if until > before and until > self.pardoned(network):
                after = min(until, now + self._max_time)
            elif before > now:
                # It may have been this node's: what the others say counts.
                after = min(before, self._until(network))
            else:
                continue
            if after <= now:
                self.ends.pop(network, None)
                after = 0.0
            else:
                self._remember_length(network)
                self.ends[network] = after
            if after != before:
                changes.append(FleetChange(network, before if before > now else 0.0, after))
        return changes

    def _until(self, network: str) -> float:
        until = max((replica.contents.until(network) for replica in self.replicas.values()), default=0.0)
        return until if until > self.pardoned(network) else 0.0

    def pardoned(self, network: str) -> float:
        """Up to which end the bans of this network are taken back by those who may do so."""
        until = self.pardons.get(network, 0.0)
        for node in self._unban_from:
            if node in self.replicas:
                until = max(until, self.replicas[node].contents.pardons.get(network, 0.0))
        return until

    def pardon(self, network: str, until: float, now: float) -> list[FleetChange]:
        """This node's operator lets a network through everywhere."""
        self.pardons[network] = max(until, self.pardons.get(network, 0.0))
        return self.settle(Replica("", size=0, accept=()), [network], now)

    def forget(self, node: str, now: float) -> list[FleetChange]:
        """Forget a node that has been silent for long, and its bans."""
        replica = self.replicas.pop(node)
        networks = {network for bans in replica.contents.bans.values() for network in bans}
        return self.settle(Replica(node, size=0, accept=()), networks, now)

    def claims(self, address: str) -> Iterator[Claim]:
        """Every node's ban of this address, or of a network that contains it."""
        for network in self.around(address):
            for node, replica in self.replicas.items():
                for evidence, until in replica.contents.classes(network):
                    jail, reason = self._reasons.get((node, network), ("", ""))
                    yield Claim(node, network, until, evidence, jail, reason)

    def around(self, address: str) -> list[str]:
        """This address or network, and those that hold it, of lengths that are in use."""
        version, first, length = parse(address)
        found = [write(version, first, length)]
        for shorter in sorted(self._lengths[version], reverse=True):
            if shorter < length:
                bits = BITS[version] - shorter
                found.append(write(version, first >> bits << bits, shorter))
        return found

    def _remember_length(self, network: str) -> None:
        if "/" in network:
            version, _, length = parse(network)
            self._lengths[version].add(length)

    def own_addresses(self) -> set[str]:
        """The other nodes' own addresses: one node never rejects another."""
        return {one for replica in self.replicas.values() if replica.beat for one in replica.beat.addresses}

    def prune(self, now: float) -> None:
        """Forget some of what has ended: one node's, and a part of all."""
        self._next = self._next or list(self.replicas)
        if self._next and (replica := self.replicas.get(self._next.pop())):
            replica.contents.prune(now)
        self.pardons = {network: until for network, until in self.pardons.items() if until > now}
        self._sweep = self._sweep or list(self.ends)
        for network in islice(reversed(self._sweep), SLICE):
            if self.ends.get(network, now + 1) <= now:
                del self.ends[network]
        del self._sweep[-SLICE:]
