"""What every kind of action has in common: it is told of bans, one notice after the other, and may fail."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal, Protocol

from sipguard.actions.ticket import Ticket
from sipguard.errors import SipguardError

Verb = Literal["start", "ban", "prolong", "check", "unban", "flush", "reload", "stop"]
"""`check`: lines of a banned address keep coming. `flush`: every ban ends at once."""


class ActionError(SipguardError):
    """An action did not do its work: a command's exit status, a server's answer, a time limit."""


@dataclass(frozen=True, slots=True)
class Notice:
    """One thing to tell an action. `start`, `flush`, `reload` and `stop` are about no address: theirs is a blank ticket."""

    verb: Verb
    ticket: Ticket


class Worker(Protocol):
    """One action of one jail at work."""

    norestored: bool
    """Not told of bans that an earlier run has made."""
    essential: bool
    """It keeps something of each ban until the unban, an entry in a list for example: none of them may be dropped."""
    flushes: bool
    """Ends all bans by one `flush`; otherwise it wants an `unban` for each."""
    linger: float
    """Seconds to wait for more after the first notice of a batch."""
    batch: int
    """Notices taken at once at most."""
    longest: float
    """Seconds after which one batch is cut short."""

    async def handle(self, notices: Sequence[Notice]) -> None:
        """Carry out up to `batch` notices, in order. Raises `ActionError`."""

    async def close(self) -> None:
        """Let go of what it holds: processes, connections."""
