"""sipguard's own log, in Fail2ban's format and with its verbs: recidive jails, dashboards and panels read it.

2026-11-21 21:09:24,878 fail2ban.actions        [25622]: NOTICE  [asterisk] Ban 203.0.113.5
"""

from __future__ import annotations

import logging
import logging.handlers
import sys
import time

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


REOPEN = 1.0
"""Seconds between two looks whether somebody has moved the log file away: what comes in between goes where it went."""


class _Formatter(logging.Formatter):
    """Keeps one record on one line: part of a message may come from an attacker."""

    _second = ("", -1)

    def formatTime(self, record: logging.LogRecord, datefmt: str | None = None) -> str:  # noqa: ARG002, N802 - as in logging
        """The local time as Fail2ban writes it; worked out once per second, since attacks are logged by the thousand."""
        text, second = self._second
        if second != int(record.created):
            second = int(record.created)
            text = time.strftime("%Y-%m-%d %H:%M:%S", time.localtime(second))
            self._second = text, second
        return f"{text},{int(record.msecs):03d}"

    def format(self, record: logging.LogRecord) -> str:
        return printable(super().format(record))


class _File(logging.handlers.WatchedFileHandler):
    """Reopens the file when somebody has moved it away, so that log rotation needs no signal."""

    _looked = 0.0

    def reopenIfNeeded(self) -> None:  # noqa: N802 - logging's name
        """Look, but not before each of a thousand lines."""
        if time.monotonic() >= self._looked + REOPEN:
            self._looked = time.monotonic()
            super().reopenIfNeeded()


def start(target: str, level: str) -> None:
    """Send the log to `target`: a file, STDOUT, STDERR or SYSLOG. Raises `ConfigError`."""
    logging.addLevelName(NOTICE, "NOTICE")
    # What no format of ours shows need not be found out for each line (logging HOWTO, section Optimization).
    logging._srcfile = None
    logging.logThreads = logging.logMultiprocessing = False
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
        return _File(target, encoding="utf-8")
    except OSError as error:
        raise ConfigError(f'logtarget = "{target}": {error.strerror}; give a file in a folder that exists') from error
