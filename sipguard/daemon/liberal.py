"""The second, liberal reading of a jail's logs, where the wire proves who fails (docs/evidence.md).

It finds more than the jail's own filter may count: lines that others can write into a log. The jail's own reading goes on beside
it and knows nothing of it, so that what is made to look like a line of the server's changes nothing there.
"""

from __future__ import annotations

import logging
import time
from dataclasses import replace
from typing import TYPE_CHECKING

from sipguard.daemon.log_detectors import LogDetectors, SharedDetectors
from sipguard.errors import ConfigError
from sipguard.model import Failure
from sipguard.text import printable

if TYPE_CHECKING:
    from sipguard.model import Chunk, Jail, LogEvent

log = logging.getLogger("fail2ban.filter")

SHARE, CREDIT = 0.1, 1.0
"""Of one processor's time, what it may take in the long run, and the seconds of it that it may take at once: under a flood it
leaves lines out. A failed login is not missed for that: what the wire proves counts without a line."""


class LiberalReading:
    """What a jail's filter `liberal` finds, and its own does not."""

    def __init__(self, jail: Jail, shared: SharedDetectors) -> None:
        assert jail.liberal is not None  # noqa: S101 - others have none
        self.problem = ""
        """Why it cannot be read so."""
        self._jail = replace(jail, filter=jail.liberal)
        known = set(jail.filter.failregex)
        self._more = [index for index, regex in enumerate(jail.liberal.failregex) if regex not in known]
        self._shared = shared
        self._detectors: LogDetectors | None = None
        self._credit, self._looked = CREDIT, time.monotonic()

    def read(self, chunk: Chunk) -> list[Failure]:
        """What is told by lines that the jail's own filter leaves out; nothing while that has taken too long."""
        now = time.monotonic()
        self._credit = min(CREDIT, self._credit + (now - self._looked) * SHARE)
        self._looked = now
        if self._credit < 0:
            return []
        try:
            if self._detectors is None:
                self._detectors = LogDetectors(self._jail, self._shared)
            detector = self._detectors.of(chunk.path)
        except ConfigError as error:
            self.problem = printable(str(error), 300)
            log.error("[%s] the log is not read liberally: %s", self._jail.name, self.problem)
            return []
        begun = time.thread_time()
        events: list[LogEvent] = []
        if chunk.records:
            for when, text in chunk.records:
                events += detector.entry(text, when)
        else:
            events += detector.events(chunk.data)
        self._credit -= time.thread_time() - begun
        return [one for one in events if isinstance(one, Failure) and one.regex in self._more]

    def leave(self) -> None:
        """Read no more: what was begun is forgotten."""
        self._detectors = None
