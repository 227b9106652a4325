"""The control socket on hostile requests: every one gets an answer of one line, and the daemon goes on."""

from __future__ import annotations

import json
import socket

from running import running

FIELDS = ("command", "jail", "address", "addresses", "time", "reason", "name", "what", "counted")
COMMANDS = (
    "ping",
    "status",
    "explain",
    "feeds",
    "firewall",
    "ban",
    "unban",
    "flush",
    "feeds refresh",
    "reload",
    "none",
)


def ask(path, line):
    """The answer to one line."""
    with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as sock:
        sock.settimeout(20)
        sock.connect(str(path))
        sock.sendall(line + b"\n")
        sock.shutdown(socket.SHUT_WR)
        return json.loads(b"".join(iter(lambda: sock.recv(1 << 16), b"")))


def test_deep_requests(tmp_path):
    """JSON that is nested as deep as Python reads it, and deeper, in every field of every command."""
    (tmp_path / "log").touch()
    with running(tmp_path, {"asterisk": {"logpath": str(tmp_path / "log")}}) as daemon:
        for depth in (300, 600, 900, 990, 100_000):
            deep = b"[" * depth + b"]" * depth
            for field in FIELDS if depth < 1000 else FIELDS[:2]:
                for command in COMMANDS:
                    line = b'{"command": "%s", "address": "192.0.2.1", "jail": "asterisk", "%s": %s}'
                    answer = ask(daemon.socket, line % (command.encode(), field.encode(), deep))
                    assert answer["ok"] or "\n" not in answer["error"], (command, field, depth)
            assert ask(daemon.socket, deep)["ok"] is False
        assert ask(daemon.socket, b'{"command": "ping"}')["ok"]
        daemon.stop()
    assert "Traceback" not in daemon.output + daemon.logged()
