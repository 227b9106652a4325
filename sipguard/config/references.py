"""Parses `name[key=value, other="a,b"]`, with which a jail names its filter and actions and gives them options.

See jail.conf(5), `filter` and `action`. Options may be split into several groups, `name[a=1][b=2]`. A value with a comma
or bracket needs quotes. A key may have a condition: `name[blocktype?family=inet6=DROP]`.
"""

from __future__ import annotations

import re

from sipguard.errors import ConfigError
from sipguard.text import without_secrets

_NAME = re.compile(r"[^\[\s]+")
_KEY = re.compile(r"\s*([\w.-]+(?:\?[\w.-]+=[\w.-]+)?)=")
_VALUE = re.compile(r'"([^"]*)"|\'([^\']*)\'|([^,\]]*)')
_BETWEEN = re.compile(r"\s*(?:,|\]\s*\[)\s*")
_BLANK = re.compile(r"\s*")
_CLOSE = re.compile(r"[\s,]*\]")
_END = re.compile(r"\s|$")


def parse_reference(text: str, where: str = "") -> tuple[str, dict[str, str]]:
    """Parse one name and its options. Raises ConfigError if the text does not have this form."""
    references = split_references(text, where)
    if len(references) != 1:
        raise ConfigError(f"{_shown(text)} must be one name, e.g. name[key=value]", where)
    return references[0]


def split_references(text: str, where: str = "") -> list[tuple[str, dict[str, str]]]:
    """Parse a list of `name[options]` separated by spaces or newlines. Raises ConfigError."""
    found: list[tuple[str, dict[str, str]]] = []
    position = _skip(_BLANK, text, 0)
    while position < len(text):
        name = _NAME.match(text, position)
        if name is None:
            raise ConfigError(f"{_shown(text[position:])} has options but no name before them", where)
        position = _skip(_BLANK, text, name.end())
        options: dict[str, str] = {}
        if text.startswith("[", position):
            position = _options(text, position + 1, options, where)
        elif position == name.end() < len(text):
            raise ConfigError(f"{_shown(text[position:])} cannot follow a name", where)
        found.append((name[0], options))
        position = _skip(_BLANK, text, position)
    return found


def _options(text: str, position: int, options: dict[str, str], where: str) -> int:
    """Parse options after an opening bracket into `options`; returns the position after the closing one."""
    while not (close := _CLOSE.match(text, position)):
        key = _KEY.match(text, position)
        if key is None:
            raise ConfigError(f"{_shown(text[position:])}: expected key=value and a closing ]", where)
        value = _VALUE.match(text, key.end())
        # The last alternative matches the empty string, so there is always a value.
        quoted, single, plain = value.groups() if value else (None, None, "")
        options[key[1]] = next(found for found in (quoted, single, plain, "") if found is not None).strip()
        position = value.end() if value else key.end()
        between = _BETWEEN.match(text, position)
        if between:
            position = between.end()
        elif not _CLOSE.match(text, position):
            raise ConfigError(
                f"{_shown(text[position:])} after {key[1]}: expected , or ] (a value that contains these needs quotes)",
                where,
            )
    if not _END.match(text, close.end()):
        raise ConfigError(
            f"{_shown(text[close.end() :])} directly after a closing ]: put a space or newline between them", where
        )
    return close.end()


def _skip(pattern: re.Pattern[str], text: str, position: int) -> int:
    match = pattern.match(text, position)
    return match.end() if match else position


def _shown(text: str) -> str:
    text = without_secrets(text)
    return ascii(text if len(text) <= 50 else text[:47] + "...")
