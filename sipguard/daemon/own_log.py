"""sipguard's own log, in Fail2ban's format and with its verbs: recidive jails, dashboards and panels read it.

2026-11-21 21:09:24,878 fail2ban.actions        [25622]: NOTICE  [asterisk] Ban 203.0.113.5

Or, for programs that would rather not take lines apart (`logformat = "json"`):

{"time": "2026-11-21T21:09:24.878+00:00", "level": "NOTICE", "logger": "fail2ban.actions", "pid": 25622,
 "jail": "asterisk", "message": "Ban 203.0.113.5"}                                               (all of it on one line)
"""

from __future__ import annotations

import contextlib
import errno
import json
import logging
import logging.handlers
import os
import re
import stat
import sys
import time
from datetime import UTC, datetime
from functools import lru_cache
from pathlib import Path
from typing import Any, Literal

from sipguard.errors import ConfigError
from sipguard.text import printable

LogFormat = Literal["fail2ban", "json"]

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
JOURNAL_FORMAT = "%(name)s: %(levelname)s %(message)s"
SYSLOG_FORMAT = "%(name)s[%(process)d]: %(levelname)s %(message)s"


SYSLOG_SOCKET = "/dev/log"
_JAIL = re.compile(r"\[([^\]]+)\] (.*)", re.DOTALL)
_SYSLOG_LEVELS = ((logging.CRITICAL, 2), (logging.ERROR, 3), (logging.WARNING, 4), (NOTICE, 5), (logging.INFO, 6))
"""Python's level → syslog(3)'s; whatever is less is 7, debug."""

REOPEN = 1.0
"""How often to check whether the log file was moved away, in seconds; until then messages go to the moved file."""


class LogBatch(list[str]):
    """Messages of one moment, given to a logger as one: each is a line of its own, written in one go.

    An attack is logged by the thousand lines, and a record for each costs more than the line of log that it tells of.
    """

    def __str__(self) -> str:
        return "\n".join(self)


@lru_cache(maxsize=16)
def moment(second: int) -> str:
    """A POSIX second as Fail2ban writes it: local time."""
    return time.strftime("%Y-%m-%d %H:%M:%S", time.localtime(second))


class _Formatter(logging.Formatter):
    """Keeps one record on one line: part of a message may come from an attacker."""

    def format(self, record: logging.LogRecord) -> str:
        if isinstance(record.msg, LogBatch):
            record.message, record.asctime = "", self.formatTime(record)
            head, messages = self.formatMessage(record), record.msg
            if not "".join(messages).isprintable():  # asked once for all: an attack is logged by the thousand lines
                messages = LogBatch(map(printable, messages))
            return head + f"\n{head}".join(messages)
        return printable(super().format(record))


class _JournalFormatter(_Formatter):
    """Lines for a standard output that is the journal: the level stands in front, as sd-daemon(3) has it.

    The time, the process and the unit are the journal's to know.
    """

    def format(self, record: logging.LogRecord) -> str:
        level = f"<{syslog_level(record.levelno)}>"
        return "\n".join([f"{level}{line}" for line in super().format(record).split("\n")])


class _JsonFormatter(logging.Formatter):
    """One JSON object a line (RFC 8259), ASCII: nothing of an attacker's can end the line or reach a terminal."""

    def format(self, record: logging.LogRecord) -> str:
        messages = record.msg if isinstance(record.msg, LogBatch) else [record.getMessage()]
        return "\n".join([self._object(record, message) for message in messages])

    def _object(self, record: logging.LogRecord, message: str) -> str:
        told = {
            "time": datetime.fromtimestamp(record.created, UTC).isoformat(timespec="milliseconds"),
            "level": record.levelname,
            "logger": record.name,
            "pid": record.process,
        }
        if match := _JAIL.fullmatch(message):
            told["jail"], message = match.groups()
        told["message"] = message
        if record.exc_info:
            told["trace"] = self.formatException(record.exc_info)
        return json.dumps(told)


def syslog_level(level: int) -> int:
    """The number by which syslog(3) knows a level of Python's."""
    return next((number for least, number in _SYSLOG_LEVELS if level >= least), 7)


class _Stream(logging.StreamHandler[Any]):
    """Lines that cannot be written are lost: the protection goes on. That is said once on standard error, not of each."""

    _fails = _failed = False

    def emit(self, record: logging.LogRecord) -> None:
        """Write it; never raises."""
        self._failed, self._fails = self._fails, False
        try:
            super().emit(record)
        except OSError:  # from reopening a file
            self.handleError(record)

    def handleError(self, record: logging.LogRecord) -> None:  # noqa: ARG002, N802 - logging's name
        """Say it, unless it was so before."""
        self._fails = True
        if not self._failed:
            with contextlib.suppress(OSError, ValueError, AttributeError):
                error = sys.exc_info()[1]
                why = getattr(error, "strerror", None) or error
                sys.stderr.write(
                    f"sipguard: its log cannot be written: {why}; lines are lost until it can, bans go on\n"
                )
        for stream in (sys.stdout, sys.stderr):
            _leave_if_unread(stream)

    def close(self) -> None:
        """Never raises: what it still holds cannot be written either."""
        with contextlib.suppress(OSError, ValueError):
            super().close()


