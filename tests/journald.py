"""A real journal for tests: systemd's journald in a mount namespace of its own, with a /run of the test's.

with journald(tmp_path) as journal:
    journal.write("bad 203.0.113.5", SYSLOG_IDENTIFIER="demo")
"""

from __future__ import annotations

import contextlib
import os
import shutil
import signal
import socket
import subprocess
import time
from pathlib import Path

import pytest
from limits import PATIENCE
from needs import must_be_marked

PROGRAM = next(
    (p for p in map(Path, ("/usr/lib/systemd/systemd-journald", "/lib/systemd/systemd-journald")) if p.exists()), None
)


def need_journald():
    """Skip a test, with the reason, where there cannot be a journal."""
    must_be_marked("root")
    if PROGRAM is None or shutil.which("journalctl") is None:
        pytest.skip("systemd's journald and journalctl are not installed")


class Journal:
    """A journald that runs."""

    def __init__(self, folder):
        self.run = folder / "journal-run"
        for part in ("systemd/journal", "log/journal"):
            (self.run / part).mkdir(parents=True)
        start = f'mount --bind {self.run} /run && exec "{PROGRAM}"'
        command = ["unshare", "--mount", "--propagation", "private", "sh", "-c", start]
        self.process = subprocess.Popen(command, stderr=subprocess.DEVNULL)
        self.socket = self.run / "systemd/journal/socket"
        self._wait(self.socket.exists)
        self._wait(lambda: any(self.run.glob("log/journal/*/system.journal")))

    @property
    def prefix(self):
        """What a program is started under to have this journal as the system's."""
        return ["nsenter", f"--mount=/proc/{self.process.pid}/ns/mnt", "--"]

    @property
    def directory(self):
        """Where its files are, seen from outside."""
        return next(self.run.glob("log/journal/*"))

    def write(self, message, **fields):
        """Log an entry by the native protocol (systemd's JOURNAL_NATIVE_PROTOCOL); it is in the journal a moment later."""
        data = b""
        for name, value in {"MESSAGE": message, **fields}.items():
            raw = value if isinstance(value, bytes) else value.encode()
            data += name.encode() + b"\n" + len(raw).to_bytes(8, "little") + raw + b"\n"
        # By way of its folder: a path of more than 107 bytes is none for a socket, and a test's folder may be a long one.
        folder = os.open(self.socket.parent, os.O_PATH)
        try:
            with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as sock:
                sock.sendto(data, f"/proc/self/fd/{folder}/{self.socket.name}")
        finally:
            os.close(folder)

    def sync(self):
        """Wait until all that was written is in the files."""
        subprocess.run([*self.prefix, "journalctl", "--sync"], check=True, capture_output=True)

    def rotate(self):
        """Begin new files, and remove the old ones."""
        for what in (["--rotate"], ["--vacuum-files=1"]):
            subprocess.run([*self.prefix, "journalctl", *what], check=True, capture_output=True)

    @staticmethod
    def _wait(condition):
        end = time.monotonic() + PATIENCE
        while not condition():
            assert time.monotonic() < end, "journald did not begin"
            time.sleep(0.02)

    def stop(self):
        """End it."""
        self.process.send_signal(signal.SIGTERM)
        self.process.wait(PATIENCE)


@contextlib.contextmanager
def journald(folder):
    """A journald for as long as the block lasts."""
    need_journald()
    journal = Journal(folder)
    try:
        yield journal
    finally:
        journal.stop()
