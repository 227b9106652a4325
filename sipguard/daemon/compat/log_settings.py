"""`loglevel`, `logtarget`, `syslogsocket` and `flushlogs` as Fail2ban's clients set and ask for them."""

from __future__ import annotations

import logging
import logging.handlers

from sipguard.daemon.daemon import Daemon
from sipguard.daemon.own_log import LEVELS
from sipguard.daemon.own_log import start as start_log
from sipguard.errors import ConfigError
from sipguard.fail2ban.protocol.messages import InvalidCommandError

_LOGGERS = ("fail2ban", "sipguard")
_STREAMS = ("STDERR", "STDOUT", "SYSOUT", "SYSLOG", "SYSTEMD-JOURNAL")


class LogSettings:
    """What was set, until a reload brings the configuration back."""

    def __init__(self, daemon: Daemon) -> None:
        self._daemon = daemon
        self._settings = daemon.settings
        self._given: dict[str, str] = {}

    def get(self, name: str) -> str:
        """The setting as it is now, in the words in which it was given."""
        if self._daemon.settings is not self._settings:
            self._settings = self._daemon.settings
            self._given.clear()
        defaults = {"loglevel": self._settings.loglevel, "logtarget": self._settings.logtarget, "syslogsocket": "auto"}
        return self._given.get(name, defaults[name])

    def set(self, name: str, value: str) -> None:
        """Raises `ValueError` for an unknown level, `InvalidCommandError` for a target that cannot be written."""
        if name == "loglevel":
            self._set_level(_level(value))
        elif name == "logtarget" and value != self.get("logtarget"):
            level = _level(self.get("loglevel"))
            try:
                start_log(_target(value), "INFO")
            except (ConfigError, OSError):
                raise InvalidCommandError("Failed to change log target") from None
            self._set_level(level)
        self.get(name)
        self._given[name] = value

    def flush(self) -> bool:
        """Open the log file anew, after it has been moved away; False when the log is no file."""
        for handler in logging.getLogger("fail2ban").handlers:
            handler.flush()
            if isinstance(handler, logging.handlers.WatchedFileHandler):
                handler.reopenIfNeeded()
        return self.get("logtarget").partition("[")[0].upper() not in _STREAMS

    @staticmethod
    def _set_level(level: int) -> None:
        for name in _LOGGERS:
            logging.getLogger(name).setLevel(level)


def _target(value: str) -> str:
    """Fail2ban's target in our words; its options (`SYSLOG[facility=…]`) are left out. Raises `InvalidCommandError`."""
    name = value.partition("[")[0]
    if name.upper() in ("STDOUT", "SYSOUT"):
        return "STDOUT"
    if name.upper() in ("STDERR", "SYSLOG"):
        return name.upper()
    if not name.startswith("/"):
        raise InvalidCommandError("Failed to change log target")
    return name


def _level(value: str) -> int:
    if value.isdecimal():
        return int(value[:3])
    if value not in LEVELS:
        raise ValueError(f"Invalid log level {value!r}")
    return LEVELS[value]
