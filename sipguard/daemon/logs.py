"""sipguard's own log, in Fail2ban's format and with its verbs: recidive jails, dashboards and panels read it.

2026-11-21 21:09:24,878 fail2ban.actions        [25622]: NOTICE  [asterisk] Ban 203.0.113.5
"""

from __future__ import annotations

import logging
import logging.handlers
import sys

from sipguard.errors import ConfigError
from sipguard.text import printable

NOTICE = 25
"""Fail2ban's level between INFO and WARNING: bans and unbans."""
LEVELS = {
    "CRITICAL": logging.CRITICAL,
    "ERROR": logging.ERROR,
    "WARNING": logging.WARNING,
    "NOTICE": NOTICE,
    "INFO": logging.INFO,
    "DEBUG": logging.DEBUG,
    "TRACEDEBUG": 7,
    "HEAVYDEBUG": 5,
}
FORMAT = "%(asctime)s %(name)-24s[%(process)d]: %(levelname)-7s %(message)s"
SYSLOG_FORMAT = "%(name)s[%(process)d]: %(levelname)s %(message)s"


class _Formatter(logging.Formatter):
    """Keeps one record on one line: part of a message may come from an attacker."""

    def format(self, record: logging.LogRecord) -> str:
        return printable(super().format(record))


def start(target: str, level: str) -> None:
    """Send the log to `target`: a file, STDOUT, STDERR or SYSLOG. Raises `ConfigError`."""
    logging.addLevelName(NOTICE, "NOTICE")
    handler = _handler(target)
    handler.setFormatter(_Formatter(SYSLOG_FORMAT if target.upper() == "SYSLOG" else FORMAT))
    for name in ("fail2ban", "sipguard"):  # the names that readers of Fail2ban's log know, and our own modules
        root = logging.getLogger(name)
        for old in root.handlers[:]:
            root.removeHandler(old)
            old.close()
        root.addHandler(handler)
        root.setLevel(LEVELS[level.upper()])
        root.propagate = False


def _handler(target: str) -> logging.Handler:
    match target.upper():
        case "STDOUT":
            return logging.StreamHandler(sys.stdout)
        case "STDERR":
            return logging.StreamHandler(sys.stderr)
        case "SYSLOG":
            return logging.handlers.SysLogHandler("/dev/log", facility=logging.handlers.SysLogHandler.LOG_DAEMON)
    try:
        # Reopens the file when somebody has moved it away, so that log rotation needs no signal.
        return logging.handlers.WatchedFileHandler(target, encoding="utf-8")
    except OSError as error:
        raise ConfigError(f'logtarget = "{target}": {error.strerror}; give a file in a folder that exists') from error
