"""Writes answers as Fail2ban's server pickles them: protocol 5, `(0, value)` or `(1, exception)`.

Clients depend on the types: tuples stay tuples, lists stay lists, counts are integers. An error is an instance of a class of
Fail2ban that the client imports; it is only named in the pickle, never imported here.
"""

from __future__ import annotations

import pickle
from collections.abc import Sequence

from sipguard.fail2ban.protocol.messages import DuplicateJailError, RegexError, UnknownJailError

_NAMES: dict[type[BaseException], tuple[str, str]] = {
    UnknownJailError: ("fail2ban.exceptions", "UnknownJailException"),
    DuplicateJailError: ("fail2ban.exceptions", "DuplicateJailException"),
    RegexError: ("fail2ban.server.failregex", "RegexException"),
}
_BUILTIN = (
    *(IndexError, KeyError, ValueError, TypeError, NameError, LookupError, RuntimeError, AttributeError),
    *(FileNotFoundError, PermissionError, IsADirectoryError, NotADirectoryError, OSError, SyntaxError),
    *(ZeroDivisionError, OverflowError, NotImplementedError),
)


def success(value: object) -> bytes:
    """Pickle `(0, value)`. The value is plain data: None, bool, int, float, str, and lists, tuples, dicts of these."""
    return pickle.dumps((0, value), 5)


def failure(error: BaseException) -> bytes:
    """Pickle `(1, exception)`: the class by name, its arguments as text or numbers."""
    module, name = _class_of(error)
    arguments: tuple[object, ...] = error.args
    if isinstance(error, OSError) and error.filename is not None:
        arguments = (*arguments, error.filename)
    body = b"K\x01" + _text(module) + _text(name) + b"\x93\x94"
    body += _tuple([_scalar(one) for one in arguments]) + b"R\x94\x86\x94."
    return b"\x80\x05\x95" + len(body).to_bytes(8, "little") + body


def unreadable(why: object) -> bytes:
    """Pickle the answer to a request that could not be read: one text."""
    return pickle.dumps(f"ERROR: {why}", 5)


def _class_of(error: BaseException) -> tuple[str, str]:
    kind = type(error)
    if kind in _NAMES:
        return _NAMES[kind]
    if kind in _BUILTIN:
        return "builtins", kind.__name__
    return "builtins", "Exception"


def _tuple(items: Sequence[bytes]) -> bytes:
    if not items:
        return b")"
    if len(items) <= 3:
        return b"".join(items) + (b"\x85", b"\x86", b"\x87")[len(items) - 1] + b"\x94"
    return b"(" + b"".join(items) + b"t\x94"


def _scalar(value: object) -> bytes:
    if isinstance(value, int) and not isinstance(value, bool) and 0 <= value < 256:
        return b"K" + value.to_bytes(1, "little")
    if isinstance(value, int) and not isinstance(value, bool) and -(1 << 31) <= value < 1 << 31:
        return b"J" + value.to_bytes(4, "little", signed=True)
    return _text(str(value))


def _text(text: str) -> bytes:
    data = text.encode("utf-8", "surrogatepass")
    size = len(data)
    head = b"\x8c" + size.to_bytes(1, "little") if size < 256 else b"X" + size.to_bytes(4, "little")
    return head + data + b"\x94"
