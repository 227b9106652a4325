"""A daemon without its imports: a process that has imported sipguard once forks for each, where the start is not what is tested.

Python takes 0.6 s of a processor for the imports, and the tests start hundreds of daemons. What comes of it is a process as
any other: its own arguments, folder, environment, limits, standard streams, signals and exit status.
"""

from __future__ import annotations

import atexit
import ctypes
import gc
import importlib
import json
import os
import resource
import runpy
import select
import signal
import socket
import subprocess
import sys
import time
from pathlib import Path

ROOT = Path(__file__).parents[1]
PRELOADED = (
    "sipguard.cli.lean",  # before asyncio
    "sipguard.cli.group",
    "sipguard.cli.main",
    "sipguard.cli.run",
    "sipguard.daemon.start",
    "sipguard.daemon.compat.start",
    "sipguard.daemon.copied_places",
    "sipguard.daemon.wire",
    "sipguard.firewall.memory",
    "watchdog.observers",
)
CLONE_NEWNS, CLONE_NEWNET, MNT_DETACH, MS_REC, MS_SLAVE = 0x20000, 0x40000000, 2, 0x4000, 0x80000
LIMITS = (resource.RLIMIT_NOFILE, resource.RLIMIT_AS)


class Forked:
    """A Python with these arguments (`-m sipguard …`, or a script's), as far as subprocess.Popen's words are used of it.

    Its output is one pipe of text. `namespace`: as under `ip netns exec NAME`.
    """

    def __init__(self, arguments, env, namespace=""):
        self.args = [*map(str, arguments)]
        self.returncode = None
        self._ended, end = os.pipe()
        out, output = os.pipe()
        self.stdout = os.fdopen(out, encoding="utf-8")
        limits = [resource.getrlimit(kind) for kind in LIMITS]
        asked = {
            "arguments": self.args,
            "env": env,
            "folder": str(Path.cwd()),
            "limits": limits,
            "namespace": namespace,
        }
        self.pid = _server().fork(asked, output, end)

    def poll(self):
        """The exit status, as Popen has it; None while it runs."""
        return self._status(0)

    def wait(self, timeout=None):
        """The exit status, once it has ended."""
        if self._status(timeout) is None:
            raise subprocess.TimeoutExpired(self.args, timeout)
        return self.returncode

    def communicate(self, timeout=None):
        """What else it prints, and None, once it has ended."""
        end = None if timeout is None else time.monotonic() + timeout
        text = b""
        while not self.stdout.closed:
            if not _readable(self.stdout.fileno(), end and max(0, end - time.monotonic())):
                raise subprocess.TimeoutExpired(self.args, timeout)
            more = os.read(self.stdout.fileno(), 65536)
            if not more:
                self.stdout.close()
            text += more
        self.wait(end and max(0, end - time.monotonic()))
        return text.decode(), None

    def send_signal(self, number):
        """Nothing happens once it has ended."""
        if self.poll() is None:
            os.kill(self.pid, number)

    def terminate(self):
        """Ask it to end."""
        self.send_signal(signal.SIGTERM)

    def kill(self):
        """End it."""
        self.send_signal(signal.SIGKILL)

    def _status(self, timeout):
        if self.returncode is None and _readable(self._ended, timeout):
            self.returncode = int(os.read(self._ended, 20) or b"-9")  # nothing: the server was killed
            os.close(self._ended)
        return self.returncode


def at_home():
    """Whether this thread is where the process began, in no other namespace: what is forked would be there."""
    return _namespaces() == _HOME


def _namespaces():
    return [str(Path(f"/proc/thread-self/ns/{kind}").readlink()) for kind in ("net", "mnt")]


_HOME = _namespaces()


def _readable(number, timeout):
    poll = select.poll()
    poll.register(number, select.POLLIN)
    return poll.poll(None if timeout is None else timeout * 1000)


class _Server:
    """The process that forks, from here."""

    one = None

    def __init__(self):
        self._asks, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        path = os.pathsep.join(map(str, (ROOT, ROOT / "tests")))
        # Pipes, as what it forks has: whether such a thing can seek Python asks once.
        self._process = subprocess.Popen(
            [sys.executable, "-m", "forked", str(theirs.fileno())],
            cwd=ROOT, env={**os.environ, "PYTHONPATH": path}, pass_fds=[theirs.fileno()],
            stdout=subprocess.PIPE, stderr=subprocess.STDOUT,
        )  # fmt: skip
        theirs.close()
        atexit.register(self._end)

    def _end(self):
        self._asks.close()
        self._process.communicate()

    def fork(self, asked, *numbers):
        """Its process number; `numbers`, its output and where its end is told, are closed here."""
        socket.send_fds(self._asks, [json.dumps(asked).encode()], numbers)
        for number in numbers:
            os.close(number)
        answer = self._asks.recv(20)
        assert answer, self._process.communicate()[0]
        return int(answer)


def _server():
    if _Server.one is None:
        _Server.one = _Server()
    return _Server.one


def serve(number):
    """Fork for each question at this socket until whoever asks has gone."""
    for name in PRELOADED:
        importlib.import_module(name)
    gc.freeze()  # what looks for garbage later need not look, and so copy, all this
    asks = socket.socket(fileno=number)
    poll, ends = select.poll(), {}
    poll.register(number, select.POLLIN)
    while True:
        for ready, _ in poll.poll():
            if ready in ends:
                pid, end = ends.pop(ready)
                poll.unregister(ready)
                os.write(end, b"%d" % os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]))
                os.close(ready)
                os.close(end)
                continue
            question, numbers, *_ = socket.recv_fds(asks, 1 << 20, 2)
            if not question:
                return
            output, end = numbers
            pid = os.fork()
            if pid == 0:
                asks.detach()
                _become(json.loads(question), output)
            os.close(output)
            watched = os.pidfd_open(pid)
            ends[watched] = pid, end
            poll.register(watched, select.POLLIN)
            asks.send(b"%d" % pid)


def _become(asked, output):
    """The process that was asked for; does not return."""
    os.dup2(output, 1)
    os.dup2(output, 2)
    os.closerange(3, os.sysconf("SC_OPEN_MAX"))
    for kind, limit in zip(LIMITS, asked["limits"], strict=True):
        resource.setrlimit(kind, limit)
    if asked["namespace"]:
        _enter(asked["namespace"])
    os.environ.clear()
    os.environ.update(asked["env"])
    time.tzset()
    os.chdir(asked["folder"])
    sys.path[:3] = [asked["folder"], str(ROOT)]
    first, *rest = asked["arguments"]
    if first == "-m":
        sys.argv = rest
        runpy.run_module(rest[0], run_name="__main__", alter_sys=True)
    else:
        sys.argv = asked["arguments"]
        runpy.run_path(first, run_name="__main__")
    sys.exit(0)


def _enter(name):
    """As `ip netns exec` does: with mounts of its own, and in /sys what belongs to that network."""
    libc = ctypes.CDLL(None, use_errno=True)
    with Path("/run/netns", name).open("rb") as there:
        calls = [lambda: libc.setns(there.fileno(), CLONE_NEWNET), lambda: libc.unshare(CLONE_NEWNS)]
        calls.append(lambda: libc.mount(b"", b"/", b"none", MS_SLAVE | MS_REC, None))
        calls.append(lambda: libc.umount2(b"/sys", MNT_DETACH))
        calls.append(lambda: libc.mount(name.encode(), b"/sys", b"sysfs", 0, None))
        for call in calls:
            if call():
                raise OSError(ctypes.get_errno(), "cannot enter the namespace")


if __name__ == "__main__":
    serve(int(sys.argv[1]))
