"""A firewall that enforces nothing and behaves like one that does: for dry runs, demonstrations and tests."""

from __future__ import annotations

from operator import attrgetter
from typing import TYPE_CHECKING

from sipguard.errors import FirewallError
from sipguard.firewall.feed_networks import in_time
from sipguard.firewall.targets import Target, latest, parse_target
from sipguard.model import FOREVER, Ban, Clock, Entry, Rule, Verdict

if TYPE_CHECKING:
    from collections.abc import Sequence


class MemoryFeeds:
    """Feeds in dictionaries: address or network → until."""

    def __init__(self, clock: Clock) -> None:
        self._clock = clock
        self.listed: dict[str, dict[str, float]] = {}

    def set(self, name: str, networks: Sequence[tuple[str, float]], verdict: Verdict = "reject") -> None:  # noqa: ARG002
        """Note what a feed lists. Raises `FirewallError` as a real backend does."""
        self.listed[name] = {item.text: item.until for item in in_time(networks, self._clock())}

    def change(
        self,
        name: str,
        networks: Sequence[tuple[str, float]],
        gone: Sequence[str] = (),
        verdict: Verdict = "reject",  # noqa: ARG002
    ) -> None:
        """Note what a feed lists besides, and no longer. Raises `FirewallError` as a real backend does."""
        now = self._clock()
        new = list(in_time(networks, now))
        removed = [item.text for item in in_time(((text, FOREVER) for text in gone), now)]
        if name not in self.listed:
            raise FirewallError(f"feed {name} is gone")
        listed = self.listed[name]
        for text in removed:
            listed.pop(text, None)
        for item in new:
            if listed.get(item.text, 0.0) <= now:
                listed[item.text] = item.until

    def drop(self, name: str) -> None:
        self.listed.pop(name, None)

    def names(self) -> list[str]:
        return sorted(self.listed)

    def entries(self, name: str) -> list[Entry]:
        """What a feed lists and whose time has not passed."""
        now = self._clock()
        return [Entry(text, name, until) for text, until in self.listed.get(name, {}).items() if until > now]


class MemoryFirewall:
    """Bans in a dictionary, ended by the clock as a kernel would end them."""

    name = "memory"
    why = ""
    ends_bans = True
    in_kernel = False
    changes: frozenset[str] = frozenset()
    told_of_all = True
    wire = None

    def __init__(self, *, clock: Clock) -> None:
        self._clock = clock
        self._jails: dict[str, dict[Target, float]] = {}
        self.feeds = MemoryFeeds(clock)

    def open(self, rules: Sequence[Rule]) -> None:
        """Keep the bans of these jails and forget the others'."""
        self._jails = {rule.jail: self._jails.get(rule.jail, {}) for rule in rules}

    def ban(self, bans: Sequence[Ban]) -> None:
        """Note these addresses with their time. Raises `FirewallError` as a real backend does."""
        for jail, targets in latest(bans, self._jails, self._clock()).items():
            self._jails[jail].update(targets)

    def unban(self, bans: Sequence[Ban]) -> None:
        targets = list(map(parse_target, map(attrgetter("address"), bans)))  # all of them, before any is let through
        for ban, target in zip(bans, targets, strict=True):
            self._jails.get(ban.jail, {}).pop(target, None)

    def entries(self) -> list[Entry]:
        """Every address whose time has not passed; the others are forgotten now."""
        now = self._clock()
        for jail, targets in self._jails.items():
            self._jails[jail] = {target: until for target, until in targets.items() if until > now}
        return [
            Entry(str(target), jail, until)
            for jail, targets in self._jails.items()
            for target, until in targets.items()
        ]

    def reach(self, rule: Rule) -> Rule:
        """The rule as it is."""
        return rule

    def verify(self) -> list[str]:
        """Nobody else can reach this firewall, so nothing is ever missing."""
        return []

    def show(self) -> str:
        """One line per ban: jail, address and the POSIX second of its end; then one per entry of a feed."""
        bans = [f"{entry.jail!r} {entry.address} until {entry.until}\n" for entry in self.entries()]
        listed = [entry for name in self.feeds.names() for entry in self.feeds.entries(name)]
        return "".join(bans) + "".join(f"feed {one.jail} {one.address} until {one.until}\n" for one in listed)

    def flush(self) -> None:
        self._jails, self.feeds.listed = {}, {}

    def room(self, address: str) -> None:
        """There is no limit."""

    def made_by_us(self, pid: int) -> bool:  # noqa: ARG002
        """Nobody reaches this one."""
        return False

    def close(self) -> None:
        """Nothing to let go of."""
