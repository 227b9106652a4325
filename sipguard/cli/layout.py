"""Text in the columns of a terminal: folded between words, paths behind a slash; tables as wide as there is room."""

from __future__ import annotations

import os
import re
import shutil
import unicodedata
from collections.abc import Iterator, Sequence
from typing import Self, TextIO

_GAP = 2
"""Blanks between two columns of a table."""
_NARROWEST = 12
"""No column of a table is made narrower than this, in characters."""
_BREAKS = re.compile(r"[^/,;:=&?|.]*[/,;:=&?|.]+|[^/,;:=&?|.]+")
"""Parts of a long word; a line may be broken after each."""


class Painted(str):
    """The text of a table's cell, and the state (`good`, `bad` …) that decides its colour."""

    __slots__ = ("state",)
    state: str

    def __new__(cls, text: object, state: str) -> Self:
        """The text, and the state."""
        made = super().__new__(cls, str(text))
        made.state = state
        return made


def width_of(stream: TextIO) -> int:
    """Width of the stream's terminal in characters; 80 if it is unknown."""
    try:
        return os.get_terminal_size(stream.fileno()).columns or 80
    except (OSError, ValueError):
        return shutil.get_terminal_size().columns


def columns_of(text: str) -> int:
    """Width of a text on a terminal: East Asian characters take two columns, combining marks none."""
    if text.isascii():
        return len(text)
    wide = ("W", "F")
    return sum(0 if unicodedata.combining(c) else 2 if unicodedata.east_asian_width(c) in wide else 1 for c in text)


def folded(text: str, width: int, later: int | None = None) -> list[str]:
    """Break text into lines of at most `width` columns (`later`: all but the first), between words if possible."""
    width = max(width, 1)
    lines, line, room = [], "", width
    for word in re.findall(r"\S+", text):
        if line and columns_of(line) + 1 + columns_of(word) <= room:
            line += f" {word}"
            continue
        if line:
            lines.append(line)
            room = later or width
        line = word
        while columns_of(line) > room:
            head = _head(line, room)
            lines.append(head)
            line, room = line[len(head) :], later or width
    return [*lines, line] if line or not lines else lines


def _head(word: str, room: int) -> str:
    """The beginning of a long word that fits: up to a slash or the like, if there is one."""
    head, parts = "", iter(_BREAKS.findall(word))
    for part in parts:
        if columns_of(head + part) > room:
            # What does not fit on a line of its own either is broken at its end, as there is no better place.
            if head and columns_of(part) <= room:
                return head
            break
        head += part
    head = ""
    while word and columns_of(head + word[0]) <= room:
        head, word = head + word[0], word[1:]
    return head or word[0]


def laid_out(columns: Sequence[str], rows: Sequence[Sequence[object]], width: int) -> Iterator[list[tuple[str, str]]]:
    """The lines of a table, its head first. Each line is a list of (text, state)."""
    texts = [[str(one) for one in row] for row in rows]
    numbers = [{type(row[n]) for row in rows if row[n] != ""} == {int} for n in range(len(columns))]
    natural = [max(columns_of(one) for one in (title, *(row[n] for row in texts))) for n, title in enumerate(columns)]
    widths = _squeezed(natural, [columns_of(title) for title in columns], width - _GAP * (len(columns) - 1))
    for number, row in enumerate([list(columns), *texts]):
        states = [getattr(one, "state", "") for one in rows[number - 1]] if number else [""] * len(columns)
        cells = [folded(text, widths[n]) for n, text in enumerate(row)]
        for line in range(max(map(len, cells))):
            parts = []
            for n, lines in enumerate(cells):
                text = lines[line] if line < len(lines) else ""
                blank = " " * (widths[n] - columns_of(text))
                parts.append((blank + text if numbers[n] else text + blank, states[n]))
                parts.append((" " * _GAP if n < len(cells) - 1 else "", ""))
            yield parts


def _squeezed(natural: Sequence[int], least: Sequence[int], room: int) -> list[int]:
    """Column widths that fit into `room`. The widest column shrinks first; none becomes narrower than its title."""
    widths = list(natural)
    while sum(widths) > room:
        spare = [width - max(_NARROWEST, least[n]) for n, width in enumerate(widths)]
        widest = max(range(len(widths)), key=lambda n: (spare[n] > 0, widths[n]))
        if spare[widest] <= 0:
            break
        others = max((width for n, width in enumerate(widths) if n != widest), default=0)
        step = min(sum(widths) - room, spare[widest], max(1, widths[widest] - others))
        widths[widest] -= step
    return widths
