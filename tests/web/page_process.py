"""The page as it runs: a process of its own, asked over a socket, as a user who may do nothing."""

import contextlib
import http.client
import os
import re
import socket
import subprocess
import sys
import time
from pathlib import Path

from ports import free_port
from running import PATIENCE, ROOT

from sipguard.web.token import Token
from tests.as_nobody import path_for_others

NOBODY = 65534


class PageProcess:
    """One page. As root it runs as nobody, in the group that may ask the daemon."""

    def __init__(self, folder, *arguments, listen=None):
        self.folder = Path(folder)
        self.folder.mkdir(exist_ok=True)
        self.token = Token(self.folder).make()
        self.port = free_port()
        self.url = f"http://127.0.0.1:{self.port}"
        prefix = []
        if os.geteuid() == 0:
            for path in (self.folder, *self.folder.iterdir()):
                os.chown(path, NOBODY, NOBODY)
            prefix = ["setpriv", f"--reuid={NOBODY}", f"--regid={NOBODY}", "--clear-groups"]
        self.listen = str(listen or f"127.0.0.1:{self.port}")
        command = [*prefix, sys.executable, "-m", "sipguard", "web", "--listen", self.listen]
        command += ["--state-dir", self.folder, *arguments]
        env = {**os.environ, "PYTHONPATH": path_for_others() if prefix else str(ROOT)}
        self.process = subprocess.Popen(
            [str(part) for part in command], cwd="/", env=env, stderr=subprocess.PIPE, text=True
        )

    def wait(self):
        """Until it answers."""
        end = time.monotonic() + PATIENCE
        while True:
            assert self.process.poll() is None, self.process.stderr.read()
            with contextlib.suppress(OSError):
                self._connect().close()
                return self
            assert time.monotonic() < end
            time.sleep(0.05)

    def _connect(self):
        if not self.listen.startswith("/"):
            return socket.create_connection(("127.0.0.1", self.port))
        sock = socket.socket(socket.AF_UNIX)
        try:
            sock.connect(self.listen)
        except OSError:
            sock.close()
            raise
        return sock

    def stop(self):
        """End it; gives what it said."""
        self.process.terminate()
        return self.process.communicate(timeout=PATIENCE)[1]

    def ask(self, method, path, body=None, **headers):
        """One request; status, headers, text."""
        connection = http.client.HTTPConnection("127.0.0.1", self.port, timeout=PATIENCE)
        with contextlib.closing(connection):
            connection.request(method, path, body, headers)
            answer = connection.getresponse()
            return answer.status, answer.headers, answer.read().decode()

    def log_in(self):
        """Gives the cookie."""
        _, headers, text = self.ask("GET", "/login")
        csrf = re.search(r'name="csrf" value="([^"]+)"', text)[1]
        form = f"csrf={csrf}&token={self.token}"
        cookie = headers["set-cookie"].partition(";")[0]
        status, headers, _ = self.ask("POST", "/login", form, Cookie=cookie, Origin=self.url)
        assert status == 303
        return headers["set-cookie"].partition(";")[0]

    def watch(self, cookie):
        """A stream of live views, as a socket's file."""
        sock = socket.create_connection(("127.0.0.1", self.port), timeout=PATIENCE)
        request = f"GET /api/events HTTP/1.1\r\nHost: 127.0.0.1:{self.port}\r\nCookie: {cookie}\r\n\r\n"
        sock.sendall(request.encode())
        return sock


@contextlib.contextmanager
def showing(folder, *arguments, listen=None):
    """Start a page, and end it whatever happens; `listen`: a socket instead of a free port."""
    page = PageProcess(folder, *arguments, listen=listen)
    try:
        yield page.wait()
    finally:
        if page.process.poll() is None:
            page.stop()
