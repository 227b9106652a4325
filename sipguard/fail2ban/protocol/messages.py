"""Constants and errors of Fail2ban's protocol. A request and an answer are each one pickle and an end mark."""

from __future__ import annotations

END = b"<F2B_END_COMMAND>"
"""Ends a request and an answer."""
CLOSE = b"<F2B_CLOSE_COMMAND>"
"""Sent instead of a request: the client is done."""

SPOKEN_VERSION = "1.0.2"
"""The Fail2ban version that we claim. Programs query it (`version`) and adapt to it."""

DEFAULT_SOCKET = "/var/run/fail2ban/fail2ban.sock"
DEFAULT_PIDFILE = "/var/run/fail2ban/fail2ban.pid"


class InvalidCommandError(Exception):
    """Unknown command or wrong arguments: a bare `Exception` on the wire."""


class UnknownJailError(KeyError):
    """No jail of this name runs: `fail2ban.exceptions.UnknownJailException` on the wire."""


class DuplicateJailError(Exception):
    """A jail of this name already exists: `fail2ban.exceptions.DuplicateJailException` on the wire."""


class RegexError(Exception):
    """Invalid regex: `fail2ban.server.failregex.RegexException` on the wire."""
