"""Finds the simple commands in shell code: which programs it runs, with which arguments, and which files it writes.

Understands enough of sh(1) for action files: quotes, substitutions, redirections, loops and conditions. Everything else
(here-documents, functions) raises `UnclearError`, so that no command is understood only in part.
"""

from __future__ import annotations

import re
from dataclasses import dataclass, field
from pathlib import PurePosixPath
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Sequence

LONGEST = 100_000
"""Longest text, in characters."""
DEEPEST = 20
"""Deepest nesting of substitutions."""

_ASSIGNMENT = re.compile(r"\w+\+?=.*", re.DOTALL)
_REDIRECTION = re.compile(r"&?(<<?<?|>>|>\||>|<>)(&\d*-?)?")
# Text without special meaning to a shell, quoted or not.
_PLAIN = re.compile(r"[\w./:=,@%+*?~^\[\]{}-]+")
_FILE = re.compile(r"\s*[^\s;&|()<>]+")
# Keywords that can precede a command, and words that are not commands.
_BEFORE = frozenset({"if", "then", "else", "elif", "do", "while", "until", "!", "{", "time"})
_ALONE = frozenset({"fi", "done", "esac", "}"})
_NO_COMMAND = frozenset({"for", "case", "select", "function"})
# Programs that run another program, and the number of their own arguments before its name.
_WRAPPERS = {
    "sudo": 0,
    "doas": 0,
    "env": 0,
    "nice": 0,
    "ionice": 0,
    "nohup": 0,
    "exec": 0,
    "command": 0,
    "timeout": 1,
    "flock": 1,
}
_SHELLS = frozenset({"sh", "bash", "dash", "ash", "ksh", "zsh"})


class UnclearError(ValueError):
    """The text contains syntax that this parser does not know."""


@dataclass(slots=True)
class SimpleCommand:
    """One program with its arguments. `words` begins with the program's name, without its directory."""

    words: list[str] = field(default_factory=list)
    files: list[str] = field(default_factory=list)
    """Files to which its output is redirected."""

    @property
    def program(self) -> str:
        return self.words[0] if self.words else ""


def simple_commands(text: str, depth: int = 0) -> list[SimpleCommand]:
    """Every command in the text, including those in substitutions, `sh -c` and `eval`. Raises `UnclearError`."""
    if len(text) > LONGEST or depth > DEEPEST:
        raise UnclearError("too long or too deep")
    found = []
    for command in _Reader(text, depth).read():
        words = _without_wrappers(command.words)
        if words and (words[0] in _SHELLS or words[0] == "eval"):
            inner = _inner_text(words)
            found += simple_commands(inner, depth + 1)
            words = []
        if words or command.files:
            found.append(SimpleCommand(words, command.files))
    return found


def _without_wrappers(words: Sequence[str]) -> list[str]:
    """The words from the program's name on; empty if there is no program."""
    rest = list(words)
    while rest:
        if rest[0] in _BEFORE or _ASSIGNMENT.fullmatch(rest[0]):
            del rest[0]
            continue
        if rest[0] in _ALONE or rest[0] in _NO_COMMAND:
            return []
        name = PurePosixPath(rest[0]).name
        if name not in _WRAPPERS:
            return [name or rest[0], *rest[1:]]
        del rest[0]
        while rest and (rest[0].startswith("-") or _ASSIGNMENT.fullmatch(rest[0])):
            del rest[0]
        del rest[: _WRAPPERS[name]]
    return []


def _inner_text(words: Sequence[str]) -> str:
    """The text that `sh -c TEXT` or `eval TEXT` runs. Raises `UnclearError` for a shell that runs a script file."""
    if words[0] == "eval":
        return " ".join(words[1:])
    for number, word in enumerate(words):
        if re.fullmatch(r"-\w*c", word) and number + 1 < len(words):
            return words[number + 1]
    raise UnclearError("a shell that reads a file")


