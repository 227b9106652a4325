"""What one ban tells its actions. Fail2ban calls it a ticket; its tags (`tags`) are made from it.

Nothing here asks the database or the network: what is costly is asked for when an action's text uses it.
"""

from __future__ import annotations

import ipaddress
import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field

from sipguard.model import Ban

MOST_MATCHES = 10
"""Lines of a ban that the database gives."""


@dataclass(frozen=True, slots=True)
class Past:
    """What is known of an address from before: failures and their lines, oldest first."""

    failures: int = 0
    lines: tuple[str, ...] = ()


def _no_past(_address: str, _jail: str | None) -> Past:
    return Past()


@dataclass(frozen=True, slots=True)
class JailTotals:
    """`<jail.banned>` and its like."""

    banned: int = 0
    banned_total: int = 0
    found: int = 0
    found_total: int = 0


@dataclass(frozen=True, slots=True)
class JailFacts:
    """What an action may ask of its jail."""

    name: str
    bantime: float = 600.0
    """Seconds."""
    past: Callable[[str, str | None], Past] = _no_past
    """Address and jail (None: all jails) → what is stored of it."""
    totals: Callable[[], JailTotals] = JailTotals


@dataclass(frozen=True, slots=True)
class Ticket:
    """One ban, as an action sees it; `address` of a blank ticket is empty."""

    ban: Ban
    jail: JailFacts
    lines: tuple[str, ...] = ()
    """The lines that led to the ban, where they are at hand (`matches`); an attacker wrote parts of them."""
    data: Mapping[str, str] = field(default_factory=dict)
    """What the filter captured, by group: `user` is `<F-USER>`."""
    restored: bool = False
    """An earlier run has made the ban."""
    operation: str = ""
    """The family of a blank ticket: that of the operation it is made for."""

    @property
    def family(self) -> str:
        """`inet4`, `inet6`, or that of the operation."""
        if not self.ban.address:
            return self.operation
        try:
            return f"inet{ipaddress.ip_network(self.ban.address).version}"
        except ValueError:
            return ""

    @property
    def matches(self) -> tuple[str, ...]:
        """The lines that led to the ban, from the database where they are not at hand: after a restart, for an unban."""
        if self.lines or not self.ban.address:
            return self.lines
        return self.jail.past(self.ban.address, self.jail.name).lines[-MOST_MATCHES:]

    @property
    def bantime(self) -> int:
        """Whole seconds; -1 for ever."""
        seconds = self.ban.until - self.ban.since if self.ban.address else self.jail.bantime
        return -1 if math.isinf(seconds) else round(seconds)


def blank(jail: JailFacts, now: float, family: str = "") -> Ticket:
    """The ticket of an operation that is about no address."""
    return Ticket(Ban("", jail.name, now, now, count=0), jail, operation=family)
