"""A terminal as operators have it: what a command shows in a real tmux of 80 columns, scrolled away or not."""

from __future__ import annotations

import contextlib
import os
import re
import shlex
import shutil
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import pytest
from screen import COLUMNS, PATIENCE, ROOT, SCREENS, ZONE

LINES = 24
_SETTINGS = (
    "set -g history-limit 2000\nset -g status off\nset -g default-terminal tmux-256color\nset -s escape-time 0\n"
)
_MARKS = re.compile(r"<(?:good|bad|warn|dim|bold)>|</>")
_SIZE = ["-x", str(COLUMNS), "-y", str(LINES)]


class Tmux:
    """One command at a time, each with a server of its own: the one before may still be going."""

    def __init__(self, folder):
        self._folder = folder
        self._sessions = 0
        self._tmux = []
        (folder / "tmux.conf").write_text(_SETTINGS)

    def _call(self, *arguments):
        env = {**os.environ, "LC_ALL": "C.UTF-8"}
        env.pop("TMUX", None)
        done = subprocess.run(
            [*self._tmux, *arguments], capture_output=True, text=True, check=True, timeout=PATIENCE, env=env
        )
        return done.stdout

    @contextlib.contextmanager
    def session(self, *arguments, env=None):
        """`sipguard ARGUMENTS` in the foreground; its exit status stands below it, and then is signalled as `over`."""
        self._sessions += 1
        socket = self._folder / f"sock-{self._sessions}"
        self._tmux = ["tmux", "-u", "-S", str(socket), "-f", str(self._folder / "tmux.conf")]
        settings = {"PYTHONPATH": ROOT, "LC_ALL": "C.UTF-8", "TZ": ZONE, **(env or {})}
        given = shlex.join(["env", *(f"{name}={value}" for name, value in settings.items())])
        command = shlex.join([sys.executable, "-m", "sipguard", *map(str, arguments)])
        signal = shlex.join([*self._tmux, "wait-for", "-S", "over"])
        line = f'stty -echo; {given} {command}; echo "[exit status $?]"; {signal}; exec sleep 600'
        self._call("new-session", "-d", *_SIZE, "sh", "-c", line)
        try:
            yield self
        finally:
            self._call("kill-server")

    def screen(self, scrolled=True):
        """What stands on the screen now, with all that has scrolled away, without blanks at the ends."""
        shown = self._call("capture-pane", "-p", *(["-S", "-"] if scrolled else []))
        return "\n".join(line.rstrip() for line in shown.rstrip().split("\n")) + "\n"

    def until(self, holds):
        """Wait until the screen is so; gives it."""
        end = time.monotonic() + PATIENCE
        while not holds(shown := self.screen(scrolled=False)):
            assert time.monotonic() < end, shown
            time.sleep(0.05)
        return shown

    def press(self, keys):
        """Type something."""
        self._call("send-keys", "-l", keys)

    def run(self, *arguments, env=None, typed=""):
        """What a command shows until its exit status; `typed` is typed when it asks."""
        with self.session(*arguments, env=env):
            if typed:
                self.until(lambda shown: "[y/N]" in shown)
                self.press(typed)
            self._call("wait-for", "over")
            return self.screen()


@pytest.fixture
def tmux():
    """A tmux; skipped where there is none."""
    if shutil.which("tmux") is None:
        pytest.skip("needs tmux")
    folder = Path(tempfile.mkdtemp(prefix="sg-", dir="/tmp"))  # a socket's path is short
    yield Tmux(folder)
    shutil.rmtree(folder)


def golden(name):
    """tests/screens/NAME.txt as a terminal shows it: without the marks of colours, and without blanks at the ends of lines."""
    text = _MARKS.sub("", (SCREENS / f"{name}.txt").read_text()).expandtabs()
    return "\n".join(line.rstrip() for line in text.rstrip().split("\n")) + "\n"
