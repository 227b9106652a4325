"""A kind of value: how it is read from TOML, and in which words messages and the manual say what it may be."""

from __future__ import annotations

import re
from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Any, Generic, NoReturn, TypeVar

from sipguard.config.messages import shown
from sipguard.secret import Secret

T = TypeVar("T")
LIST = r"[\s,]+"
"""What separates the items of a list that is written as one text."""


class BadItemError(ValueError):
    """One item of a list is invalid."""

    def __init__(self, item: object) -> None:
        self.item = item
        super().__init__(shown(item))


class BadDetailError(ValueError):
    """Part of a value is invalid; the text says which part and what is allowed."""


@dataclass(frozen=True, slots=True)
class ValueKind(Generic[T]):
    """Called with anything that TOML can contain; raises `ValueError` or `TypeError` if that is invalid."""

    read: Callable[[Any], T]
    allowed: str
    """Completes `must be …`."""

    def __call__(self, value: Any) -> T:
        """The value for the model."""
        return self.read(value)

    def saying(self, allowed: str) -> ValueKind[T]:
        """The same kind, described in other words."""
        return replace(self, allowed=allowed)


def says(allowed: str) -> Callable[[Callable[[Any], T]], ValueKind[T]]:
    """Decorator: make a `ValueKind` of a function."""
    return lambda read: ValueKind(read, allowed)


def refuse(value: object) -> NoReturn:
    """Raise `ValueError`."""
    raise ValueError(shown(value))


def choice(*words: str) -> ValueKind[str]:
    """One of these words, in any case."""
    by_word = {word.lower(): word for word in words}

    def read(value: Any) -> str:
        fits = isinstance(value, str) and value.isprintable()
        return by_word.get(value.strip().lower() if fits else "") or refuse(value)

    return ValueKind(read, f"{', '.join(words[:-1])} or {words[-1]}")


def whole(least: int, most: int) -> ValueKind[int]:
    """A whole number."""

    def read(value: Any) -> int:
        if not isinstance(value, int) or isinstance(value, bool) or not least <= value <= most:
            refuse(value)
        return value

    return ValueKind(read, f"a whole number, {least} to {most}")


def items(value: Any, separator: str = LIST) -> list[Any]:
    """The items of a list, or of one text split at `separator` (a regex); may be empty."""
    if isinstance(value, str):
        return [item for item in re.split(separator, value) if item]
    return value if isinstance(value, list) else refuse(value)


def each(kind: ValueKind[T], separator: str = LIST) -> ValueKind[tuple[T, ...]]:
    """A list of values, or one text split at `separator` (a regex); may be empty."""

    def read(value: Any) -> tuple[T, ...]:
        result = []
        for item in items(value, separator):
            try:
                result.append(kind(item))
            except ValueError:
                raise BadItemError(item) from None
        return tuple(result)

    return ValueKind(read, f"{kind.allowed}, or a list of these")


def at_least_one(kind: ValueKind[T]) -> ValueKind[T]:
    """The same kind, but empty lists are invalid."""
    return ValueKind(lambda value: kind(value) or refuse(value), kind.allowed)


def confidential(kind: ValueKind[str]) -> ValueKind[Secret]:
    """The same kind, read into a `Secret`."""
    return ValueKind(lambda value: Secret(kind(value)), kind.allowed)
