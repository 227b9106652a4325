"""Reads a TOML file into values with the line of every key, and explains errors in plain words.

`toml` 0.10.2 raises `IndexError`, `AttributeError` and others on garbage, and accepts some of it. `toml_scan` finds what it
cannot report: the line of a key, an unclosed bracket.
"""

from __future__ import annotations

import os
import re
import stat
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import toml

from sipguard.config.messages import shown
from sipguard.config.toml_scan import ScanError, Statement, scan
from sipguard.errors import ConfigError
from sipguard.secret import SECRET_NAME
from sipguard.text import printable

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path

    from sipguard.model import Verdict

MAX_SIZE = 256 * 1024
"""Largest file in bytes. Configurations are small, and `toml` is slow on a large file of garbage."""

_CONTROL = re.compile(r"[\x00-\x08\x0b-\x1f\x7f]")
_NOT_QUOTED = "the value is not understood; text needs quotes"
_PLAIN = {
    # Part of `toml`'s message → plain words.
    "Not a homogeneous array": "the values of a list must be all text or all numbers; put the numbers in quotes",
    "Empty value": "there is no value after =",
    "after a closed string": 'unexpected text after the closing quote; a list is written ["a", "b"]',
    "leading zeroes": "a number must not begin with 0 or end with _",
    "Duplicate keys": "the key is given twice",
    "already exists": "the table, or a key of its name, is given twice",
    "escape sequence": "a backslash within \"…\" must be written twice; or use '…'",
    "Key name": "not understood; a line is KEY = VALUE, [table] or # comment",
    "group": "not understood; a table is written [NAME], on a line of its own",
    "Unbalanced quotes": "a quote is not closed",
    "Unterminated string": "a quote is not closed",
    "inline": "not understood; an inline table is written { key = value }, in one line",
}


@dataclass(frozen=True, slots=True)
class TomlFile:
    """A file's values and their lines."""

    path: Path
    data: Mapping[str, Any]
    lines: Mapping[tuple[str, ...], int]
    """Path of keys from the top → line."""

    @property
    def verdict(self) -> Verdict:
        """That of `[firewall]`, for lists of others; a wrong one is refused elsewhere."""
        return "drop" if str(self.data.get("firewall", {}).get("verdict", "")).lower() == "drop" else "reject"

    def where(self, *keys: str) -> str:
        """`FILE:LINE` of the key, else of the nearest table above with a line, else of its content, else `FILE`."""
        for count in range(len(keys), 0, -1):
            if line := self.lines.get(keys[:count]):
                return f"{printable(str(self.path))}:{line}"
        # `a.b = 1` gives a table `a` that has no line of its own.
        if line := next((line for given, line in self.lines.items() if keys and given[: len(keys)] == keys), 0):
            return f"{printable(str(self.path))}:{line}"
        return printable(str(self.path))


def read(path: Path) -> TomlFile:
    """Read a file.

    Raises:
        ConfigError: the file cannot be read, or is not UTF-8 or not TOML; with the line.
    """
    return parse(_text(path), path)


def parse(text: str, path: Path) -> TomlFile:
    """Parse a TOML text; `path` is used in messages.

    Raises:
        ConfigError: the text is not TOML.
    """
    text = text.removeprefix("\ufeff").replace("\r\n", "\n")
    if control := _CONTROL.search(text):
        raise _error(path, f"a control character ({printable(control[0])})", text.count("\n", 0, control.start()) + 1)
    try:
        statements = list(scan(text))
    except ScanError as error:
        raise _error(path, str(error), error.line) from None
    lines = _lines(statements, path)
    try:
        data = toml.loads(text)
    except toml.TomlDecodeError as error:
        raise _error(path, _plain(error, statements), error.lineno) from None
    except Exception:  # its parser fails in many ways: IndexError, AttributeError, RecursionError and others
        raise _error(path, "not valid TOML; look for a missing quote, bracket or =", _broken_line(statements)) from None
    return TomlFile(path, data, lines)


def _text(path: Path) -> str:
    try:
        # Without O_NONBLOCK, opening a FIFO would wait for its writer.
        with open(os.open(path, os.O_RDONLY | os.O_NONBLOCK | os.O_CLOEXEC), "rb") as file:  # noqa: PTH123 (a descriptor)
            if not stat.S_ISREG(os.fstat(file.fileno()).st_mode):
                raise _error(path, "is not a regular file")
            content = file.read(MAX_SIZE + 1)
    except (OSError, ValueError) as error:  # ValueError: a NUL in the path
        reason = (error.strerror if isinstance(error, OSError) else None) or "no such file"
        raise _error(path, f"cannot be read: {reason}") from None
    if len(content) > MAX_SIZE:
        raise _error(path, f"is larger than {MAX_SIZE // 1024} KiB, too large for a configuration")
    try:
        return content.decode()
    except UnicodeDecodeError as error:
        raise _error(path, "is not UTF-8 text", content.count(b"\n", 0, error.start) + 1) from None


def _error(path: Path, what: str, line: int = 0) -> ConfigError:
    place = printable(str(path))
    return ConfigError(what, f"{place}:{line}" if line else place)


def _lines(statements: list[Statement], path: Path) -> dict[tuple[str, ...], int]:
    """Keys → lines. A duplicate key or table is an error, because `toml` does not detect all of them."""
    lines: dict[tuple[str, ...], int] = {}
    repeatable: set[tuple[str, ...]] = set()
    for statement in statements:
        first = lines.setdefault(statement.keys, statement.line)
        if statement.in_list and first == statement.line:
            repeatable.add(statement.keys)
        if first != statement.line and not (statement.in_list and statement.keys in repeatable):
            name = printable(".".join(statement.keys))
            name = f"[{name}]" if statement.is_table else name
            raise _error(path, f"{name} is given twice, first in line {first}", statement.line)
    return lines


def _plain(error: toml.TomlDecodeError, statements: list[Statement]) -> str:
    at_line = [s for s in statements if s.line == error.lineno and not s.is_table]
    name = f"{printable('.'.join(at_line[0].keys))}: " if at_line else ""
    for part, plain in _PLAIN.items():
        if part in error.msg:
            return name + plain
    if at_line and at_line[0].value in ("True", "False", "TRUE", "FALSE"):
        return f"{name}write true or false in small letters"
    if at_line and at_line[0].value.lower() in ("yes", "no", "on", "off"):
        instead = "true" if at_line[0].value.lower() in ("yes", "on") else "false"
        return f"{name}{at_line[0].value}: write {instead}"
    # An error goes to terminals and logs; a value without quotes may be part of anything.
    secret = bool(at_line) and bool(SECRET_NAME.search(at_line[0].keys[-1]))
    if at_line and not secret and '"' not in at_line[0].value and "'" not in at_line[0].value:
        return f"{name}{_NOT_QUOTED}: {shown(at_line[0].value)}"
    return f"{name}{_NOT_QUOTED}"


def _broken_line(statements: list[Statement]) -> int:
    """The first line that makes `toml` fail on its own, since it did not report the line; 0 if none does."""
    for statement in statements:
        name = ".".join(statement.keys)
        try:
            toml.loads(f"[{name}]" if statement.is_table else f"x = {statement.value}")
        except Exception:  # as in `parse`
            return statement.line
    return 0
