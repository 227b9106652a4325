"""Reads pickles of protocols 0 to 5 that contain plain data: text, bytes, numbers, None, lists, tuples, dicts, sets.

Python's own unpickler runs what a pickle asks for. Refusing names in `find_class` still leaves opcodes that set attributes,
allocate memory by declared lengths, or share one object a million times. Here such opcodes do not exist and raise an error:
of the standard library's opcodes in Python, those that make plain data are taken, and limits are put around them.
Sources: PEP 307, PEP 3154, PEP 574, and the opcode list that `python -m pickletools` prints.
"""

from __future__ import annotations

import io
import math
import pickle
import struct
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

LONGEST = 10 * 1024 * 1024
"""Longest pickle from an untrusted sender, in bytes."""
MOST_OBJECTS = 100_000
"""Most objects, and most memo entries, per pickle. Enough for tens of thousands of addresses; 20 MB at worst."""
MOST_SHARED = 4 * 1024 * 1024
"""Most bytes of text that memo fetches may add. They cost nothing in the pickle, but do when it is printed."""
MOST_ODD_KEYS = 2000
"""Most dict keys and set members that are not text: their hashes, unlike those of text, can be chosen to collide."""
DEEPEST = 64
"""Deepest nesting of containers."""
LONGEST_NUMBER = 1024
"""Longest number in bytes or digits: conversion takes quadratic time."""


@dataclass(frozen=True, slots=True)
class Limits:
    longest: int = LONGEST
    objects: int = MOST_OBJECTS
    shared: int = MOST_SHARED


STRANGER = Limits()
SERVER = Limits(longest=1 << 28, objects=5_000_000, shared=1 << 28)
"""Limits for a client reading its server's answer: a server with a million bans sends a lot."""

Global = Callable[..., Any]
"""Stand-in for a class in the pickle, called with its arguments."""


class UnpickleError(ValueError):
    """Not a pickle, or one that needs more than plain data."""


_MISFITS = (ArithmeticError, AttributeError, LookupError, TypeError, ValueError, struct.error, pickle.PickleError)
"""Each means that the stack or the bytes did not fit the opcode."""


def loads(data: bytes, *, classes: Mapping[tuple[str, str], Global] | None = None, limits: Limits = STRANGER) -> Any:
    """Return the value in `data`. `classes` maps (module, name) to stand-ins for classes; by default there are none.

    Raises `UnpickleError` for everything that is not completely understood.
    """
    if len(data) > limits.longest:
        raise UnpickleError(f"longer than {limits.longest} bytes")
    file = io.BytesIO(data)
    try:
        return _Machine(file, classes or {}, limits).run()
    except UnpickleError:
        raise
    except _MISFITS as error:
        raise UnpickleError(f"not a pickle of plain data (byte {file.tell()}: {type(error).__name__})") from None


class _Machine(pickle._Unpickler):  # the one in Python, not in C: its opcodes can be chosen
    """The pickle machine: bytes, a stack for what follows each mark, and a memo."""

    def __init__(self, file: io.BytesIO, classes: Mapping[tuple[str, str], Global], limits: Limits) -> None:
        super().__init__(file, encoding="utf-8")  # of Python 2's byte strings: it and Go clients use them for text
        # A declared length never reads more than there is, and frames are hints for readers of streams.
        self.read, self.readline, self.tell = file.read, file.readline, file.tell
        self.stack: list[Any] = []
        self.memo: dict[int, Any] = {}
        self.metastack: list[list[Any]] = []
        self.append = self.stack.append
        self.limits, self.classes = limits, classes
        self.objects = self.shared = self.odd_keys = 0

    def run(self) -> Any:
        most = self.limits.objects
        while (code := self.read(1)) != pickle.STOP:
            action = _ACTIONS.get(code)
            if action is None:
                raise UnpickleError(
                    f"opcode {code!r} at byte {self.tell() - 1} is not allowed" if code else "ends before its end"
                )
            action(self)
            self.objects += code not in _NO_OBJECTS
            if self.objects > most or len(self.memo) > most:
                raise UnpickleError(f"more than {most} objects")
        value = self.stack.pop()
        _check_depth(value)
        return value

    def copy(self, value: Any, depth: int = 0) -> Any:
        """Copy a memo entry: containers are copied, so that none contains itself, and every copy counts towards the limits."""
        if depth > DEEPEST:
            raise UnpickleError("nested too deep")
        self.objects += 1
        self.shared += len(value) if isinstance(value, str | bytes) else 0
        if self.shared > self.limits.shared or self.objects > self.limits.objects:
            raise UnpickleError("shares too much")
        if isinstance(value, list | tuple | set | frozenset):
            return type(value)(self.copy(item, depth + 1) for item in value)
        if isinstance(value, dict):
            return {self.copy(key, depth + 1): self.copy(item, depth + 1) for key, item in value.items()}
        return value

    def check_keys(self, keys: Sequence[Any]) -> None:
        self.odd_keys += sum(not isinstance(key, str) for key in keys)
        if self.odd_keys > MOST_ODD_KEYS:
            raise UnpickleError(f"more than {MOST_ODD_KEYS} keys that are not text")

    def find_class(self, module: str, name: str) -> Global:
        try:
            return self.classes[module, name]
        except KeyError:
            raise UnpickleError(f"{module[:60]!r}.{name[:60]!r} is a class, and none is built here") from None

    def number(self) -> bytes:
        """A line that says a number."""
        line = self.readline(LONGEST_NUMBER)
        if not line.endswith(b"\n"):
            raise UnpickleError("a number has no end, or is too long")
        return line.strip()


