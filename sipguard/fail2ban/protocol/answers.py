"""Reads a server's answers: plain data, and errors whose classes are matched by name and never imported."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from sipguard.fail2ban.protocol.unpickle import SERVER, loads


class RemoteError(Exception):
    """An error at the server. `kind` is the name of its class there, `args` its arguments."""

    kind = "Exception"

    def __str__(self) -> str:
        """The text as Python prints that class."""
        if self.kind in ("KeyError", "UnknownJailException") and len(self.args) == 1:
            return repr(self.args[0])
        if self.path and len(self.args) == 2:
            return f"[Errno {self.args[0]}] {self.args[1]}: {self.path!r}"
        return super().__str__()

    path = ""
    """Path of a failed system call."""


def _remote(kind: str, *, system: bool = False) -> Callable[..., RemoteError]:
    def make(*arguments: Any) -> RemoteError:
        error = RemoteError(*(arguments[:2] if system else arguments))
        error.kind = kind
        if system and len(arguments) > 2:
            error.path = str(arguments[2])
        return error

    return make


_ERRORS = (
    *("Exception", "IndexError", "KeyError", "ValueError", "TypeError", "NameError", "LookupError", "RuntimeError"),
    *(
        "AttributeError",
        "SyntaxError",
        "ZeroDivisionError",
        "OverflowError",
        "NotImplementedError",
        "UnicodeDecodeError",
    ),
)
_SYSTEM = ("FileNotFoundError", "PermissionError", "IsADirectoryError", "NotADirectoryError", "OSError")

_CLASSES: dict[tuple[str, str], Callable[..., Any]] = {
    # Fail2ban's server writes addresses as a call of `str`.
    ("builtins", "str"): str,
    ("fail2ban.exceptions", "UnknownJailException"): _remote("UnknownJailException"),
    ("fail2ban.exceptions", "DuplicateJailException"): _remote("DuplicateJailException"),
    ("fail2ban.server.failregex", "RegexException"): _remote("RegexException"),
    ("fail2ban.server.utils", "BanTimeIncrException"): _remote("BanTimeIncrException"),
    **{("builtins", name): _remote(name) for name in _ERRORS},
    **{("builtins", name): _remote(name, system=True) for name in _SYSTEM},
}


def read(data: bytes) -> Any:
    """Parse an answer without its end mark. Raises `UnpickleError`."""
    return loads(data, classes=_CLASSES, limits=SERVER)