def _leave_if_unread(stream: Any) -> None:
    """A pipe whose reader has gone becomes /dev/null: what is buffered would else fail at the exit (status 120)."""
    with contextlib.suppress(OSError, ValueError, AttributeError):
        try:
            stream.flush()
        except BrokenPipeError:
            nothing = os.open(os.devnull, os.O_WRONLY)
            os.dup2(nothing, stream.fileno())
            os.close(nothing)


class _File(_Stream, logging.handlers.WatchedFileHandler):
    """Reopens the file when somebody has moved it away, so that log rotation needs no signal."""

    _looked = 0.0

    def reopenIfNeeded(self) -> None:  # noqa: N802 - logging's name
        """Look, but not before each of a thousand lines."""
        if self._fails or self._failed or time.monotonic() >= self._looked + REOPEN:
            self._looked = time.monotonic()
            try:
                super().reopenIfNeeded()
            except OSError:
                # The old file does not take what it has not got yet. That is lost; `emit` opens what is there now.
                old, self.stream = self.stream, None
                with contextlib.suppress(OSError, ValueError, AttributeError):
                    old.close()  # type: ignore[union-attr]  # None when it was the new one that could not be opened


def start(target: str, level: str, style: LogFormat = "fail2ban") -> None:
    """Send the log to `target`: a file, STDOUT, STDERR or SYSLOG. Raises `ConfigError`."""
    logging.addLevelName(NOTICE, "NOTICE")
    # What no format of ours shows need not be found out for each line (logging HOWTO, section Optimization).
    logging._srcfile = None
    logging.logThreads = logging.logMultiprocessing = False
    # Its emitter says at every other reload that it was asked once more after its end: nothing that anybody need know.
    logging.getLogger("watchdog").setLevel(logging.CRITICAL)
    handler = _handler(target)
    handler.setFormatter(_formatter(target, style, handler))
    for name in ("fail2ban", "sipguard"):  # the names that readers of Fail2ban's log know, and our own modules
        root = logging.getLogger(name)
        for old in root.handlers[:]:
            root.removeHandler(old)
            old.close()
        root.addHandler(handler)
        root.setLevel(LEVELS[level.upper()])
        root.propagate = False


def _formatter(target: str, style: LogFormat, handler: logging.Handler) -> logging.Formatter:
    if style == "json":
        return _JsonFormatter()
    if target.upper() == "SYSLOG":
        return _Formatter(SYSLOG_FORMAT)
    if isinstance(handler, logging.StreamHandler) and _is_journal(handler):
        return _JournalFormatter(JOURNAL_FORMAT)
    return _Formatter(FORMAT)


def _is_journal(handler: logging.StreamHandler[Any]) -> bool:
    """Whether this stream goes to the journal: $JOURNAL_STREAM names its device and inode (systemd.exec(5))."""
    device, _, inode = os.environ.get("JOURNAL_STREAM", "").partition(":")
    try:
        status = os.fstat(handler.stream.fileno())
    except (OSError, ValueError, AttributeError):
        return False
    return stat.S_ISSOCK(status.st_mode) and (str(status.st_dev), str(status.st_ino)) == (device, inode)


class _SysLog(logging.handlers.SysLogHandler):
    """Knows NOTICE, which Python would send as a warning. Where no syslog runs, lines are lost until one does."""

    priority_map = {**logging.handlers.SysLogHandler.priority_map, "NOTICE": "notice"}  # noqa: RUF012 - as its base has it

    def emit(self, record: logging.LogRecord) -> None:
        """Send it; of several messages each by itself, as syslog(3) has it."""
        for message in record.msg if isinstance(record.msg, LogBatch) else ():
            super().emit(logging.makeLogRecord({**record.__dict__, "msg": message, "args": None}))
        if not isinstance(record.msg, LogBatch):
            super().emit(record)

    def handleError(self, record: logging.LogRecord) -> None:  # noqa: N802 - logging's name
        """Nothing: the protection goes on, and there is nowhere to say it."""


def _handler(target: str) -> logging.Handler:
    match target.upper():
        case "STDOUT":
            return _Stream(sys.stdout)
        case "STDERR":
            return _Stream(sys.stderr)
        case "SYSLOG":
            return _SysLog(SYSLOG_SOCKET, facility=logging.handlers.SysLogHandler.LOG_DAEMON)
    try:
        return _File(target, encoding="utf-8")
    except OSError as error:
        raise _no_file(target, error) from error


def check_target(target: str) -> None:
    """Raise `ConfigError` if the log could not be written there; no file is made."""
    if target.upper() in ("STDOUT", "STDERR", "SYSLOG"):
        return
    try:
        path = Path(target)
        wrong = 0
        if path.is_dir():
            wrong = errno.EISDIR
        elif not stat.S_ISDIR(path.parent.stat().st_mode):
            wrong = errno.ENOTDIR
        elif not os.access(path if os.path.lexists(path) else path.parent, os.W_OK):
            wrong = errno.EACCES
        if wrong:
            raise OSError(wrong, os.strerror(wrong))
    except OSError as error:
        raise _no_file(target, error) from error


def _no_file(target: str, error: OSError) -> ConfigError:
    return ConfigError(f'logtarget = "{target}": {error.strerror}; give a file in a folder that exists')
