"""What the readers of the servers' events share: what they count, and how a server says no."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Protocol

from sipguard.errors import SipguardError

if TYPE_CHECKING:
    from sipguard.wire_model import ServerEvent


class RefusedError(SipguardError):
    """The server does not let us listen: one line that says why."""


@dataclass(slots=True)
class EventCounts:
    """What one connection has brought."""

    events: int = 0
    tampered: int = 0
    """Events that somebody has written into: nobody whom they name is accused."""
    damaged: int = 0
    """Frames that are none."""
    oversize: int = 0
    rubbish: int = 0
    """Places where something stood between frames."""


class Dialogue(Protocol):
    """One side of the talk with a server: bytes in, events and answers out."""

    counts: EventCounts
    ready: bool
    """Whether the server has said that it tells its events now."""

    @property
    def silence(self) -> str:
        """What it means when nothing more comes before `ready`; empty where that may be anything."""

    def take(self, data: bytes) -> tuple[list[ServerEvent], bytes]:
        """What the bytes tell, and what to send now. Raises `RefusedError`."""

    def farewell(self) -> bytes:
        """What to send before hanging up."""
