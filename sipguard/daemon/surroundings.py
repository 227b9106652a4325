"""The parts of the daemon that the fleet and CrowdSec use: both bring bans that others have decided."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass

from sipguard.daemon.bans import Bans
from sipguard.daemon.jail_runner import JailRunner
from sipguard.daemon.state_writer import StateWriter
from sipguard.model import Clock

MARK = "."
"""Every firewall feed with others' bans has this in its name. No configured feed can: its name may not contain it."""


@dataclass(frozen=True, slots=True)
class Surroundings:
    """What the fleet and CrowdSec are given of the daemon."""

    bans: Bans
    runners: Mapping[str, JailRunner]
    store: StateWriter
    clock: Clock
    complete: Callable[[], bool]
    """Whether all bans of earlier runs have been read from the state."""
    never: Callable[[], Iterable[str]]
    """Addresses and networks that others' bans must never reject."""
