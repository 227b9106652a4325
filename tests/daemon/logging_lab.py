"""A lab of the wire whose server writes a log too."""

from __future__ import annotations

import contextlib
import sys
from pathlib import Path

from running import failure
from wire_lab import OTHER, wire_lab

SHORT = [sys.executable, str(Path(__file__).parent / "short_start.py")]
"""Runs a daemon whose wire knows all from the start."""


class Logging:
    """A lab whose server writes the log of FreeSWITCH."""

    def __init__(self, lab, log):
        self.lab, self.daemon, self.log = lab, lab.daemon, log

    def guess(self, client, address, *, times=1, **more):
        """Guesses, each with its line; gives how many were answered."""
        done = 0
        try:
            for _ in range(times):
                assert client.register(**more) == 403
                self.write(address)
                done += 1
        except (ConnectionRefusedError, TimeoutError):
            pass
        return done

    def write(self, address, times=1, *, when=None, log=None):
        """Lines about an address, in this log or another; `when`: POSIX seconds."""
        with (log or self.log).open("a") as file:
            file.write(failure(address, when=when) * times)

    @property
    def examined(self):
        """What `status` says of the examination."""
        return self.daemon.status("freeswitch")["corroboration"]

    def sighted(self):
        """Three guesses that the wire confirms."""
        self.guess(self.lab.client(OTHER), OTHER, times=3)
        self.daemon.wait_for(lambda: self.examined["sighted"] == {str(self.log): True}, "the log is sighted")


@contextlib.contextmanager
def with_log(folder, *, prefix=SHORT, logs=("freeswitch.log",), lab=None, **jail):
    """A lab whose jail `freeswitch` reads the first of these logs, and the others; `lab`: options of `wire_lab`."""
    paths = [folder / name for name in logs]
    for path in paths:
        path.touch()
    jails = {"freeswitch": {"logpath": [str(path) for path in paths], "maxretry": 5, "bantime": 600, **jail}}
    with wire_lab(folder / "lab", jails=jails, prefix=prefix, **(lab or {})) as made:
        yield Logging(made, paths[0])
