"""One jail's failures that count for nothing, since nothing proves the address: shown by `explain`, alarms, and the meter."""

from __future__ import annotations

import logging
from typing import TYPE_CHECKING

from sipguard.addresses import network_of
from sipguard.policy.doubts import Doubt, Doubts
from sipguard.policy.metering import METERED
from sipguard.policy.wire import STRONG, told_as
from sipguard.text import printable

if TYPE_CHECKING:
    from collections.abc import Callable

    from sipguard.daemon.jail_totals import Totals
    from sipguard.model import Clock, Failure, Jail
    from sipguard.policy.judge import Judgement
    from sipguard.policy.metering import Metering
    from sipguard.wire_model import Meter

log = logging.getLogger("fail2ban.filter")

_TOLD_EVERY = 3600.0
"""Seconds between two lines of our log about a log that somebody writes into."""


class Unproven:
    """Takes what the judge has found to be unproven or contradicted. `tell` logs what has waited, in its order."""

    def __init__(
        self, jail: Jail, *, alarm: Callable[[str, str, Failure], bool], clock: Clock, tell: Callable[[], None]
    ) -> None:
        """`alarm` tells others, and gives whether it is news to them."""
        self.doubts = Doubts()
        self.metering: Metering | None = None
        """Counts what is unproven, where the wire is watched: see `corroborator`."""
        self.meter: Callable[[Meter], bool] = lambda _order: False
        """Has the kernel hold an address back; whether it can."""
        self._jail = jail
        self._alarm = alarm
        self._clock = clock
        self._tell = tell
        self._told = float("-inf")

    def reconfigure(self, jail: Jail) -> None:
        """Run by another definition of the jail."""
        self._jail = jail
        if self.metering is not None:
            self.metering.limit(jail)

    def take(self, failure: Failure, judgement: Judgement, totals: Totals) -> None:
        """Remember it for `explain`; count it towards the meter if it may be a guess."""
        line = failure.lines[-1] if failure.lines else ""
        self.doubts.add(judgement.source, Doubt(judgement.time, failure.user, told_as(failure.evidence, line)))
        if failure.evidence == "contradicted":
            totals.contradicted += 1
            self._tell_of_forgery(judgement)
            return
        totals.unproven += 1
        if "alarm" in failure.tags and self._alarm(self._jail.name, judgement.source, failure):
            self._tell()
            log.warning(
                "[%s] %s may know the password of %s: guesses with invented nonces, and the server has taken one",
                self._jail.name, judgement.source, printable(failure.user or "a user", 64),
            )  # fmt: skip
        if "blind" not in failure.tags and failure.evidence not in STRONG:
            self.guessed(judgement.source, judgement.address, failure.user or "", judgement.time)

    def guessed(self, source: str, subject: str, user: str, time: float) -> None:
        """Somebody has guessed over UDP, in this address's name at least; `subject`: what a ban would be of."""
        if self.metering is not None:
            self._hold_back(self._metered(source, subject), user, time, self.metering.unproven)

    def counted(self, source: str, subject: str, user: str, time: float) -> None:
        """A failure that counts towards a ban, and leaves the fewer guesses for others."""
        if self.metering is not None:
            self._hold_back(self._metered(source, subject), user, time, self.metering.counted)

    def _hold_back(
        self, who: str, user: str, time: float, count: Callable[[str, str, float, float], Meter | None]
    ) -> None:
        now = self._clock()
        is_held = self.metering is not None and self.metering.holds(who, now)
        order = count(who, user, time, now)
        if order is not None and self.meter(order) and not is_held:
            self._tell()
            plural = "" if order.requests == 1 else "s"
            log.warning(
                "[%s] %s is held back for failures that nothing proves: it gets %d more request%s over UDP",
                self._jail.name, who, order.requests, plural,
            )  # fmt: skip

    def _metered(self, source: str, subject: str) -> str:
        if subject == source or self._jail.ipv6prefix > METERED:
            return source
        return network_of(source, METERED)

    def _tell_of_forgery(self, judgement: Judgement) -> None:
        now = self._clock()
        if not 0 <= now - self._told < _TOLD_EVERY:
            self._told = now
            self._tell()
            log.warning(
                "[%s] a line accuses %s, which has sent nothing: somebody writes into the log; it counts for nobody",
                self._jail.name, judgement.source,
            )  # fmt: skip
