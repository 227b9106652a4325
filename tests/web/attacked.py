"""A daemon that is attacked, for the page in a browser: under which names, and how its sockets are opened."""

import os

from running import append, failure

from tests.web.page_process import NOBODY

HOSTILE = {
    "203.0.113.1": '<img src=x onerror="alert(1)"><script>alert(2)</script>',
    "203.0.113.2": "\x1b[31mred\x07",
    "203.0.113.3": "\u202egnp.exe\u2066",
    "203.0.113.4": "A" * 8000,
    "203.0.113.5": "{{7*7}}${7*7}&lt;b&gt;",
}
SIZES = ((390, 844), (1280, 900))
PATIENCE = 20_000
"""Milliseconds."""


def open_sockets(daemon):
    """To the page's user, as the groups in sipguard.toml do."""
    daemon.read_socket = daemon.folder / "run-read.sock"
    daemon.folder.chmod(0o755)
    if os.geteuid() == 0:
        for path in (daemon.read_socket, daemon.socket):
            os.chown(path, NOBODY, NOBODY)


def attack(daemon, address, user="1000"):
    """Enough to be banned."""
    append(daemon.server_log, failure(address, user) * 3)
