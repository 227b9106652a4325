"""The read loop that follows several logs, for tests: what a daemon does, without the rest of it."""

from __future__ import annotations

import threading
import time

from sipguard.sources.follower import Follower

PULSE = 0.02


class Loop:
    """Stands in for the daemon: waits to be woken, then reads."""

    def __init__(self, *patterns, positions=None, **options):
        self.woken = threading.Event()
        self.chunks = []
        self.follower = Follower(patterns, positions=positions or {}, notify=self.woken.set, **options)

    def __enter__(self):
        self.follower.start()
        return self

    def __exit__(self, *_):
        self.follower.stop()

    def pump(self):
        while found := self.follower.read():
            self.chunks += found

    @property
    def data(self):
        return b"".join(chunk.data for chunk in self.chunks)

    def wait_for(self, expected, timeout=45.0):
        """Read whenever woken, until `expected` was read."""
        end = time.monotonic() + timeout
        self.pump()
        while self.data != expected and time.monotonic() < end:
            busy = self.follower.busy
            if self.woken.wait(PULSE if busy else 0.1) or busy:
                self.woken.clear()
                self.pump()
        assert self.data == expected
        return self
