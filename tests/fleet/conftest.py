"""A real Redis for tests, on a port of its own; nodes of a fleet, with and without the daemon around them."""

from __future__ import annotations

import contextlib
import shutil
import subprocess
import time

import pytest
from ports import free_port

pytest.importorskip("redis", reason="needs the library redis")


class RedisServer:
    """redis-server as Debian has it; `persistent` writes every change to disk."""

    def __init__(self, folder, *, host="127.0.0.1", port=0, persistent=False, prefix=(), options=()):
        self.folder, self.host = folder, host
        folder.mkdir(parents=True, exist_ok=True)
        self.port = port or free_port()
        self._prefix = list(prefix)
        self._options = ["--appendonly", "yes", "--appendfsync", "always"] if persistent else ["--appendonly", "no"]
        self._options += [*options]
        self.process = None

    @property
    def url(self):
        return f"redis://{self.host}:{self.port}"

    def start(self):
        command = [
            *self._prefix, "redis-server", "--bind", self.host, "--port", str(self.port), "--save", "",
            "--dir", str(self.folder), "--protected-mode", "no", *self._options,
        ]  # fmt: skip
        self.process = subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.STDOUT)
        end = time.monotonic() + 30
        while "PONG" not in self.cli("ping"):
            assert time.monotonic() < end, "redis-server does not answer"
            assert self.process.poll() is None, "redis-server has ended"
            time.sleep(0.02)
        return self

    def cli(self, *words):
        """What redis-cli prints."""
        command = [*self._prefix, "redis-cli", "-h", self.host, "-p", str(self.port), *map(str, words)]
        return subprocess.run(command, capture_output=True, text=True, check=False, timeout=30).stdout

    def kill(self):
        """As a crash does."""
        if self.process is not None:
            self.process.kill()
            self.process.wait()
            self.process = None


def need_redis():
    """Skip the test, saying why, where there is no redis-server."""
    if shutil.which("redis-server") is None:
        pytest.skip("needs the program redis-server")


@contextlib.contextmanager
def serving(folder, **options):
    """A server that has been started, and ends whatever happens."""
    need_redis()
    server = RedisServer(folder, **options)
    try:
        yield server.start()
    finally:
        server.kill()


@pytest.fixture
def redis(tmp_path):
    with serving(tmp_path / "redis") as server:
        yield server
