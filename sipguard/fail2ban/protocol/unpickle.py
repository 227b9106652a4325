"""Reads pickles of protocols 0 to 5 that contain plain data: text, bytes, numbers, None, lists, tuples, dicts, sets.

Python's own unpickler runs what a pickle asks for. Refusing names in `find_class` still leaves opcodes that set attributes,
allocate memory by declared lengths, or share one object a million times. Here such opcodes do not exist and raise an error.
Sources: PEP 307, PEP 3154, PEP 574, and the opcode list that `python -m pickletools` prints.
"""

from __future__ import annotations

import struct
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from typing import Any, NoReturn

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

_MARK = object()


@dataclass(frozen=True, slots=True)
class Limits:
    """Limits for one pickle."""

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


def loads(data: bytes, *, classes: Mapping[tuple[str, str], Global] | None = None, limits: Limits = STRANGER) -> Any:
    """Return the value in `data`. `classes` maps (module, name) to stand-ins for classes; by default there are none.

    Raises `UnpickleError` for everything that is not completely understood.
    """
    if len(data) > limits.longest:
        raise UnpickleError(f"longer than {limits.longest} bytes")
    machine = _Machine(data, classes or {}, limits)
    try:
        return machine.run()
    except UnpickleError:
        raise
    except (IndexError, KeyError, TypeError, ValueError, OverflowError, AttributeError, struct.error) as error:
        # Each means that the stack or the bytes did not fit the opcode.
        raise UnpickleError(f"not a pickle of plain data (byte {machine.at}: {type(error).__name__})") from None


class _Machine:
    """The pickle machine: bytes, a stack with marks on it, and a memo."""

    def __init__(self, data: bytes, classes: Mapping[tuple[str, str], Global], limits: Limits) -> None:
        self.data = data
        self.limits = limits
        self.at = 0
        self.stack: list[Any] = []
        self.memo: dict[int, Any] = {}
        self.classes = classes
        self.objects = 0
        self.shared = 0
        self.odd_keys = 0

    def run(self) -> Any:
        while True:
            code = self.data[self.at : self.at + 1]
            if not code:
                raise UnpickleError("ends before its end")
            self.at += 1
            if code == b".":
                break
            action = _ACTIONS.get(code)
            if action is None:
                raise UnpickleError(f"opcode {code!r} at byte {self.at - 1} is not allowed")
            action(self)
        value = self.pop()
        _check_depth(value)
        return value

    def push(self, value: Any) -> None:
        self.objects += 1
        if self.objects > self.limits.objects:
            raise UnpickleError(f"more than {self.limits.objects} objects")
        self.stack.append(value)

    def pop(self) -> Any:
        value = self.stack.pop()
        if value is _MARK:
            _misplaced()
        return value

    def items(self) -> list[Any]:
        """Pop everything above the last mark, and the mark itself."""
        for index in range(len(self.stack) - 1, -1, -1):
            if self.stack[index] is _MARK:
                values = self.stack[index + 1 :]
                del self.stack[index:]
                return values
        raise UnpickleError("a mark is missing")

    def take(self, count: int) -> bytes:
        """Read the next bytes. A declared length never allocates more memory than there are bytes."""
        end = self.at + count
        if count < 0 or end > len(self.data):
            raise UnpickleError("ends before its end")
        piece = self.data[self.at : end]
        self.at = end
        return piece

    def number(self, size: int) -> int:
        return int.from_bytes(self.take(size), "little")

    def line(self) -> bytes:
        end = self.data.find(b"\n", self.at)
        if end < 0:
            raise UnpickleError("ends before its end")
        piece = self.data[self.at : end]
        self.at = end + 1
        return piece

    def top(self, kind: type) -> Any:
        value = self.stack[-1]
        if type(value) is not kind:
            _misplaced()
        return value

    def remember(self, key: int) -> None:
        value = self.stack[-1]
        if value is _MARK:
            _misplaced()
        self.memo[key] = value
        if len(self.memo) > self.limits.objects:
            raise UnpickleError(f"remembers more than {self.limits.objects} objects")

    def recall(self, key: int) -> None:
        self.push(self.copy(self.memo[key], 0))

    def copy(self, value: Any, depth: int) -> Any:
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

    def check_keys(self, keys: Iterable[Any]) -> None:
        self.odd_keys += sum(not isinstance(key, str) for key in keys)
        if self.odd_keys > MOST_ODD_KEYS:
            raise UnpickleError(f"more than {MOST_ODD_KEYS} keys that are not text")

    def pairs(self, values: list[Any]) -> dict[Any, Any]:
        self.check_keys(values[::2])
        return dict(zip(values[::2], values[1::2], strict=True))

    def find(self, module: str, name: str) -> Global:
        try:
            return self.classes[module, name]
        except KeyError:
            raise UnpickleError(f"{module[:60]!r}.{name[:60]!r} is a class, and none is built here") from None


def _misplaced() -> NoReturn:
    raise UnpickleError("an opcode is out of place")


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


def _decimal(text: bytes) -> int:
    if len(text) > LONGEST_NUMBER:
        raise UnpickleError("a number is too long")
    return int(text.strip(b" \t\r"))


def _int(m: _Machine) -> None:
    text = m.line()
    m.push({b"00": False, b"01": True}.get(text) if text in (b"00", b"01") else _decimal(text))


def _long(m: _Machine) -> None:
    m.push(_decimal(m.line().removesuffix(b"L")))


def _binary_long(size: int) -> Callable[[_Machine], None]:
    def action(m: _Machine) -> None:
        length = m.number(size)
        if length > LONGEST_NUMBER:
            raise UnpickleError("a number is too long")
        m.push(int.from_bytes(m.take(length), "little", signed=True))

    return action


