"""How answers look: rich on a terminal, plain words and spaces in a pipe, JSON for programs."""

from __future__ import annotations

import json
import shutil
import sys
import textwrap
import time
from collections.abc import Iterable, Sequence
from typing import Any, TextIO

import click

from sipguard.text import printable

MOST_CHARACTERS = 300
"""Of a cell: a log line may be as long as an attacker likes."""


def as_json(value: Any) -> None:
    """Print `value` for programs."""
    click.echo(json.dumps(value, indent=2, ensure_ascii=True))


def complain(text: str) -> None:
    """A message on standard error: one line, for grep; on a terminal folded between words, where it stays readable."""
    click.echo(_folded(printable(text), sys.stderr), err=True)


def say(text: str) -> None:
    """A sentence on standard output, folded as `complain` does; what strangers wrote in it has been made printable."""
    click.echo(_folded(text, sys.stdout))


def _folded(text: str, stream: TextIO) -> str:
    if not stream.isatty():
        return text
    width = shutil.get_terminal_size().columns
    return textwrap.fill(text, width, subsequent_indent="    ", break_long_words=False, break_on_hyphens=False)


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
    """A table: drawn on a terminal, if it has rows; tab-separated in a pipe. Cells may hold what an attacker wrote."""
    cells = list(rows)
    shown = [[printable(str(cell), MOST_CHARACTERS) for cell in row] for row in cells]
    if not sys.stdout.isatty():
        for row in shown:
            click.echo("\t".join(row))
        return
    if not shown:
        return
    from rich import box  # noqa: PLC0415 - rich is loaded where there is a terminal to draw on
    from rich.console import Console  # noqa: PLC0415
    from rich.table import Table  # noqa: PLC0415
    from rich.text import Text  # noqa: PLC0415

    drawn = Table(box=box.SIMPLE, pad_edge=False, show_edge=False)
    for n, column in enumerate(columns):
        numbers = all(isinstance(row[n], int) for row in cells)
        drawn.add_column(column, overflow="fold", justify="right" if numbers else "left")
    for row in shown:
        drawn.add_row(*(Text(cell) for cell in row))
    Console().print(drawn)


def span(seconds: float | None) -> str:
    """`90` → `1m 30s`; None, which has no end, → `for good`."""
    if seconds is None:
        return "for good"
    parts = []
    rest = max(0, round(seconds))
    for unit, size in (("d", 86400), ("h", 3600), ("m", 60), ("s", 1)):
        number, rest = divmod(rest, size)
        if number:
            parts.append(f"{number}{unit}")
    return " ".join(parts[:2]) or "0s"


def counted(number: int, noun: str) -> str:
    """`1 line`, `2 lines`, `2 addresses`, `2 failregexes`."""
    return f"{number} {noun}" if number == 1 else f"{number} {noun}{'es' if noun.endswith(('s', 'x')) else 's'}"


def moment(when: float) -> str:
    """Local date and time."""
    return time.strftime("%Y-%m-%d %H:%M:%S", time.localtime(when))
