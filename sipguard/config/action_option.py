"""One key of an action's table, and how its value is read."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any
from urllib.parse import urlsplit

from sipguard.config import validators
from sipguard.config.validators import Reader
from sipguard.secret import Secret


@dataclass(frozen=True, slots=True)
class Option:
    """One key of an action's table."""

    name: str
    parse: Reader
    default: Any
    """None: the key is required; `...`: it may be omitted."""
    allowed: str
    help: str
    """One line for the manual."""
    secret: bool = False


def confidential(parse: Reader) -> Reader:
    """The same value, never to be shown."""
    return lambda value: Secret(parse(value))


def http_url(value: Any) -> str:
    """An http or https address. Raises `ValueError`."""
    word = validators.text(value)
    parts = urlsplit(word)
    if parts.scheme not in ("http", "https") or not parts.hostname or " " in word:
        raise ValueError
    return word
