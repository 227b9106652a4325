"""What this node has published and what it still has to: its own bans, compared with what Redis has. No input or output."""

from __future__ import annotations

import secrets
from collections.abc import Collection, Iterable, Mapping
from typing import NamedTuple, cast

from sipguard.fleet.messages import CLASSES, LONGEST, Class, Event, Kind
from sipguard.model import Ban

NEAR = 2.0
"""A ban is published again if its end differs by more than this, in seconds: clocks are compared over a network."""


class OwnBan(NamedTuple):
    """A live ban of this node. `until` is Redis's time."""

    until: float
    evidence: Class
    jail: str = ""
    reason: str = ""


def own_ban(ban: Ban, offset: float) -> OwnBan | None:
    """A ban of this node by Redis's time; None if it rests on nothing. A line of a log by itself is `reported`."""
    if ban.evidence in ("unproven", "contradicted"):
        return None
    evidence = cast("Class", ban.evidence or "reported")
    return OwnBan(ban.until + offset, evidence, ban.jail, ban.reason)


class Publisher:
    """Compares. What Redis has is noted by `read`, at a connection's beginning, and by `wrote`."""

    def __init__(self, share: Iterable[str]) -> None:
        self.share = tuple(one for one in CLASSES if one in set(share))
        self.run = secrets.token_hex(6)
        self.number = 0
        """Number of the last event that may have been written."""
        self.bans: dict[tuple[Class, str], float] = {}
        """(class, network) → end, as Redis has it."""
        self.told: dict[tuple[Class, str], float] = {}
        """The same, as the others may have heard: Redis may have lost it since."""
        self.unbans: dict[str, float] = {}
        self.pardons: dict[str, float] = {}

    def read(
        self, bans: Mapping[tuple[Class, str], float], unbans: Mapping[str, float], pardons: Mapping[str, float]
    ) -> list[Event]:
        """Note what Redis has; returns the unbans and pardons that it has lost."""
        self.bans = dict(bans)
        for key, until in bans.items():
            self.told[key] = max(until, self.told.get(key, 0.0))
        lost = _missing("unban", self.unbans, unbans) + _missing("pardon", self.pardons, pardons)
        self.unbans = {**self.unbans, **unbans}
        self.pardons = {**self.pardons, **pardons}
        self.wrote(lost)
        return lost

    def due(
        self, network: str, own: Collection[OwnBan], now: float, *, banned: bool, pardoned: float = 0.0
    ) -> list[Event]:
        """What has to be written of a network. `own` are its live bans, `banned` whether any jail bans it, of whatever class."""
        back = max(self.unbans.get(network, 0.0), pardoned)
        best: dict[Class, OwnBan] = {}
        for ban in own:
            known = best.get(ban.evidence)
            if ban.evidence in self.share and ban.until > now and (known is None or ban.until > known.until):
                best[ban.evidence] = ban
        events = []
        for evidence, ban in best.items():
            there = self.bans.get((evidence, network), 0.0)
            # One that ends before what was taken back must be heard too: its end is moved beyond, and taken back in its turn.
            # In whole milliseconds, as it is written: what is read back must be the same.
            until = round(max(min(ban.until, now + LONGEST), back + 1.0), 3)
            enough = now + LONGEST / 2 if ban.until > now + LONGEST else until - NEAR
            if there <= back or there < enough:
                events.append(Event("ban", network, until, evidence, ban.jail, ban.reason))
        if not banned:
            until = self.published(network)
            if until > back and until > now + NEAR:
                events.append(Event("unban", network, until))
        return events

    def published(self, network: str) -> float:
        """The latest end that was published for a network."""
        return max(self.told.get((evidence, network), 0.0) for evidence in CLASSES)

    def stamp(self, events: Iterable[Event], now: float) -> list[Event]:
        """Number events before they are written; after a failure, their numbers are not used again.

        From now on the others may hear them, and answer before Redis has said that they are written.
        """
        stamped = []
        for event in events:
            self.number += 1
            if event.kind == "ban":
                key = event.evidence, event.network
                self.told[key] = max(event.until, self.told.get(key, 0.0))
            stamped.append(event._replace(at=now, run=self.run, number=self.number))
        return stamped

    def wrote(self, events: Iterable[Event]) -> None:
        """Note that these have been written."""
        for event in events:
            if event.kind == "ban":
                key = event.evidence, event.network
                self.bans[key] = max(event.until, self.bans.get(key, 0.0))
            else:
                told = self.unbans if event.kind == "unban" else self.pardons
                told[event.network] = max(event.until, told.get(event.network, 0.0))

    def networks(self) -> set[str]:
        """Every published ban."""
        return {network for _, network in self.told}

    def live(self, now: float) -> int:
        """How many bans are published and not over."""
        return sum(until > max(now, self.unbans.get(network, 0.0)) for (_, network), until in self.bans.items())

    def prune(self, now: float) -> None:
        """Forget what has ended."""
        self.bans = {key: until for key, until in self.bans.items() if until > now}
        self.told = {key: until for key, until in self.told.items() if until > now}
        self.unbans = {network: until for network, until in self.unbans.items() if until > now}
        self.pardons = {network: until for network, until in self.pardons.items() if until > now}


def _missing(kind: Kind, known: Mapping[str, float], there: Mapping[str, float]) -> list[Event]:
    return [Event(kind, network, until) for network, until in known.items() if there.get(network, 0.0) < until - 0.01]
