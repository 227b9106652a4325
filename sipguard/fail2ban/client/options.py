"""Options of fail2ban-client: from the command line, else from fail2ban.conf."""

from __future__ import annotations

import getopt
import sys
import time
from collections.abc import Sequence
from dataclasses import dataclass, field
from os import getpid
from pathlib import Path
from typing import Any

from sipguard.config.ini import layer_files, read_ini
from sipguard.durations import seconds
from sipguard.errors import SipguardError
from sipguard.fail2ban.protocol.messages import DEFAULT_PIDFILE, DEFAULT_SOCKET

DEFAULT_DIRECTORY = "/etc/fail2ban"
_SHORT = "hc:s:p:xfbdtviqV"
_VALUED = ("loglevel", "logtarget", "syslogsocket", "conf", "pidfile", "pname", "socket", "timeout", "str2sec")
_LONG = [f"{name}=" for name in _VALUED] + ["test", "async", "help", "version", "dp", "dump-pretty"]
_ALIASES = {
    "-c": "conf",
    "-s": "socket",
    "-p": "pidfile",
    "-d": "dump",
    "-t": "test",
    "-x": "force",
    "-i": "interactive",
    "-h": "help",
    "-V": "short-version",
    "--dp": "dump-pretty",
}
_EARLY = {
    "socket": DEFAULT_SOCKET,
    "pidfile": DEFAULT_PIDFILE,
    "loglevel": "INFO",
    "logtarget": "/var/log/fail2ban.log",
    "syslogsocket": "auto",
}
"""Values read from fail2ban.conf first of all, with their defaults."""
_LEVELS = ("CRITICAL", "ERROR", "WARNING", "NOTICE", "INFO", "DEBUG", "TRACEDEBUG", "HEAVYDEBUG", "MSG")


@dataclass(slots=True)
class ClientOptions:
    given: dict[str, Any] = field(default_factory=dict)
    """Option → its value, True for one without."""
    order: list[str] = field(default_factory=list)
    words: list[str] = field(default_factory=list)
    """The command."""
    verbose: int = 1
    background: bool = True
    timeout: float = 30.0
    """Seconds to wait for the server to start or stop."""

    @property
    def directory(self) -> Path:
        return Path(self.given.get("conf", DEFAULT_DIRECTORY))

    def say(self, level: str, message: str) -> None:
        """Print a line to standard error in Fail2ban's format if the verbosity allows."""
        lowest = {0: 2, 1: 1, 2: 0}.get(max(0, min(self.verbose, 2)), 1)
        if ("INFO", "WARNING", "ERROR").index(level) < lowest:
            return
        now = time.time()
        stamp = time.strftime("%Y-%m-%d %H:%M:%S", time.localtime(now))
        stamp += f",{int(now % 1 * 1000):03d}"
        print(f"{stamp} {'fail2ban':<24}[{getpid()}]: {level:<7} {message}", file=sys.stderr)


def parse(arguments: Sequence[str]) -> ClientOptions:
    """Parse the command line. Raises `getopt.GetoptError`, or what `seconds` raises for an invalid `--timeout`."""
    pairs, words = getopt.getopt(list(arguments), _SHORT, _LONG)
    options = ClientOptions(words=words)
    for name, value in pairs:
        match name:
            case "-v":
                options.verbose += 1
            case "-q":
                options.verbose -= 1
            case "-b" | "-f":
                options.background = name == "-b"
            case "--timeout":
                options.timeout = seconds(value)
            case _:
                known = _ALIASES.get(name, name.removeprefix("--"))
                options.given[known] = value or True
                options.order.append(known)
    return options


def complete(options: ClientOptions) -> None:
    """Add values from fail2ban.conf. Raises `SipguardError` for a missing directory, `ValueError` for a bad log level."""
    missing = [name for name in _EARLY if name not in options.given]
    if missing:
        directory = options.directory
        if directory.is_dir():
            ini = read_ini(layer_files(directory, "fail2ban"))
            found = {name: ini.get("Definition", name) for name in missing}
        elif "conf" in options.given:
            raise SipguardError(f"Base configuration directory {directory} does not exist ")
        else:
            found = {}  # Fail2ban was never installed here: use its usual paths
        for name in missing:
            options.given[name] = found.get(name) or _EARLY[name]
    level = str(options.given["loglevel"])
    if not level.isdecimal() and level.upper() not in _LEVELS:
        raise ValueError(f"Invalid log level {level!r}")
    options.say("INFO", f"Using socket file {options.given['socket']}")
    pid_file, target = options.given["pidfile"], options.given["logtarget"]
    options.say("INFO", f"Using pid file {pid_file}, [{level}] logging to {target}")
