"""Fills tags (`<ip>`, `<F-USER>`) into shell commands so that the shell does not run what an attacker wrote.

Attackers choose parts of log lines and host names. So a value with a special or unprintable character is never written into a
command. It goes into an environment variable `f2bV_…`, and the command gets `$f2bV_…`: a shell expands that after parsing, so the
value stays text. In `sh -c '…'` the inner shell expands it.

Which values become variables, and how these are named, is as in Fail2ban 0.11 and later. sipguard differs in two places, where
Fail2ban would run an attacker's text. In an assignment (`x=<F-USER>`), a value with blanks becomes a variable too, in quotes. In
`sh -c "…"`, `su -c "…"`, `eval "…"` and `trap "…"`, the second shell expands the variable, not the first. Other programs that
give a shell their argument (`ssh HOST "…"`) are not recognised: there the value is still parsed as code, as in Fail2ban.
"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

MAX_VALUE = 65_536
"""Longest value, in bytes. Linux allows 128 KiB for one environment variable with its name (execve(2))."""
MAX_PLAIN = 4_096
"""Longest value that is written into the command itself, in characters."""

_TAG = re.compile(r"<([^ <>]+)>")
_CAPTURED = re.compile(r"F-[A-Z0-9_-]+")
_SPECIAL = frozenset("\\#&;`|*?~<>^()[]{}$'\"")
_QUOTE = re.compile(r"\\.|['\"]", re.DOTALL)
# What comes before a quoted text that a shell parses again: the first before single quotes, the second before double quotes.
_PARSED_INSIDE = re.compile(r"(?:\s-\w*c|\s--command|\beval|\btrap)(?:=|\s+(?:--\s+)?)$")
_PARSED_TWICE = re.compile(r"(?:\b(?:sh|bash|dash|ash|ksh|zsh|su|runuser)\b[^;&|\n]*\s-\w*c|\beval|\btrap)\s+$")
# An unquoted assignment, and a command substitution, that go on to the end of the text.
_ASSIGNS = re.compile(r"(?:^|[\s;&|({!`])\w+\+?=\S*$")
_SUBSTITUTION = re.compile(r"(?:\$\(|`)([^)`]*)$")
# `<F-ID>` and `<F-PORT>` stand for groups of another name in Fail2ban.
_GROUPS = {"id": "fid", "port": "fport"}


def tags_in(text: str) -> set[str]:
    """The names of the tags in a text."""
    return set(_TAG.findall(text))


def captured_group(tag: str) -> str | None:
    """The regex group that a tag `<F-NAME>` stands for; None for any other tag."""
    if not _CAPTURED.fullmatch(tag):
        return None
    name = tag[2:].lower()
    return _GROUPS.get(name, name)


def fill_command(command: str, value_of: Callable[[str], str | None]) -> tuple[str, dict[str, str]]:
    """Fill in the tags of a shell command. Returns the command, and the variables that its environment needs.

    `value_of` gives the value of a tag by its name. If it gives None, the text stays as written: it may be no tag (`<STDIN>`).
    """
    variables: dict[str, str] = {}

    def replace(match: re.Match[str]) -> str:
        value = value_of(match[1])
        if value is None:
            return match[0]
        value = _storable(value)
        assigned = any(map(str.isspace, value)) and _is_assigned(command[: match.start()])
        if is_plain(value) and not assigned:
            return value
        name = _variable(match[1], value, variables)
        variables[name] = value
        if assigned:  # in quotes: unlike `x=$y`, `env x=$y` and `export x=$y` split a value at its blanks
            return f'"${{{name}}}"'
        if _is_parsed_twice(command[: match.start()]):  # escaped: the inner shell expands it, not this one
            return f"\\${{{name}}}"
        # Without braces, `<matches>x` would become `$f2bV_matchesx`, another variable.
        following = command[match.end() : match.end() + 1]
        return f"${{{name}}}" if following.isalnum() or following == "_" else f"${name}"

    return _TAG.sub(replace, command), variables


def fill_text(text: str, value_of: Callable[[str], str | None]) -> str:
    """Fill in the tags of a text that is no shell command. Nothing is escaped: the caller must do that."""

    def replace(match: re.Match[str]) -> str:
        value = value_of(match[1])
        return match[0] if value is None else _storable(value)

    return _TAG.sub(replace, text)


def is_plain(value: str) -> bool:
    """Whether the value may be written into a command: a shell sees only words and blanks in it."""
    return len(value) <= MAX_PLAIN and _SPECIAL.isdisjoint(value) and value.isprintable()


def _is_assigned(before: str) -> bool:
    """Whether a tag after the text `before` is part of an unquoted assignment, in this shell or in one that it starts."""
    quote, start = _open_quote(before)
    if quote == "'" and _PARSED_INSIDE.search(before[: start - 1]):
        return _is_assigned(before[start:])
    if quote == '"' and (substitution := _SUBSTITUTION.search(before, start)):
        return _is_assigned(substitution[1])
    return not quote and bool(_ASSIGNS.search(before))


def _is_parsed_twice(before: str) -> bool:
    """Whether a tag after the text `before` is in double quotes that a second shell parses: `sh -c "…"`, `eval "…"`."""
    quote, start = _open_quote(before)
    return quote == '"' and bool(_PARSED_TWICE.search(before[: start - 1]))


def _open_quote(text: str) -> tuple[str, int]:
    """The quote that is still open at the end of `text` (empty: none), and where the quoted text begins: sh(1), Quoting."""
    quote, start, position = "", 0, 0
    while match := _QUOTE.search(text, position):
        position = match.end()
        if match[0] == quote:
            quote = ""
        elif match[0] == '"':
            quote, start = '"', position
        elif match[0] == "'" and not quote:
            closing = text.find("'", position)
            if closing < 0:
                return "'", position
            position = closing + 1
    return quote, start


def _storable(value: str) -> str:
    """The value as an environment variable can hold it: without NUL, at most `MAX_VALUE` bytes."""
    encoded = value.replace("\0", "").encode("utf-8", "surrogateescape" if _is_escaped(value) else "backslashreplace")
    return encoded[:MAX_VALUE].decode("utf-8", "surrogateescape") if encoded else ""


def _is_escaped(value: str) -> bool:
    """Whether every surrogate in `value` stands for a byte (PEP 383), so that it can be written as that byte."""
    return all(not "\ud800" <= c <= "\udfff" or "\udc80" <= c <= "\udcff" for c in value)


def _variable(tag: str, value: str, taken: Mapping[str, str]) -> str:
    """A name for the tag's variable; if that name is taken by another value, one that is free."""
    group = captured_group(tag)
    name = "f2bV_" + re.sub(r"\W", "_", tag if group is None else f"F_{group}", flags=re.ASCII)
    while taken.get(name, value) != value:
        name += "_"
    return name
