"""How answers look: aligned and coloured on a terminal, plain words and tabs in a pipe, JSON for programs."""

from __future__ import annotations

import json
import os
import re
import sys
import time
from collections.abc import Callable, Iterable, Sequence
from typing import Any, TextIO, TypeVar

import click

from sipguard.cli.layout import Painted, columns_of, folded, laid_out, width_of
from sipguard.text import printable

T = TypeVar("T")

MOST_CHARACTERS = 300
"""Of a cell: a log line may be as long as an attacker likes."""
_COLOURS = {"good": "32", "bad": "1;31", "warn": "33", "dim": "2", "bold": "1"}
"""What a text says of the state → its SGR parameters (ECMA-48)."""


def print_json(value: Any) -> None:
    click.echo(json.dumps(value, indent=2, ensure_ascii=True))


def answer(value: T, as_json: bool, tell: Callable[[T], object]) -> None:
    """Print a daemon's answer: JSON for programs, or what `tell` says of it."""
    if as_json:
        print_json(value)
    else:
        tell(value)


def coloured(stream: TextIO) -> bool:
    """Whether colours go there: a terminal that knows them, and NO_COLOR (no-color.org) is not set."""
    return stream.isatty() and not os.environ.get("NO_COLOR") and os.environ.get("TERM") != "dumb"


def painted(text: str, state: str) -> str:
    """`text` in the colour of a state (`good`, `bad`, `warn`, `dim`, `bold`), where standard output has colours."""
    return f"\x1b[{_COLOURS[state]}m{text}\x1b[0m" if text and coloured(sys.stdout) else text


def cell(text: object, state: str) -> Painted:
    """A cell of a table in the colour of a state."""
    return Painted(text, state)


def complain(text: str) -> None:
    """A message on standard error: one line, for grep; on a terminal folded between words, where it stays readable."""
    click.echo(_folded(printable(text), sys.stderr), err=True)


def say(text: str, state: str = "") -> None:
    """A sentence on standard output, folded as `complain` does; what strangers wrote in it has been made printable."""
    shown = _folded(text, sys.stdout)
    click.echo("\n".join(painted(line, state) for line in shown.split("\n")) if state else shown)


def say_fact(label: str, text: str) -> None:
    """A label and a text; the text in a column of its own on a terminal. Both have been made printable."""
    if not sys.stdout.isatty():
        click.echo(f"{label}{text}")
        return
    for number, line in enumerate(folded(text, width_of(sys.stdout) - len(label))):
        click.echo(f"{' ' * len(label) if number else painted(label, 'dim')}{line}")


def _folded(text: str, stream: TextIO) -> str:
    """Folded where the stream is a terminal; lines that begin with blanks keep them, and what follows is 4 further in."""
    if not stream.isatty():
        return text
    return "\n".join(one for line in text.split("\n") for one in _lines(line, width_of(stream)))


def _lines(text: str, width: int) -> list[str]:
    if columns_of(text) <= width:
        return [text]  # with the blanks that it has
    indent = text[: len(text) - len(text.lstrip(" "))]
    first, *rest = folded(text, width - len(indent), later=width - len(indent) - 4)
    return [indent + first, *(f"{indent}    {line}" for line in rest)]


def complain_of_call(error: click.ClickException) -> None:
    """A call that is wrong, in one line; help where a call without anything asks for it."""
    if isinstance(error, getattr(click.exceptions, "NoArgsIsHelpError", ())):
        error.show()
        return
    context = getattr(error, "ctx", None)
    program = context.command_path if context else "sipguard"
    said = error.format_message()
    complain(f"{program}: {said}{'' if said.endswith(('.', '?', ')')) else '.'} Try: {program} --help")


def table(columns: Sequence[str], rows: Iterable[Sequence[object]]) -> None:
    """A table: aligned on a terminal, if it has rows; tab-separated in a pipe. Cells may hold what an attacker wrote."""
    cells = [[_made_printable(one) for one in row] for row in rows]
    if not sys.stdout.isatty():
        for row in cells:
            click.echo("\t".join(map(str, row)))
        return
    if not cells:
        return
    for number, line in enumerate(laid_out(columns, cells, width_of(sys.stdout))):
        states = ((text, state if number else "dim") for text, state in line)
        parts = (painted(text, state) if state and text.strip() else text for text, state in states)
        click.echo(_TRAILING.sub(r"\1", "".join(parts)))


_TRAILING = re.compile(r" +((?:\x1b\[0m)?)$")
"""Blanks at the end of a line, which would wrap where it is copied."""


def _made_printable(one: object) -> object:
    if isinstance(one, int) and not isinstance(one, bool):
        return one
    shown = printable(str(one), MOST_CHARACTERS)
    return Painted(shown, one.state) if isinstance(one, Painted) else shown


def confirm(question: str, *, yes: bool) -> None:
    """Ask before something sweeping. Without a terminal nobody can answer: then `--yes` is needed. Raises `Abort`."""
    if yes:
        return
    if not sys.stdin.isatty():
        raise click.UsageError(f"{question} Add --yes to do it without being asked")
    if not click.confirm(f"{question} Go on?", err=True):
        complain("nothing was done")
        raise click.exceptions.Exit(1)


def by(jail: str) -> str:
    """`by asterisk`; of the jail of bans by hand, `by hand`."""
    return f"by {jail.removeprefix('by-')}"


def counted(number: int, noun: str) -> str:
    """`1 line`, `2 lines`, `2 addresses`, `2 failregexes`."""
    return f"{number} {noun}" if number == 1 else f"{number} {noun}{'es' if noun.endswith(('s', 'x')) else 's'}"


def moment(when: float) -> str:
    """Local date and time."""
    return time.strftime("%Y-%m-%d %H:%M:%S", time.localtime(when))


def lately(when: float) -> str:
    """Local time, with the date where it was not today; in a pipe as `moment`."""
    if not sys.stdout.isatty():
        return moment(when)
    then, today = time.localtime(when), time.localtime()
    return time.strftime("%H:%M:%S" if then[:3] == today[:3] else "%Y-%m-%d %H:%M", then)
