"""A real daemon for tests: its own folder, its own configuration, started as a process and asked over its socket.

with running(tmp_path, {"asterisk": {"logpath": log}}) as daemon:
    ...
    assert daemon.status("asterisk")["banned"] == ...
"""

from __future__ import annotations

import contextlib
import os
import signal
import sqlite3
import subprocess
import sys
import time
from pathlib import Path

import messages
import toml
from command_line import sipguard
from forked import Forked, at_home
from limits import PATIENCE

from sipguard.cli.client import ask
from sipguard.errors import SipguardError
from sipguard.model import Chunk, Position

ROOT = Path(__file__).parents[1]


class RunningDaemon:
    """One daemon at a time on one folder. `prefix` is what it is started under (a network namespace, another user).

    `arguments` are further ones of `run`. `imported` says that it imports sipguard itself, as with an `env` or under
    anything but a script of Python's; others are forked off a process that has done so (see tests/forked.py).
    """

    def __init__(
        self, folder, jails, *, defaults=None, firewall="memory", prefix=(), env=None, arguments=(), imported=False
    ):
        self.folder = Path(folder)
        self.config = self.folder / "sipguard.toml"
        self.socket = self.folder / "run.sock"
        self.log = self.folder / "sipguard.log"
        self.output = ""
        self._firewall = firewall
        self._prefix = list(prefix)
        self._arguments = list(arguments)
        self._imported = bool(imported or env)
        self._env = {**os.environ, "PYTHONPATH": str(ROOT), **(env or {})}
        self.process = None
        (self.folder / "jails.d").mkdir(parents=True, exist_ok=True)
        settings = {"state_dir": str(self.folder / "state"), "socket": str(self.socket), "logtarget": str(self.log)}
        # What `check` says of this configuration is no matter of which firewall this machine has.
        own = {"firewall": {"backend": firewall}} if firewall == "memory" else {}
        self.config.write_text(toml.dumps({**settings, **own, "defaults": defaults or {}}))
        for name, keys in jails.items():
            self.write_jail(name, **keys)

    def write_jail(self, name, **keys):
        """Make or change a jail's file; it is read at the next start or reload."""
        (self.folder / "jails.d" / f"{name}.toml").write_text(toml.dumps({"enabled": True, **keys}))

    def start(self):
        """Start it and wait until it answers; fails with what it printed when it ends instead."""
        self.spawn()
        self.wait_for(lambda: self.answers() or self.process.poll() is not None)
        assert self.process.poll() is None, self.process.communicate()[0]
        return self

    def spawn(self):
        """Start it and do not wait."""
        python = [*self._prefix, sys.executable, "-m", "sipguard"]
        command = [*python, "run", "-c", self.config, "--firewall", self._firewall, *self._arguments]
        inside = self._prefix[3] if self._prefix[:3] == ["ip", "netns", "exec"] else ""
        under = self._prefix[4 if inside else 0 :]
        is_script = under[:1] == [sys.executable] and under[1].endswith(".py")
        if not self._imported and at_home() and (is_script or not under):
            self.process = Forked(command[5 if inside else 1 :], self._env, inside)
            return
        self.process = subprocess.Popen(
            [str(part) for part in command], env=self._env, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True
        )

    def stop(self, number=signal.SIGTERM):
        """End it by a signal; gives its exit status. Its output is kept in `output`."""
        self.process.send_signal(number)
        try:
            self.output += self.process.communicate(timeout=PATIENCE)[0]
        except subprocess.TimeoutExpired:
            # Whoever fails here must not leave it to the tests that follow.
            self.process.kill()
            self.process.communicate()
            raise
        messages.note_log(self.logged())
        return self.process.returncode

    def sipguard(self, *arguments, check=True):
        """Run a command of the command line against it."""
        done = sipguard(*arguments, "--socket", self.socket)
        assert not check or done.returncode == 0, f"{arguments}: {done.returncode} {done.stdout} {done.stderr}"
        return done

    def status(self, jail):
        """What `status JAIL --json` says of the jail."""
        return ask(self.socket, "status", jail=jail)["jails"][0]

    def banned(self, jail):
        """The addresses that the jail bans now."""
        return {ban["address"] for ban in self.status(jail)["banned"]}

    def stored(self):
        """The addresses whose bans are on disk."""
        with contextlib.closing(sqlite3.connect(self.folder / "state" / "sipguard.db")) as database:
            return {address for (address,) in database.execute("SELECT address FROM live_bans")}

    def state_of(self, log):
        """(offset, inode) of what is on disk about a log; None where nothing is."""
        with contextlib.closing(sqlite3.connect(self.folder / "state" / "sipguard.db")) as database:
            return database.execute("SELECT offset, inode FROM positions WHERE path = ?", (str(log),)).fetchone()

    def answers(self):
        """Whether it is there."""
        try:
            ask(self.socket, "status", jail=None)
        except SipguardError:
            return False
        return True

    def logged(self):
        """Its own log so far."""
        return self.log.read_text() if self.log.exists() else ""

    def wait_for(self, condition, what="it"):
        """Wait until `condition` holds; fails after PATIENCE."""
        end = time.monotonic() + PATIENCE
        while not condition():
            assert time.monotonic() < end, f"{what} did not happen; log:\n{self.logged()[-3000:]}"
            time.sleep(0.02)

    def wait_logged(self, text, times=1):
        """Wait until its log holds `text`."""
        self.wait_for(lambda: self.logged().count(text) >= times, f"{text!r} in the log")


@contextlib.contextmanager
def running(folder, jails, **options):
    """Start a daemon, and end it whatever happens."""
    daemon = RunningDaemon(folder, jails, **options)
    try:
        yield daemon.start()
    finally:
        if daemon.process is not None and daemon.process.poll() is None:
            daemon.stop()


def failure(address, user="1000", when=None):
    """A line of FreeSWITCH's log: a wrong password from `address`, now."""
    date = time.strftime("%Y-%m-%d %H:%M:%S", time.localtime(when))
    return (
        f"{date}.123456 98.53% [WARNING] sofia_reg.c:1787 SIP auth failure (REGISTER) on sofia profile 'internal' "
        f"for [{user}@192.0.2.10] from ip {address}\n"
    )


def chunk(data, path="log", **more):
    """What is read of a log at once."""
    return Chunk(path, data, Position(path, 1, 1, "", 0, len(data)), **more)


def append(log, text):
    """Write to a log as a server does."""
    with Path(log).open("a") as file:
        file.write(text)
