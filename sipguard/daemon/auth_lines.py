"""Notices a filter that misses failed logins: the log has lines about them, and it matches none.

A sample: a part of what is read, once a second. It accuses nobody, so it may be as rough as this.
"""

from __future__ import annotations

import re
import time

EVERY = 1.0
"""Seconds between two samples."""
SAMPLE = 1 << 14
"""Bytes of one sample."""
_LOGIN = rb"(?:auth|passw|login|log in|regist|credential|challenge)"
_FAILED = rb"(?:fail|wrong|invalid|incorrect|denied|reject|mismatch|refused|bad |not found|no matching)"
_LOOKS = re.compile(rb"%s[^\n]{0,60}?%s|%s[^\n]{0,60}?%s" % (_LOGIN, _FAILED, _FAILED, _LOGIN), re.IGNORECASE)


class AuthLines:
    """Of one jail: how many samples had such lines, and whether anything in them was understood."""

    __slots__ = ("_next", "heard_at", "not_understood", "understood")

    def __init__(self) -> None:
        self.understood = self.not_understood = 0
        self.heard_at = time.monotonic()
        """When the logs had something new last, by the monotonic clock; at first, when this was made."""
        self._next = 0.0

    def look(self, data: bytes, *, understood: bool) -> None:
        """These lines were read. `understood`: the filter has found something in them, left some out knowingly, or waits."""
        self.heard_at = now = time.monotonic()
        if now < self._next:
            return
        self._next = now + EVERY
        if understood:
            self.understood += 1
        elif _LOOKS.search(data[:SAMPLE]):
            self.not_understood += 1