def _check_depth(value: Any) -> None:
    """Raise if containers are nested so deeply that printing or writing them would recurse too far."""
    level = [value]
    for _ in range(DEEPEST):
        level = [item for one in level for item in _inside(one)]
        if not level:
            return
    raise UnpickleError("nested too deep")


def _inside(value: Any) -> list[Any]:
    if isinstance(value, dict):
        return [item for pair in value.items() for item in pair]
    return list(value) if isinstance(value, list | tuple | set | frozenset) else []


Action = Callable[[_Machine], None]


def _standard(codes: bytes) -> dict[bytes, Action]:
    return {bytes([code]): pickle._Unpickler.dispatch[code] for code in codes}  # type: ignore[misc]


def _hashed(action: Action, keys: slice) -> Action:
    """The same, when those above the last mark have been counted that become keys or members."""

    def counted(m: _Machine) -> None:
        m.check_keys(m.stack[keys])
        action(m)

    return counted


def _copied(action: Action) -> Action:
    """The same, but what it pushes is a copy."""

    def copied(m: _Machine) -> None:
        action(m)
        m.append(m.copy(m.stack.pop()))

    return copied


def _sized(size: int, make: Callable[[bytes], Any], longest: float = math.inf) -> Action:
    """What begins with its length, a number of so many bytes."""

    def action(m: _Machine) -> None:
        length = int.from_bytes(m.read(size), "little")
        if length > longest:
            raise UnpickleError("a number is too long")
        m.append(make(m.read(length)))

    return action


def _number(data: bytes) -> int:
    return int.from_bytes(data, "little", signed=True)


def _int(m: _Machine) -> None:
    text = m.number()
    m.append(text == b"01" if text in (b"00", b"01") else int(text))


def _unicode(m: _Machine) -> None:
    text = str(m.readline()[:-1], "raw-unicode-escape")
    text.encode()  # a lone surrogate is not text: it could not be written anywhere
    m.append(text)


def _frame(m: _Machine) -> None:
    """Its length is a hint for readers of streams."""
    m.read(8)


def _reduce(m: _Machine) -> None:
    """Call a stand-in. Without stand-ins, nothing on the stack can be called."""
    arguments, function = m.stack.pop(), m.stack.pop()
    if type(arguments) is not tuple or function not in m.classes.values():
        raise UnpickleError("an opcode is out of place")
    m.append(function(*arguments))


def _build(m: _Machine) -> None:
    """What an error brings beside its arguments, as some do from Python 3.12 on, is left out: nothing sets attributes here."""
    m.stack.pop()
    if not isinstance(m.stack[-1], Exception):
        raise UnpickleError("an opcode is out of place")


_NO_OBJECTS = {bytes([code]) for code in b"01abespqru\x80\x90\x94\x95"}
"""Opcodes that push nothing."""
_ACTIONS: dict[bytes, Action] = {
    **_standard(b"(01GJKMN]l}t)aepqrScS\x80\x85\x86\x87\x88\x89\x8f\x93\x94"),
    **{code: _copied(action) for code, action in _standard(b"2ghj").items()},
    **{code: _hashed(action, slice(None, None, 2)) for code, action in _standard(b"du").items()},
    **{code: _hashed(action, slice(None)) for code, action in _standard(b"\x90\x91").items()},
    **{code: _hashed(action, slice(-2, -1)) for code, action in _standard(b"s").items()},
    **{
        code: _sized(size, bytes.decode) for code, size in ((b"U", 1), (b"T", 4), (b"X", 4), (b"\x8c", 1), (b"\x8d", 8))
    },
    **{code: _sized(size, bytes) for code, size in ((b"C", 1), (b"B", 4), (b"\x8e", 8), (b"\x96", 8))},
    **{code: _sized(size, _number, LONGEST_NUMBER) for code, size in ((b"\x8a", 1), (b"\x8b", 4))},
    b"F": lambda m: m.append(float(m.number())),
    b"I": _int,
    b"L": lambda m: m.append(int(m.number().removesuffix(b"L"))),
    b"R": _reduce,
    b"V": _unicode,
    b"b": _build,
    b"\x95": _frame,
}
"""Opcode → its function. Opcodes that create objects are missing: INST, OBJ, NEWOBJ, persistent and extension ids."""
