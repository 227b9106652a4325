"""The command line of fail2ban-client, and fail2ban.conf where the command line is silent."""

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
"""What is read from fail2ban.conf before anything else, and what it is when that is silent."""
_LEVELS = ("CRITICAL", "ERROR", "WARNING", "NOTICE", "INFO", "DEBUG", "TRACEDEBUG", "HEAVYDEBUG", "MSG")


@dataclass(slots=True)
class Options:
    """A parsed command line."""

    given: dict[str, Any] = field(default_factory=dict)
    """Option → its value, True for one without."""
    order: list[str] = field(default_factory=list)
    """The options in the order in which they stand."""
    words: list[str] = field(default_factory=list)
    """The command."""
    verbose: int = 1
    background: bool = True
    timeout: float = 30.0
    """Seconds to wait for a server that starts or stops."""

    @property
    def directory(self) -> Path:
        """Where the configuration is."""
        return Path(self.given.get("conf", DEFAULT_DIRECTORY))

    def say(self, level: str, message: str) -> None:
        """A line on standard error in Fail2ban's format, if the verbosity asks for it."""
        lowest = {0: 2, 1: 1, 2: 0}.get(max(0, min(self.verbose, 2)), 1)
        if ("INFO", "WARNING", "ERROR").index(level) < lowest:
            return
        now = time.time()
        stamp = time.strftime("%Y-%m-%d %H:%M:%S", time.localtime(now))
        stamp += f",{int(now % 1 * 1000):03d}"
        print(f"{stamp} {'fail2ban':<24}[{getpid()}]: {level:<7} {message}", file=sys.stderr)


def parse(arguments: Sequence[str]) -> Options:
    """Raises `getopt.GetoptError` for what is no option, and what `seconds` raises for a wrong `--timeout`."""
    pairs, words = getopt.getopt(list(arguments), _SHORT, _LONG)
    options = Options(words=words)
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


def complete(options: Options) -> None:
    """Add what fail2ban.conf says. Raises `SipguardError` for a directory that is not there, `ValueError` for a log level."""
    missing = [name for name in _EARLY if name not in options.given]
    if missing:
        directory = options.directory
        if directory.is_dir():
            ini = read_ini(layer_files(directory, "fail2ban"))
            found = {name: ini.get("Definition", name) for name in missing}
        elif "conf" in options.given:
            raise SipguardError(f"Base configuration directory {directory} does not exist ")
        else:
            found = {}  # no Fail2ban was ever here: its usual places will do
        for name in missing:
            options.given[name] = found.get(name) or _EARLY[name]
    level = str(options.given["loglevel"])
    if not level.isdecimal() and level.upper() not in _LEVELS:
        raise ValueError(f"Invalid log level {level!r}")
    options.say("INFO", f"Using socket file {options.given['socket']}")
    pid_file, target = options.given["pidfile"], options.given["logtarget"]
    options.say("INFO", f"Using pid file {pid_file}, [{level}] logging to {target}")
