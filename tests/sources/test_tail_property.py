"""Whatever a writer, a rotation and a crash do in whatever order: every line is delivered exactly once."""

from __future__ import annotations

import os
import shutil
import tempfile
from pathlib import Path

from effort import examples
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, rule

from sipguard.sources.tail import Tail


class Following(RuleBasedStateMachine):
    """A log that is written, rotated and read; `expected` is what must be delivered, in order."""

    def __init__(self):
        super().__init__()
        self.directory = Path(tempfile.mkdtemp())
        self.log = self.directory / "service.log"
        self.count = 0
        self.partial = b""
        self.expected = []
        self.delivered = []
        self.position = None
        self.tail = Tail(str(self.log))

    @initialize()
    def first_line(self):
        """Without any position, a restart rightly begins with the present file; so there is one from the start."""
        self.write(1, 10)
        self.read(1, 100)

    def line(self, width):
        self.count += 1
        return b"%08d" % self.count + b"." * width

    def append(self, data):
        with self.log.open("ab") as file:
            file.write(data)

    @rule(lines=st.integers(1, 5), width=st.sampled_from([0, 10, 700]))
    def write(self, lines, width):
        """Whole lines; the first ends what was begun before."""
        for _ in range(lines):
            rest = self.line(width)
            self.append(rest + b"\n")
            self.expected.append(self.partial + rest)
            self.partial = b""

    @rule()
    def write_partial(self):
        """Part of a line."""
        begun = self.line(3)
        self.append(begun)
        self.partial += begun

    def end_file(self):
        """Nothing more is written to this file: what was begun is its last line."""
        if self.partial:
            self.expected.append(self.partial)
            self.partial = b""

    def shift(self):
        for number in range(60, 0, -1):
            older = Path(f"{self.log}.{number}")
            if older.exists():
                older.rename(f"{self.log}.{number + 1}")

    @rule(create=st.booleans())
    def rotate_by_rename(self, create):
        """As logrotate does, with or without `create`."""
        if self.log.exists():
            self.shift()
            self.log.rename(f"{self.log}.1")
            self.end_file()
            if create:
                self.log.touch()

    @rule()
    def rotate_by_copy(self):
        """As logrotate's copytruncate does."""
        if self.log.exists() and self.log.stat().st_size:
            self.shift()
            shutil.copy(self.log, f"{self.log}.1")
            os.truncate(self.log, 0)
            self.end_file()

    @rule(delete=st.booleans())
    def lose(self, delete):
        """Truncated or removed without a copy: what is unread then is the writer's loss, so all is read before.

        And something is read after: no position of the lost content can tell which rotated file came after it.
        """
        self.read(1000, 100_000)
        if self.log.exists() and not self.partial:
            if delete:
                self.log.unlink()
            else:
                os.truncate(self.log, 0)
            self.write(1, 5)
            self.read(1000, 100_000)

    @rule(times=st.integers(1, 4), limit=st.sampled_from([1, 20, 1000, 262_144]))
    def read(self, times, limit):
        """Some chunks."""
        for _ in range(times):
            chunk = self.tail.read(limit)
            if chunk is None:
                break
            self.delivered += chunk.data.removesuffix(b"\n").split(b"\n") if chunk.data else []
            self.position = chunk.position

    @rule()
    def crash(self):
        """What was read but not returned is forgotten."""
        self.tail.close()
        self.tail = Tail(str(self.log), position=self.position)

    @invariant()
    def nothing_repeated_or_invented(self):
        """At any time, what was delivered is a beginning of what was written."""
        assert self.delivered == self.expected[: len(self.delivered)]

    def teardown(self):
        """In the end everything was delivered; a last write makes sure that the present file is not empty."""
        if self.count:
            self.write(1, 0)
            self.read(100_000, 262_144)
            assert self.delivered == self.expected
        self.tail.close()
        shutil.rmtree(self.directory)


TestFollowing = Following.TestCase
TestFollowing.settings = examples(20, stateful_step_count=30)
