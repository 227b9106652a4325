"""Tells how far a long log has been read: nobody should wonder why nothing else happens for a while."""

from __future__ import annotations

import logging
import time
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Callable

    from sipguard.model import Chunk

log = logging.getLogger("fail2ban.filter")

EVERY = 5.0
"""Seconds between two words about one log."""
BEHIND = 16 << 20
"""Bytes still to be read below which nothing is said."""


class Progress:
    """Looks at what is read, and at the clock; at a log's size only when it is time to speak."""

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        self._clock = clock
        self._next: dict[str, float] = {}

    def took(self, chunk: Chunk) -> None:
        """A chunk was read."""
        now = self._clock()
        due = self._next.setdefault(chunk.path, now + EVERY)
        if now < due:
            return
        self._next[chunk.path] = now + EVERY
        try:
            size = Path(chunk.path).stat().st_size
        except OSError:
            return  # the journal, or a log that has just gone
        offset = chunk.position.offset
        if size - offset > BEHIND:
            log.info("%s: %d %% read, %d MB to go", chunk.path, 100 * offset // size, (size - offset) >> 20)
