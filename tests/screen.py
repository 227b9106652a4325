"""A terminal of 80 columns for tests: what a command shows there, byte for byte, and what must never reach one."""

from __future__ import annotations

import contextlib
import fcntl
import os
import pty
import re
import signal
import struct
import subprocess
import sys
import termios
import threading
import time
import unicodedata
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
SCREENS = Path(__file__).parent / "screens"
COLUMNS = 80
PATIENCE = 60.0
"""Seconds that a command may take."""
ZONE = f"NOON{time.gmtime().tm_hour - 12:+}"
"""The time zone of its commands, in which it is noon: what was just now is never of yesterday, which is shown with its date."""
COLOUR = re.compile(r"\x1b\[(?:0|1|2|3[0-7]|1;31)m")
"""The only sequences that sipguard sends."""


def open_terminal():
    """Both ends of a new terminal; skips the test where none can be had, as in a chroot without /dev/pts."""
    try:
        return pty.openpty()
    except OSError as error:
        pytest.skip(f"no terminal here: {error}; is /dev/pts mounted?")


def on_screen(*arguments, env=None, typed="", after="", interrupt="", columns=COLUMNS):
    """Run `sipguard ARGUMENTS` on a terminal; gives what it received, and the exit status.

    `typed` is typed at once, or when `after` has come. When `interrupt` has come, it is interrupted as by Ctrl-C. What does
    not end within PATIENCE is ended.
    """
    terminal, child_end = open_terminal()
    fcntl.ioctl(child_end, termios.TIOCSWINSZ, struct.pack("HHHH", 24, columns, 0, 0))
    attributes = termios.tcgetattr(child_end)
    attributes[3] &= ~termios.ECHO
    termios.tcsetattr(child_end, termios.TCSANOW, attributes)
    settings = {
        "PATH": os.environ["PATH"],
        "PYTHONPATH": str(ROOT),
        "TERM": "xterm-256color",
        "LC_ALL": "C.UTF-8",
        "TZ": ZONE,
    }
    process = subprocess.Popen(
        [sys.executable, "-m", "sipguard", *map(str, arguments)],
        stdin=child_end,
        stdout=child_end,
        stderr=child_end,
        env={**settings, **(env or {})},
        start_new_session=True,
    )
    os.close(child_end)
    received, waiting = b"", typed.encode()
    late = threading.Timer(PATIENCE, process.kill)
    late.start()
    if not after:
        os.write(terminal, waiting)
        waiting = b""
    with contextlib.suppress(OSError):  # EIO: nobody has the other end any more
        while piece := os.read(terminal, 1 << 16):
            received += piece
            if waiting and after.encode() in received:
                os.write(terminal, waiting)
                waiting = b""
            if interrupt and interrupt.encode() in received:
                process.send_signal(signal.SIGINT)
                interrupt = ""
    late.cancel()
    os.close(terminal)
    return received.decode().replace("\r\n", "\n"), process.wait(60)


def width(line):
    """Columns of a line without its colours."""
    return sum(
        0 if unicodedata.combining(c) else 1 + (unicodedata.east_asian_width(c) in "WF") for c in COLOUR.sub("", line)
    )


def check(received):
    """Nothing that a terminal obeys but our colours, and no line that it would wrap."""
    plain = COLOUR.sub("", received)
    bad = {c for c in plain if not c.isprintable() and c != "\n"}
    assert not bad, f"{bad!r} reach the terminal"
    wide = [line for line in received.split("\n") if width(line) > COLUMNS]
    assert not wide, f"wider than the terminal: {wide!r}"


def painted(received):
    """The colours, so that people can read them: what is not plain stands between marks."""
    names = {"32": "good", "1;31": "bad", "33": "warn", "2": "dim", "1": "bold"}
    text = re.sub(r"\x1b\[((?:1;)?[1-9]\d?)m", lambda match: f"<{names.get(match[1], match[1])}>", received)
    return text.replace("\x1b[0m", "</>")


def hold_to(name, text):
    """Fail unless tests/screens/NAME.txt has this; SIPGUARD_SCREENS=write writes it."""
    file = SCREENS / f"{name}.txt"
    if os.environ.get("SIPGUARD_SCREENS") == "write":
        SCREENS.mkdir(exist_ok=True)
        file.write_text(text)
    assert text == file.read_text(), (
        f"{file.name} has another screen; SIPGUARD_SCREENS=write takes this one, look at it"
    )
