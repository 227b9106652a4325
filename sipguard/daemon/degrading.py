"""One jail's errors that nobody foresaw: they cost the lines that cause them, and no other jail anything."""

from __future__ import annotations

import logging
import math
import os
from contextlib import contextmanager
from typing import TYPE_CHECKING

from sipguard.text import printable

if TYPE_CHECKING:
    from collections.abc import Iterator

    from sipguard.model import Clock

log = logging.getLogger("fail2ban.filter")

TOLD_EVERY = 60.0
"""Seconds between two words about such errors."""


class Degrading:
    """Call it for a context; an exception in there becomes the jail's problem."""

    def __init__(self, jail: str, clock: Clock) -> None:
        self.problem: str | None = None
        """The last exception in one line; None again when as much has been read without one."""
        self.failed = False
        """Whether there was one since what is read at once was begun (`anew`)."""
        self._jail = jail
        self._clock = clock
        self._told = -math.inf

    @contextmanager
    def __call__(self, *, anew: bool = False) -> Iterator[None]:
        """What goes wrong in here in a way that nobody foresaw is this jail's problem, and no other's.

        `anew`: this is all that is read at once. Nothing of it has `failed` yet, and if nothing does, the problem is over.
        """
        self.failed &= not anew
        try:
            yield
        except Exception as error:
            self.failed = True
            self.problem = f"internal error: {printable(repr(error), 300)}"
            if self._clock() >= self._told + TOLD_EVERY:
                self._told = self._clock()
                log.error(
                    "[%s] %s; what caused it is skipped, the jail goes on", self._jail, self.problem,
                    exc_info=bool(os.environ.get("SIPGUARD_TRACEBACK")),
                )  # fmt: skip
        if anew and not self.failed:
            self.problem = None