class _Reader:
    """Parses one text."""

    def __init__(self, text: str, depth: int) -> None:
        self._text = text
        self._depth = depth
        self._at = 0
        self._word: list[str] | None = None
        self._redirects = False
        self._command = SimpleCommand()
        self._groups = 0
        self._found: list[SimpleCommand] = []

    def read(self) -> list[SimpleCommand]:
        """Return all commands, in the order in which they end."""
        while self._at < len(self._text):
            self._step(self._text[self._at])
        self._end_command()
        return self._found

    def _step(self, character: str) -> None:
        if character == "#" and self._word is None:
            end = self._text.find("\n", self._at)
            self._at = len(self._text) if end < 0 else end
        elif character in " \t\r":
            self._end_word()
            self._at += 1
        elif character in "<>" or self._text.startswith("&>", self._at):
            self._redirect()
        elif character in "()":
            self._group(character)
        elif character in "\n;&|":
            self._end_command()
            self._at += 1
        elif character == "'":
            self._add(self._until("'"))
        elif character == '"':
            self._at += 1
            self._double_quotes()
        else:
            self._plain(character)

    def _group(self, character: str) -> None:
        """Begin or end a subshell. A `)` without `(` ends a pattern of `case`, which is not a command."""
        if character == ")" and not self._groups:
            self._end_word()
            self._command = SimpleCommand()
        self._end_command()
        self._groups = max(0, self._groups + (1 if character == "(" else -1))
        self._at += 1

    def _plain(self, character: str) -> None:
        """Process one character outside single quotes, or a substitution."""
        text, at = self._text, self._at
        if character == "\\":
            self._at += 2
            self._add("" if text[at + 1 : at + 2] == "\n" else text[at + 1 : at + 2])
        elif character == "`":
            self._inner(self._until("`").replace("\\`", "`"))
        elif text.startswith("$((", at):
            self._arithmetic()
        elif text.startswith("$(", at):
            self._inner(self._parenthesis())
        else:
            run = _PLAIN.match(text, at)
            self._add(run[0] if run else character)
            self._at += len(run[0]) if run else 1

    def _arithmetic(self) -> None:
        """`$(( ))` runs nothing by itself."""
        inside = self._parenthesis()
        if not inside.endswith(")") or "$(" in inside or "`" in inside:
            raise UnclearError("arithmetic that may run something")
        self._add("$")

    def _double_quotes(self) -> None:
        self._add("")
        while self._at < len(self._text):
            character = self._text[self._at]
            if character == '"':
                self._at += 1
                return
            self._plain(character)
        raise UnclearError("a quote that does not end")

    def _until(self, quote: str) -> str:
        """The text up to the closing quote. Outside single quotes a backslash escapes it."""
        end = self._at
        while True:
            end = self._text.find(quote, end + 1)
            if end < 0:
                raise UnclearError("a quote that does not end")
            if quote == "'" or self._text[end - 1] != "\\":
                break
        inside = self._text[self._at + 1 : end]
        self._at = end + 1
        return inside

    def _parenthesis(self) -> str:
        """The text within `$( )`."""
        start = self._at = self._at + 2
        open_ones, quote = 1, ""
        while self._at < len(self._text):
            character = self._text[self._at]
            self._at += 1
            if character == "\\" and quote != "'":
                self._at += 1
            elif quote:
                quote = "" if character == quote else quote
            elif character in "'\"":
                quote = character
            elif character in "()":
                open_ones += 1 if character == "(" else -1
                if not open_ones:
                    return self._text[start : self._at - 1]
        raise UnclearError("a parenthesis that does not end")

    def _inner(self, text: str) -> None:
        self._found += simple_commands(text, self._depth + 1)
        self._add("$")

    def _redirect(self) -> None:
        """`>`, `>>`, `>|`, `2>`, `&>`, `<`; a number before it is a descriptor."""
        if self._word is not None and "".join(self._word).isdigit():
            self._word = None
        self._end_word()
        match = _REDIRECTION.match(self._text, self._at)
        if match is None or match[1] in ("<<", "<<<"):
            raise UnclearError("a here-document")
        self._at = match.end()
        self._redirects = not match[2] and match[1] != "<"
        if match[1] == "<" and not match[2]:
            self._skip_word()

    def _skip_word(self) -> None:
        """Skip the file name of an input redirection: it is not an argument."""
        match = _FILE.match(self._text, self._at)
        if match is None:
            raise UnclearError("no file to read")
        self._at = match.end()

    def _add(self, text: str) -> None:
        if self._word is None:
            self._word = []
        self._word.append(text)

    def _end_word(self) -> None:
        if self._word is None:
            return
        text = "".join(self._word)
        self._word = None
        if self._redirects:
            self._command.files.append(text)
            self._redirects = False
        else:
            self._command.words.append(text)

    def _end_command(self) -> None:
        self._end_word()
        if self._command.words or self._command.files:
            self._found.append(self._command)
        self._command = SimpleCommand()
