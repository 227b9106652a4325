"""A ban as seen by its actions. Fail2ban calls it a ticket; `tags` computes its tags.

Nothing here queries the database or the network until an action uses the value.
"""

from __future__ import annotations

import ipaddress
import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field

from sipguard.model import Ban

MOST_MATCHES = 10
"""Most lines of a ban read from the database."""


@dataclass(frozen=True, slots=True)
class Past:
    """Earlier failures of an address and their lines, oldest first."""

    failures: int = 0
    lines: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class JailTotals:
    """Totals of a jail: `<jail.banned>` and the like."""

    banned: int = 0
    banned_total: int = 0
    found: int = 0
    found_total: int = 0


@dataclass(frozen=True, slots=True)
class JailFacts:
    """What an action can query about its jail."""

    name: str
    bantime: float = 600.0
    """Seconds."""
    past: Callable[[str, str | None], Past] = lambda _address, _jail: Past()
    """Address and jail (None: all jails) → its stored history."""
    totals: Callable[[], JailTotals] = JailTotals


@dataclass(frozen=True, slots=True)
class Ticket:
    """One ban as seen by an action. A blank ticket has an empty `address`."""

    ban: Ban
    jail: JailFacts
    lines: tuple[str, ...] = ()
    """The lines that led to the ban, if in memory (see `matches`). An attacker wrote parts of them."""
    data: Mapping[str, str] = field(default_factory=dict)
    """Groups captured by the filter: `user` is `<F-USER>`."""
    restored: bool = False
    """Whether the ban was made by an earlier run."""
    operation: str = ""
    """Address family of a blank ticket's operation."""

    @property
    def family(self) -> str:
        """`inet4` or `inet6`; for a blank ticket, the operation's family."""
        if not self.ban.address:
            return self.operation
        try:
            return f"inet{ipaddress.ip_network(self.ban.address).version}"
        except ValueError:
            return ""

    @property
    def matches(self) -> tuple[str, ...]:
        """The lines that led to the ban; read from the database if not in memory (after a restart, for an unban)."""
        if self.lines or not self.ban.address:
            return self.lines
        return self.jail.past(self.ban.address, self.jail.name).lines[-MOST_MATCHES:]

    @property
    def bantime(self) -> int:
        """Whole seconds; -1 for ever."""
        seconds = self.ban.until - self.ban.since if self.ban.address else self.jail.bantime
        return -1 if math.isinf(seconds) else round(seconds)


def blank(jail: JailFacts, now: float, family: str = "") -> Ticket:
    """A ticket for an operation that concerns no address."""
    return Ticket(Ban("", jail.name, now, now, count=0), jail, operation=family)
