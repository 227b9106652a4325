"""Finds the line of every key and table in a TOML text.

The `toml` package returns values without lines and accepts some invalid texts, such as an unclosed list. This scanner
reads the text once; it knows strings, comments, brackets and dotted keys, but no values.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterator

_TOKEN = re.compile(
    r'''(?P<string>"""(?:[^\\]|\\.)*?"{3,5}|\'\'\'.*?\'{3,5}|"(?:[^"\\\n]|\\[^\n])*"|'[^'\n]*')'''
    r"""|(?P<quote>["'])|(?P<comment>\#[^\n]*)|(?P<newline>\n)|(?P<open>[\[{])|(?P<close>[\]}])|(?P<other>[^"'\#\n\[\]{}]+)""",
    re.DOTALL,
)
_NAME = r"""(?:"(?:[^"\\\n]|\\.)*"|'[^'\n]*'|[^\s"'.=\[\]\#]+)"""
_KEY_PART = re.compile(rf"\s*({_NAME})\s*(\.|$)")
_KEY_PART_ANY = re.compile(rf"\s*{_NAME}\s*\.?\s*")


class ScanError(ValueError):
    """A line of the text is not TOML."""

    def __init__(self, what: str, line: int) -> None:
        self.line = line
        super().__init__(what)


@dataclass(frozen=True, slots=True)
class Statement:
    """One `KEY = VALUE` or `[table]`: its first line, its path of keys, and the value's text."""

    line: int
    keys: tuple[str, ...]
    value: str = ""
    is_table: bool = False
    in_list: bool = False
    """Within `[[table]]`, where keys may repeat."""


def scan(text: str) -> Iterator[Statement]:
    """Yield every statement of a text whose lines end in LF.

    Raises:
        ScanError: unclosed string or bracket, a line that is not a statement, or an invalid name.
    """
    table: tuple[str, ...] = ()
    in_list = False
    for line, raw in _logical_lines(text):
        if raw.startswith("["):
            header = raw.strip()
            in_list = header.startswith("[[")
            if not header.endswith("]]" if in_list else "]"):
                raise ScanError("a table is written [NAME], on a line of its own", line)
            table = _keys(header.strip("[]"), line)
            yield Statement(line, table, is_table=True, in_list=in_list)
        else:
            name, value = _split(raw, line)
            yield Statement(line, table + _keys(name, line), value, in_list=in_list)


def _logical_lines(text: str) -> Iterator[tuple[int, str]]:
    """Statements without comments, each with its first line number."""
    line, depth = 1, 0
    first = opened = 0
    parts: list[str] = []
    for token in _TOKEN.finditer(text + "\n"):
        kind, content = token.lastgroup, token[0]
        if kind == "quote":
            raise ScanError(f"the quote {content} is not closed in this line", line)
        if kind == "newline" and depth == 0 and first:
            yield first, "".join(parts).strip()
            first, parts = 0, []
        elif kind != "comment" and not content.isspace():
            first = first or line
            parts.append(content)
        elif first:
            parts.append(" ")
        if kind in ("open", "close"):
            opened = line if depth == 0 else opened
            depth = max(0, depth + (1 if kind == "open" else -1))
        line += content.count("\n")
    if depth:
        raise ScanError("a bracket opened here is not closed", opened)


def _split(raw: str, line: int) -> tuple[str, str]:
    """Split `NAME = VALUE`; an `=` within quotes does not count."""
    end = 0
    while part := _KEY_PART_ANY.match(raw, end):
        end = part.end()
    if end == 0 or raw[end : end + 1] != "=":
        raise ScanError("not understood; a line is KEY = VALUE, [table] or # comment", line)
    return raw[:end], raw[end + 1 :].strip()


def _keys(name: str, line: int) -> tuple[str, ...]:
    keys, end, dot = [], 0, "."
    while dot == "." and (part := _KEY_PART.match(name, end)):
        keys.append(part[1][1:-1] if part[1][0] in "\"'" else part[1])
        end, dot = part.end(), part[2]
    if dot or end < len(name.rstrip()):
        raise ScanError("a name consists of letters, digits, - and _; other names need quotes", line)
    return tuple(keys)
