"""What both ends of Fail2ban's socket agree on. A request and an answer are each one pickle and an end mark."""

from __future__ import annotations

END = b"<F2B_END_COMMAND>"
"""Ends a request and an answer."""
CLOSE = b"<F2B_CLOSE_COMMAND>"
"""In place of a request: the client has no more."""

SPOKEN_VERSION = "1.0.2"
"""The Fail2ban whose protocol and output are kept to; programs ask for it (`version`) and decide by it."""

DEFAULT_SOCKET = "/var/run/fail2ban/fail2ban.sock"
DEFAULT_PIDFILE = "/var/run/fail2ban/fail2ban.pid"


class InvalidCommandError(Exception):
    """No such command, or not like this: a bare `Exception` on the wire."""


class UnknownJailError(KeyError):
    """No jail of this name runs: `fail2ban.exceptions.UnknownJailException` on the wire."""


class DuplicateJailError(Exception):
    """There is a jail of this name already: `fail2ban.exceptions.DuplicateJailException` on the wire."""


class RegexError(Exception):
    """A regex that cannot be used: `fail2ban.server.failregex.RegexException` on the wire."""
