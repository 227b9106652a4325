"""The counters of one jail."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(slots=True)
class Totals:
    """What a jail has seen since the daemon started."""

    failures: int = 0
    ignored: int = 0
    old: int = 0
    after_ban: int = 0
    no_address: int = 0
    unproven: int = 0
    """Failures that may be anybody's: nothing proves the address."""
    contradicted: int = 0
    """Lines that accuse an address which has sent nothing: somebody writes into the log."""
    repeated: int = 0
    """Failures that told of an attempt again."""
    misconfigured: int = 0
    """Enough for a ban, but of few users at an address that has logged in (`maxusers`)."""
    successes: int = 0
    bans: int = 0
    oversize: int = 0
    last_failure: float | None = None
