"""Starts the server for its client, checks whether it answers, and explains why it does not."""

from __future__ import annotations

import os
import stat
import subprocess
import sys
import tempfile
import time
from pathlib import Path

from sipguard.config.paths import main_file
from sipguard.fail2ban.client.connection import Connection
from sipguard.fail2ban.client.options import DEFAULT_DIRECTORY, ClientOptions
from sipguard.fail2ban.protocol.unpickle import UnpickleError

PATIENCE = 0.1
"""Seconds that a server which runs may take to say so."""


def answers(options: ClientOptions, *command: str, timeout: float | None = None) -> bool:
    """Whether a server answers this command within `timeout` seconds, and carries it out."""
    try:
        with Connection(str(options.given["socket"]), timeout) as connection:
            return bool(connection.ask(list(command))[0] == 0)
    except (OSError, UnpickleError, TypeError, IndexError):
        return False


def trouble(path: str, error: OSError, *, only: bool) -> str:
    """One line that explains why the socket cannot be used; with `only`, just the error itself if there is one."""
    if not os.access(path, os.F_OK):
        return f"Failed to access socket path: {path}. Is fail2ban running?"
    if not os.access(path, os.W_OK):
        return f"Permission denied to socket: {path}, (you must be root)"
    return str(error) if only else f"[{error}] Unable to contact server. Is it running?"


def wait(options: ClientOptions, *, alive: bool) -> bool:
    """Wait until the server answers, or no longer answers. Prints an error and returns False if that takes too long."""
    end = time.monotonic() + options.timeout
    pause = 0.02
    while answers(options, "ping", timeout=PATIENCE) is not alive:
        if time.monotonic() > end:
            options.say("ERROR", "Could not find server, waiting failed" if alive else "Could not stop server")
            return False
        time.sleep(pause)
        pause = min(pause * 2, 0.5)
    return True


def start(options: ClientOptions) -> bool:
    """Start sipguard, by default in the background, and wait until it answers."""
    if answers(options, "ping", timeout=PATIENCE):
        options.say("ERROR", "Server already running")
        return False
    path = Path(str(options.given["socket"]))
    if path.exists() and not options.given.get("force") and not stat.S_ISSOCK(path.stat().st_mode):
        options.say("ERROR", "Fail2ban seems to be in unexpected state (not running but the socket exists)")
        return False
    isolated = ["-I"] if sys.flags.isolated else []  # do not import `sipguard` from the current directory
    own = [sys.executable, *isolated, "-m", "sipguard"]
    command = [*own, "run", "--fail2ban-socket", str(path), *_configuration(options)]
    if not options.background:
        sys.stdout.flush()
        os.execv(command[0], command)  # noqa: S606 - our own interpreter, no shell
    with tempfile.TemporaryFile() as complaints:
        child = subprocess.Popen(
            command, stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL, stderr=complaints, start_new_session=True
        )
        end = time.monotonic() + options.timeout
        while not answers(options, "ping", timeout=PATIENCE):
            if child.poll() is not None or time.monotonic() > end:
                complaints.seek(0)
                sys.stderr.write(complaints.read().decode(errors="replace"))
                options.say("ERROR", "Could not find server, waiting failed")
                return False
            time.sleep(0.05)
    print("Server ready")
    return True


def _configuration(options: ClientOptions) -> list[str]:
    """Arguments that tell `sipguard run` where its configuration is: its own one, else the Fail2ban tree."""
    directory = options.directory
    if (native := directory / "sipguard.toml").exists():
        return ["-c", str(native)]
    usual = str(directory) == DEFAULT_DIRECTORY and main_file().exists()
    return ["--fail2ban-dir", str(directory)] if (directory / "jail.conf").exists() and not usual else []
