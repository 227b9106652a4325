"""What is known of one other node: its bans and unbans, within limits. No input or output.

Everything is a time that only grows: of a ban its end, of an unban the end up to which bans are over. So events may come twice
and in any order, and the last writer wins by expiry.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass, field

from sipguard.fleet.messages import AHEAD, LONGEST, BadMessageError, Beat, Event

GROWTH = 3.0
SMALL = 2000
WINDOW = 3600.0
"""A node is held if its bans grow by more than the factor `GROWTH` within this many seconds (`SMALL` is the least base)."""


@dataclass(slots=True)
class Contents:
    """What a node has published: network → time."""

    bans: dict[str, dict[str, float]] = field(default_factory=dict)
    """By class of evidence; only the classes that are accepted here."""
    unbans: dict[str, float] = field(default_factory=dict)
    pardons: dict[str, float] = field(default_factory=dict)

    def __len__(self) -> int:
        return self.count() + len(self.unbans) + len(self.pardons)

    def count(self) -> int:
        """How many bans, over or not."""
        return sum(map(len, self.bans.values()))

    def drop(self, network: str) -> bool:
        """Forget the bans of a network; whether there was one."""
        return bool([True for bans in self.bans.values() if bans.pop(network, None)])

    def until(self, network: str) -> float:
        """End of this node's ban of exactly this network; 0 if there is none."""
        until = max((bans.get(network, 0.0) for bans in self.bans.values()), default=0.0)
        return until if until > self.unbans.get(network, 0.0) else 0.0

    def classes(self, network: str) -> list[tuple[str, float]]:
        """Class and end of each ban of exactly this network."""
        back = self.unbans.get(network, 0.0)
        return [(name, until) for name, bans in self.bans.items() if (until := bans.get(network, 0.0)) > back]

    def prune(self, now: float) -> None:
        """Forget what has ended."""
        for told in (*self.bans.values(), self.unbans, self.pardons):
            for network in [network for network, until in told.items() if until <= now]:
                del told[network]


class Replica:
    """One other node. `size` is the most bans accepted from it."""

    def __init__(self, name: str, *, size: int, accept: tuple[str, ...]) -> None:
        self.name = name
        self.contents = Contents()
        self.beat: Beat | None = None
        self.run = ""
        self.number = 0
        """Number of the last event that was applied."""
        self.seen_run, self.seen = "", 0
        """Run and number of the latest event that was heard, whether something before it is missing or not."""
        self.held = ""
        """Why the node is held; bans applied before stay until they end."""
        self.withdrawn: list[str] = []
        """The bans that were taken back when the node was last held."""
        self.refused: Counter[str] = Counter()
        self.lag = 0.0
        """Seconds from the writing of the last event to its reading."""
        self.gap = True
        """Whether the sets must be read, since events are missing or none was ever read."""
        self._size = self._allowed = size
        self._accept = accept
        self._fresh: dict[str, None] = {}
        """The bans of the present window, which are taken back if there are too many."""
        self._base = -1
        self._window = 0.0

    def take(self, event: Event, now: float) -> list[str]:
        """Apply an event and return the networks whose end may have changed. Counts what is refused."""
        if event.at > now + AHEAD or event.until > now + LONGEST + AHEAD:
            self.refused["a time in the future"] += 1
            return []
        self.follow(event)
        if self.held and event.kind == "ban":
            self.refused["the node is held"] += 1
            return []
        if event.kind != "ban":
            told = self.contents.unbans if event.kind == "unban" else self.contents.pardons
            return self._raise(told, event.network, event.until, now)
        if event.evidence not in self._accept:
            self.refused[f"class {event.evidence}"] += 1
            return []
        new = not self.contents.until(event.network)
        if new and event.network not in self._fresh:
            self._open_window(now)
            self._fresh[event.network] = None
            if self._base + len(self._fresh) > max(self._base, SMALL) * GROWTH:
                return self._hold_growth()
        return self._raise(self.contents.bans.setdefault(event.evidence, {}), event.network, event.until, now)

    def _raise(self, told: dict[str, float], network: str, until: float, now: float) -> list[str]:
        if until <= max(now, told.get(network, 0.0)):
            return []
        if network not in told and len(told) >= self._allowed:
            self.contents.prune(now)
            if len(told) >= self._allowed:
                return self.hold(f"it publishes more than {self._allowed:,} bans")
        told[network] = until
        return [network]

    def follow(self, event: Event) -> None:
        """Notice events that are missing before this one."""
        self.seen = max(event.number, self.seen) if event.run == self.seen_run else event.number
        self.seen_run = event.run
        if event.run != self.run or event.number > self.number + 1:
            self.gap = True
        elif event.number > self.number:
            self.number = event.number

    def _open_window(self, now: float) -> None:
        if self._base < 0 or now > self._window + WINDOW:
            self._window, self._base = now, self.contents.count()
            self._fresh.clear()

    def _hold_growth(self) -> list[str]:
        most = int(max(self._base, SMALL) * GROWTH)
        return self.hold(f"its bans grew from {self._base:,} to more than {most:,} within an hour")

    def hold(self, why: str) -> list[str]:
        """Hold the node: apply nothing more until it is accepted. Returns the networks of bans that are taken back.

        Those are what has come within the present window, as nobody knows since when it was wrong.
        """
        self.withdrawn = [network for network in self._fresh if self.contents.drop(network)]
        self.held = self.held or why
        self._fresh.clear()
        return self.withdrawn

    def fits(self, size: int) -> bool:
        """Whether this number of bans is within the limits on size and growth; if not, hold the node."""
        if size > self._allowed:
            self.hold(f"it publishes {size:,} bans, more than {self._allowed:,}")
        elif self._base >= 0 and size > max(self._base, SMALL) * GROWTH:
            self.hold(f"its bans grew from {self._base:,} to {size:,} within an hour")
        else:
            self.held = ""
        return not self.held

    def fits_all(self, size: int) -> bool:
        """Whether bans, unbans and pardons together are at most twice the bans allowed; if not, hold the node."""
        if size > 2 * self._allowed:
            self.hold(f"it publishes {size:,} bans and unbans, more than {2 * self._allowed:,}")
        return size <= 2 * self._allowed

    def replace(self, contents: Contents, run: str, number: int, now: float) -> list[str]:
        """Apply the node's complete sets and return the networks whose end may have changed."""
        before, self.contents = self.contents, contents
        self.run, self.number, self.gap = run, number, False
        self._window, self._base = now, contents.count()
        self._fresh.clear()
        old, new = before.bans, contents.bans
        moved = {
            network for name in old.keys() | new.keys() for network in _changed(old.get(name, {}), new.get(name, {}))
        }
        moved |= set(_changed(before.unbans, contents.unbans)) | set(_changed(before.pardons, contents.pardons))
        return list(moved)

    def let_go(self, size: int) -> None:
        """Release the node: the operator accepts this number of bans."""
        self._allowed = max(self._size, size + SMALL)
        self._base, self.held, self.gap = size, "", True

    def refuse(self, error: BadMessageError) -> None:
        """Count what could not be read."""
        self.refused[str(error)] += 1


def _changed(old: Mapping[str, float], new: Mapping[str, float]) -> list[str]:
    return [network for network in old.keys() | new.keys() if old.get(network) != new.get(network)]
