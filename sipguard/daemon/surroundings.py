"""What those who bring others' bans (the fleet, CrowdSec) know of the daemon."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass

from sipguard.daemon.bans import Bans
from sipguard.daemon.jail_runner import JailRunner
from sipguard.daemon.state_writer import StateWriter
from sipguard.model import Clock

MARK = "."
"""In the name of each feed of the firewall that holds others' bans; no feed of the configuration can have it."""


@dataclass(frozen=True, slots=True)
class Surroundings:
    """What others' bans have to do with in the daemon."""

    bans: Bans
    runners: Mapping[str, JailRunner]
    store: StateWriter
    clock: Clock
    complete: Callable[[], bool]
    """Whether all bans of earlier runs are known."""
    never: Callable[[], Iterable[str]]
    """Whom no list of others may reject."""
