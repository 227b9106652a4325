"""The base of all actions: they receive notices of bans in order, and may fail."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

from sipguard.actions.ticket import Ticket
from sipguard.errors import SipguardError

Verb = Literal["start", "ban", "prolong", "check", "unban", "flush", "reload", "stop", "alarm"]
"""`alarm`: somebody whom nothing proves may know a password; no ban.
`check`: the log still shows a banned address. `flush`: all bans end at once."""


class ActionError(SipguardError):
    """An action failed: a command's exit status, a server's answer, a time limit."""


@dataclass(frozen=True, slots=True)
class Notice:
    """One notice for an action. `start`, `flush`, `reload` and `stop` concern no address and carry a blank ticket."""

    verb: Verb
    ticket: Ticket


class Worker:
    """One running action of one jail. The defaults are those of sipguard's own."""

    norestored: bool = True
    """Whether it ignores bans restored from an earlier run."""
    essential: bool = False
    """Whether it keeps state per ban until the unban, such as a list entry. Its notices must not be dropped."""
    flushes: bool = True  # the daemon's stop is not an unban
    """Whether one `flush` ends all its bans; otherwise it needs an `unban` for each."""
    linger: float = 0.0
    """Seconds to wait for more after the first notice of a batch."""
    batch: int = 1
    """Most notices per batch."""
    longest: float
    """Time limit of one batch, in seconds."""

    async def handle(self, notices: Sequence[Notice]) -> None:
        """Process up to `batch` notices in order. Raises `ActionError`."""
        raise NotImplementedError

    async def close(self) -> None:
        """Release processes and connections, if it has any."""
