"""Tags (`<ip>`, `<F-USER>`) filled into shell commands, so that what an attacker wrote stays text.

Attackers write parts of log lines and of host names. So a value with any character that a shell interprets is never put into a
command. It goes into an environment variable `f2bV_…`; the command gets `$f2bV_…`, which the shell expands after parsing. In
`sh -c '…'` the inner shell expands it. Names, and the choice of values, are those of Fail2ban 0.11 and later, with two exceptions
where Fail2ban would run an attacker's text. In an assignment (`x=<F-USER>`), a value with a blank stays one value. In
`sh -c "…"` and `eval "…"`, the second shell expands the variable, not the first.
"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

MAX_VALUE = 65_536
"""Bytes of one value: Linux takes 128 KiB in one environment variable (execve(2))."""
MAX_PLAIN = 4_096
"""Characters of a value that is put into the command itself."""

_TAG = re.compile(r"<([^ <>]+)>")
_CAPTURED = re.compile(r"F-[A-Z0-9_-]+")
_SPECIAL = frozenset("\\#&;`|*?~<>^()[]{}$'\"")
_QUOTE = re.compile(r"\\.|['\"]", re.DOTALL)
# What stands before a text that another shell parses, and the beginning of a word that assigns.
_CODE = re.compile(r"(?:\s-\w*c|\s--command|\beval|\btrap)(?:=|\s+(?:--\s+)?)$")
_READ_AGAIN = re.compile(r"(?:\b(?:sh|bash|dash|ash|ksh|zsh)\b[^;&|\n]*\s-\w*c|\beval)\s+$")
_ASSIGNS = re.compile(r"(?:^|[\s;&|({!`])\w+\+?=\S*$")
_SUBSTITUTION = re.compile(r"(?:\$\(|`)([^)`]*)$")
# Fail2ban's names of groups that are tags by another name.
_GROUPS = {"id": "fid", "port": "fport"}


def tags_in(text: str) -> set[str]:
    """The names of the tags that a text uses."""
    return set(_TAG.findall(text))


def captured_group(tag: str) -> str | None:
    """The group of a regex that a tag `<F-NAME>` stands for; None for any other tag."""
    if not _CAPTURED.fullmatch(tag):
        return None
    name = tag[2:].lower()
    return _GROUPS.get(name, name)


def fill_command(command: str, value_of: Callable[[str], str | None]) -> tuple[str, dict[str, str]]:
    """Fill in the tags of a shell command; returns the command, and what must be in its environment.

    `value_of` gives the text for a tag's name, or None for one that stays as it is written: `<STDIN>` may be meant.
    """
    variables: dict[str, str] = {}

    def replace(match: re.Match[str]) -> str:
        value = value_of(match[1])
        if value is None:
            return match[0]
        value = _cut(value)
        assigned = any(map(str.isspace, value)) and _is_assigned(command[: match.start()])
        if is_plain(value) and not assigned:
            return value
        name = _variable(match[1], value, variables)
        variables[name] = value
        if assigned:  # in quotes: `env` and `export`, unlike an assignment proper, make several words of it
            return f'"${{{name}}}"'
        if _is_read_again(command[: match.start()]):  # this shell leaves the variable to the next
            return f"\\${{{name}}}"
        # Without the braces `<matches>x` would name the variable `f2bV_matchesx`.
        following = command[match.end() : match.end() + 1]
        return f"${{{name}}}" if following.isalnum() or following == "_" else f"${name}"

    return _TAG.sub(replace, command), variables


def fill_text(text: str, value_of: Callable[[str], str | None]) -> str:
    """Fill in the tags of a text that is no command: whoever uses the result encodes it."""

    def replace(match: re.Match[str]) -> str:
        value = value_of(match[1])
        return match[0] if value is None else _cut(value)

    return _TAG.sub(replace, text)


def is_plain(value: str) -> bool:
    """Whether a shell takes the value for nothing but words."""
    return len(value) <= MAX_PLAIN and _SPECIAL.isdisjoint(value) and value.isprintable()


def _is_assigned(before: str) -> bool:
    """Whether a tag that follows this text is part of an unquoted assignment, in this shell or in one that it starts."""
    quote, start = _open_quote(before)
    if quote == "'" and _CODE.search(before[: start - 1]):
        return _is_assigned(before[start:])
    if quote == '"' and (substitution := _SUBSTITUTION.search(before, start)):
        return _is_assigned(substitution[1])
    return not quote and bool(_ASSIGNS.search(before))


def _is_read_again(before: str) -> bool:
    """Whether a tag behind this text stands in double quotes whose text another shell parses: `sh -c "…"`, `eval "…"`."""
    quote, start = _open_quote(before)
    return quote == '"' and bool(_READ_AGAIN.search(before[: start - 1]))


def _open_quote(text: str) -> tuple[str, int]:
    """The quote that is open at the end of a shell's text, or nothing; and where the text within it begins: sh(1), Quoting."""
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


def _cut(value: str) -> str:
    """Without NUL, which no variable can hold, and no longer than the kernel takes."""
    encoded = value.replace("\0", "").encode("utf-8", "surrogateescape" if _is_escaped(value) else "backslashreplace")
    return encoded[:MAX_VALUE].decode("utf-8", "surrogateescape") if encoded else ""


def _is_escaped(value: str) -> bool:
    """Whether every surrogate in it stands for a byte, so that it can be written as that byte."""
    return all(not "\ud800" <= c <= "\udfff" or "\udc80" <= c <= "\udcff" for c in value)


def _variable(tag: str, value: str, taken: Mapping[str, str]) -> str:
    """A name for the tag's variable, another one if that name already holds another value."""
    group = captured_group(tag)
    name = "f2bV_" + re.sub(r"\W", "_", tag if group is None else f"F_{group}", flags=re.ASCII)
    while taken.get(name, value) != value:
        name += "_"
    return name