def _float(m: _Machine) -> None:
    text = m.line()
    if len(text) > LONGEST_NUMBER:
        raise UnpickleError("a number is too long")
    m.push(float(text))


def _string(m: _Machine) -> None:
    """The `repr` of a Python 2 string."""
    text = m.line().strip()
    if len(text) < 2 or text[:1] not in (b"'", b'"') or text[-1:] != text[:1]:
        raise UnpickleError("a string is not quoted")
    inner = text[1:-1]
    plain = inner if b"\\" not in inner else inner.decode("unicode_escape").encode("latin-1")
    m.push(plain.decode())


def _unicode(m: _Machine) -> None:
    text = m.line().decode("raw_unicode_escape")
    text.encode()  # a lone surrogate is not text: it could not be written anywhere
    m.push(text)


def _text(size: int) -> Callable[[_Machine], None]:
    # Python 2 byte strings (`U`, `T`) are read as text too: Python 2 and Go clients use them for text.
    return lambda m: m.push(str(m.take(m.number(size)), "utf-8"))


def _bytes(size: int) -> Callable[[_Machine], None]:
    return lambda m: m.push(m.take(m.number(size)))


def _append(m: _Machine) -> None:
    value = m.pop()
    m.top(list).append(value)


def _appends(m: _Machine) -> None:
    values = m.items()
    m.top(list).extend(values)


def _set_item(m: _Machine) -> None:
    value, key = m.pop(), m.pop()
    m.check_keys((key,))
    m.top(dict)[key] = value


def _set_items(m: _Machine) -> None:
    values = m.items()
    m.top(dict).update(m.pairs(values))


def _add_items(m: _Machine) -> None:
    values = m.items()
    m.check_keys(values)
    m.top(set).update(values)


def _frozen_set(m: _Machine) -> None:
    values = m.items()
    m.check_keys(values)
    m.push(frozenset(values))


def _tuple(count: int) -> Callable[[_Machine], None]:
    def action(m: _Machine) -> None:
        values = [m.pop() for _ in range(count)]
        m.push(tuple(reversed(values)))

    return action


def _duplicate(m: _Machine) -> None:
    value = m.pop()
    m.stack.append(value)
    m.push(m.copy(value, 0))


def _proto(m: _Machine) -> None:
    if (version := m.number(1)) > 5:
        raise UnpickleError(f"protocol {version} is not known")


def _global(m: _Machine) -> None:
    module, name = m.line(), m.line()
    m.push(m.find(module.decode(), name.decode()))


def _stack_global(m: _Machine) -> None:
    name, module = m.pop(), m.pop()
    m.push(m.find(str(module), str(name)))


def _reduce(m: _Machine) -> None:
    """Call a stand-in. Without stand-ins, nothing on the stack can be called."""
    arguments, function = m.pop(), m.pop()
    if type(arguments) is not tuple or function not in m.classes.values():
        _misplaced()
    m.push(function(*arguments))


_ACTIONS: dict[bytes, Callable[[_Machine], None]] = {
    b"(": lambda m: m.push(_MARK),
    b"0": lambda m: void(m.stack.pop()),
    b"1": lambda m: void(m.items()),
    b"2": _duplicate,
    b"F": _float,
    b"I": _int,
    b"J": lambda m: m.push(int.from_bytes(m.take(4), "little", signed=True)),
    b"K": lambda m: m.push(m.number(1)),
    b"L": _long,
    b"M": lambda m: m.push(m.number(2)),
    b"N": lambda m: m.push(None),
    b"S": _string,
    b"T": _text(4),
    b"U": _text(1),
    b"V": _unicode,
    b"X": _text(4),
    b"a": _append,
    b"d": lambda m: m.push(m.pairs(m.items())),
    b"}": lambda m: m.push({}),
    b"e": _appends,
    b"g": lambda m: m.recall(_decimal(m.line())),
    b"h": lambda m: m.recall(m.number(1)),
    b"j": lambda m: m.recall(m.number(4)),
    b"l": lambda m: m.push(m.items()),
    b"]": lambda m: m.push([]),
    b"s": _set_item,
    b"u": _set_items,
    b"t": lambda m: m.push(tuple(m.items())),
    b")": lambda m: m.push(()),
    b"p": lambda m: m.remember(_decimal(m.line())),
    b"q": lambda m: m.remember(m.number(1)),
    b"r": lambda m: m.remember(m.number(4)),
    b"G": lambda m: m.push(struct.unpack(">d", m.take(8))[0]),
    b"B": _bytes(4),
    b"C": _bytes(1),
    b"c": _global,
    b"R": _reduce,
    b"\x80": _proto,
    b"\x85": _tuple(1),
    b"\x86": _tuple(2),
    b"\x87": _tuple(3),
    b"\x88": lambda m: m.push(True),
    b"\x89": lambda m: m.push(False),
    b"\x8a": _binary_long(1),
    b"\x8b": _binary_long(4),
    b"\x8c": _text(1),
    b"\x8d": _text(8),
    b"\x8e": _bytes(8),
    b"\x8f": lambda m: m.push(set()),
    b"\x90": _add_items,
    b"\x91": _frozen_set,
    b"\x93": _stack_global,
    b"\x94": lambda m: m.remember(len(m.memo)),
    b"\x95": lambda m: void(m.number(8)),  # a frame's length: a hint for readers of streams
    b"\x96": _bytes(8),
}
"""Opcode → its function. Opcodes that create objects are missing: BUILD, INST, OBJ, NEWOBJ, persistent and extension ids."""


def void(_value: object) -> None:
    """Discard a value within an expression."""
