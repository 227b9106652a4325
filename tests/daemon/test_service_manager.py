"""What the service manager hears: a socket that plays its part (sd_notify(3))."""

import signal
import socket
import time

import pytest
from running import PATIENCE, RunningDaemon

WATCHDOG = 0.4
"""Seconds between two signs of life that are asked for; half of that is kept to."""


class Manager:
    """Listens as systemd does."""

    def __init__(self, path):
        self._socket = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
        self._socket.bind(str(path))
        self._socket.settimeout(PATIENCE)
        self.heard = []

    def next(self, beginning):
        """Wait for a word; what came before it is kept in `heard`."""
        while True:
            text = self._socket.recv(4096).decode()
            self.heard.append(text)
            if text.startswith(beginning):
                return text

    def silent_for(self, seconds):
        """What comes within `seconds`."""
        self._socket.setblocking(False)
        time.sleep(seconds)
        found = []
        while True:
            try:
                found.append(self._socket.recv(4096).decode())
            except BlockingIOError:
                break
        self._socket.settimeout(PATIENCE)
        return found

    def close(self):
        self._socket.close()


@pytest.fixture
def manager(tmp_path):
    """A manager that listens in the test's folder."""
    one = Manager(tmp_path / "notify")
    yield one
    one.close()


@pytest.fixture
def daemon(tmp_path, manager):
    """A daemon that was told of the manager."""
    (tmp_path / "freeswitch.log").touch()
    env = {"NOTIFY_SOCKET": str(tmp_path / "notify"), "WATCHDOG_USEC": str(int(WATCHDOG * 1e6))}
    one = RunningDaemon(tmp_path, {"freeswitch": {"logpath": str(tmp_path / "freeswitch.log")}}, env=env)
    yield one
    if one.process and one.process.poll() is None:
        one.stop()


def test_ready_watchdog_reloading_stopping(manager, daemon):
    """Each word in its turn; READY not before questions are answered, and again after a reload."""
    daemon.spawn()
    manager.next("READY=1")
    assert manager.heard == ["READY=1"]
    assert daemon.answers()
    manager.next("WATCHDOG=1")
    manager.next("WATCHDOG=1")
    asked = time.monotonic()
    daemon.process.send_signal(signal.SIGHUP)
    reloading = manager.next("RELOADING=1")
    assert asked <= int(reloading.partition("MONOTONIC_USEC=")[2]) / 1e6 <= time.monotonic()
    manager.next("READY=1")
    assert daemon.stop() == 0
    manager.next("STOPPING=1")


def test_a_refused_reload_ends(manager, daemon):
    """A wrong configuration changes nothing, and the manager is not left waiting."""
    daemon.spawn()
    manager.next("READY=1")
    daemon.config.write_text("nonsense = 1\n")
    daemon.process.send_signal(signal.SIGHUP)
    manager.next("RELOADING=1")
    manager.next("READY=1")
    daemon.wait_logged("going on as before")
    assert daemon.answers()


def test_a_loop_that_stands_still_sends_nothing(manager, daemon):
    """No sign of life from a process that does nothing; it comes again with the process."""
    daemon.spawn()
    manager.next("WATCHDOG=1")
    daemon.process.send_signal(signal.SIGSTOP)
    manager.silent_for(WATCHDOG)  # what was under way
    assert manager.silent_for(3 * WATCHDOG) == []
    daemon.process.send_signal(signal.SIGCONT)
    manager.next("WATCHDOG=1")


def test_nobody_listens(tmp_path):
    """Without a manager, and with one that went away, the daemon runs all the same."""
    (tmp_path / "freeswitch.log").touch()
    env = {"NOTIFY_SOCKET": str(tmp_path / "nobody")}
    daemon = RunningDaemon(tmp_path, {"freeswitch": {"logpath": str(tmp_path / "freeswitch.log")}}, env=env)
    daemon.start()
    assert daemon.stop() == 0
