"""Tags (`<ip>`, `<F-USER>`) filled into shell commands, so that what an attacker wrote stays text.

A value with characters that a shell could obey is not written into the command but passed in the environment, and
named there in the way that the place of the tag needs: bare, within double quotes, or within single ones.
"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Callable

LONGEST = 16_384
"""Characters of one value: the kernel takes 128 KiB (execve(2)), and four bytes may be one character."""

_TAG = re.compile(r"<([A-Za-z][A-Za-z0-9_.-]*)>")
# A `-` at the beginning could be taken for an option.
_HARMLESS = re.compile(r"[A-Za-z0-9_.:/@%+,][A-Za-z0-9_.:/@%+,-]*")
_QUOTE = re.compile(r"\\.|['\"]", re.DOTALL)


def fill(command: str, value_of: Callable[[str], str | None]) -> tuple[str, dict[str, str]]:
    """The command with its tags filled in, and what must be in its environment.

    `value_of` gives the text for a tag's name, or None for one that is to stay as it is written.
    """
    environment: dict[str, str] = {}
    parts: list[str] = []
    quote = ""
    end = 0
    for match in _TAG.finditer(command):
        before = command[end : match.start()]
        quote = _quote_after(before, quote)
        parts.append(before)
        end = match.end()
        value = value_of(match[1])
        if value is None:
            parts.append(match[0])
        elif _HARMLESS.fullmatch(value):
            parts.append(value)
        else:
            name = "SIPGUARD_" + re.sub(r"[^A-Za-z0-9]", "_", match[1])
            environment[name] = value.replace("\0", "")[:LONGEST]
            parts.append(_reference(name, quote))
    parts.append(command[end:])
    return "".join(parts), environment


def _reference(name: str, quote: str) -> str:
    """How a shell reads a variable as one word where `quote` is open: sh(1), Quoting."""
    if quote == "'":
        return f"'\"${{{name}}}\"'"
    return f"${{{name}}}" if quote == '"' else f'"${{{name}}}"'


def _quote_after(text: str, quote: str) -> str:
    """Which quote is open behind `text`, when `quote` was open before it."""
    if quote == "'":
        _, closed, text = text.partition("'")
        if not closed:
            return quote
        quote = ""
    position = 0
    while match := _QUOTE.search(text, position):
        position = match.end()
        if match[0] == '"':
            quote = "" if quote else '"'
        elif match[0] == "'" and not quote:
            closing = text.find("'", position)
            if closing < 0:
                return "'"
            position = closing + 1
    return quote
