"""One jail's lines and events before the wire: what is to be weighed, and what of it must survive a crash."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from sipguard.daemon.liberal import LiberalReading
from sipguard.model import Failure, LogEvent
from sipguard.policy.corroboration import SIGHTED, Corroboration, Sight
from sipguard.policy.pairing import TOLERANCE
from sipguard.policy.wire import event_of
from sipguard.wire_model import Attempt

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from sipguard.daemon.log_detectors import SharedDetectors
    from sipguard.model import Chunk, Jail
    from sipguard.state.changes import Changes
    from sipguard.wire_model import Unpaired

EVENTS = "events"
"""In the place of a log's path: what a server's events tell."""


class Examiner:
    """Between a jail's detectors and its judge. Raises `ConfigError`: its filter cannot be used."""

    def __init__(self, jail: Jail, sight: Sight, detectors: SharedDetectors) -> None:
        """`detectors` are those of liberal readings."""
        self.corroboration = Corroboration(jail.filter, sight)
        self._jail = jail.name
        self._sight = sight
        self.liberal = LiberalReading(jail, detectors) if jail.liberal is not None else None
        self._logs: set[str] = set()

    def lines(self, events: Sequence[LogEvent], log: str, now: float, changes: Changes) -> list[LogEvent]:
        """What is to be weighed of what a log, or a server's events, tell."""
        self._logs.add(log)
        found: list[LogEvent] = []
        for event in events:
            if isinstance(event, Failure):
                found += self.corroboration.testify(event, now, log)
            else:
                found.append(event)
        self._keep(changes)
        return found

    def attempts(self, attempts: Iterable[Attempt], now: float, changes: Changes) -> list[LogEvent]:
        """What is to be weighed of what the wire has seen: proven logins too."""
        found: list[LogEvent] = []
        for attempt in attempts:
            if attempt.verdict == "success" and attempt.evidence == "proven" and (event := event_of(attempt)):
                found.append(event)
            else:
                found += self.corroboration.witness(attempt, now)
        self._keep(changes)
        return found

    def hear(self, chunk: Chunk, now: float) -> list[LogEvent]:
        """What is to be weighed of what only a liberal reading of a log finds: nothing unless the wire proves who fails."""
        if self.liberal is None:
            return []
        if not self.is_liberal(now):
            self.liberal.leave()
            return []
        return [one for failure in self.liberal.read(chunk) for one in self.corroboration.hear(failure, now)]

    def is_liberal(self, now: float) -> bool:
        """Whether logs are read liberally too: the wire has proven some attempts, and misses nothing now."""
        if self.liberal is None or self.liberal.problem or self.corroboration.proven < SIGHTED:
            return False
        return not self._sight.unable("", "") and not self._sight.blindness(now - TOLERANCE, now, "")

    def due(self, now: float, changes: Changes) -> list[LogEvent]:
        """What is to be weighed of what has waited long enough."""
        found: list[LogEvent] = list(self.corroboration.due(now))
        self._keep(changes)
        return found

    def expire(self, now: float, changes: Changes) -> None:
        """Forget what is too old to be told of."""
        self.corroboration.expire(now)
        self._keep(changes)

    def end(self, changes: Changes) -> list[LogEvent]:
        """Nothing is examined any more; what is left to be weighed."""
        found: list[LogEvent] = list(self.corroboration.end())
        self._keep(changes)
        return found

    def restore(self, rows: Iterable[Unpaired], now: float, changes: Changes) -> list[LogEvent]:
        """What an earlier run has left; what is to be weighed of it."""
        rows = list(rows)
        self.corroboration.restore([row for row in rows if row.kind == "wire"], _attempt_of)
        return self.lines([failure_of(row) for row in rows if row.kind == "line"], "", now, changes)

    def _keep(self, changes: Changes) -> None:
        """What waits is stored together with the position of its log, and forgotten together with what it has led to."""
        corroboration = self.corroboration
        if not corroboration.kept and not corroboration.settled:
            return
        for number, row in corroboration.kept.items():
            changes.waiting[number] = (self._jail, row)
        for number in corroboration.settled:
            if changes.waiting.pop(number, None) is None:
                changes.settled.add(number)
        corroboration.kept.clear()
        corroboration.settled.clear()

    def status(self, now: float) -> dict[str, Any]:
        """For people: what was confirmed, what was not, and why."""
        one = self.corroboration
        return {
            "sighted": {log or "journal": one.is_sighted(log, now) for log in sorted(self._logs)},
            "confirmed": one.confirmed,
            "no_failure": one.cleared,
            **{name: one.classes[name] for name in ("corroborated", "unproven", "contradicted", "reported")},
            "reasons": dict(one.reasons),
            "liberal": self.is_liberal(now),
            "hearsay": one.hearsay_counted,
        }


def failure_of(row: Unpaired) -> Failure:
    """A line that waited when an earlier run ended."""
    return Failure(
        row.address, row.time, user=row.user or None, users=(row.user,) if row.user else (), regex=row.regex,
        lines=(row.line,) if row.line else (),
    )  # fmt: skip


def _attempt_of(row: Unpaired) -> Attempt:
    """An attempt that an earlier run has counted: what is needed to know its line."""
    return Attempt(row.time, row.address, row.address, 0, "", 0, "udp", "", row.user, "", "", 0, "failure", "proven")
