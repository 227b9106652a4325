"""The sentences of a Markdown page: what a person reads, without code, markup and links' targets."""

from __future__ import annotations

import re
from typing import NamedTuple

MOST_WORDS = 25
_FENCE = re.compile(r"^(```|~~~).*?^\1\s*$", re.DOTALL | re.MULTILINE)
_COMMENT = re.compile(r"<!--.*?-->", re.DOTALL)
_CODE = re.compile(r"(`+)(?!`).*?(?<!`)\1(?!`)", re.DOTALL)
_LINK = re.compile(r"!?\[([^\]]*)\]\([^)]*\)")
_BLOCK = re.compile(r"^\s*(?:[-*+]|\d+\.|#+|>)\s+|^\s*\|", re.MULTILINE)
_END = re.compile(r"(?<=[.!?])[)*_\"”]*(?:\s+|$)")
_ABBREVIATION = re.compile(r"\b(?:e\.g|i\.e|etc|vs|cf)\.", re.IGNORECASE)
_WORD = re.compile(r"[^\W_][\w’'./-]*|CODE")


class Sentence(NamedTuple):
    line: int
    text: str

    @property
    def words(self):
        return len(_WORD.findall(self.text))


def sentences(page):
    """Every sentence with the line that it begins in. A list item, a heading and a cell of a table end one as well."""
    blank = lambda match: "\n" * match[0].count("\n")  # noqa: E731
    text = _COMMENT.sub(blank, _FENCE.sub(blank, page))
    text = _LINK.sub(r"\1", _CODE.sub("CODE", text))
    text = _ABBREVIATION.sub("eg", text)
    for line, block in _blocks(text):
        for part in re.split(r"\s\|\s|\|\s*$|^\s*\|", block) if "|" in block else [block]:
            at = 0
            for sentence in _END.split(part):
                if sentence.strip():
                    yield Sentence(line + part[:at].count("\n"), " ".join(sentence.split()))
                at += len(sentence) + 1


def _blocks(text):
    """Paragraphs, list items, headings and rows of tables, each with its first line's number."""
    lines, first = [], 0
    for number, line in enumerate([*text.split("\n"), ""], 1):
        if (not line.strip() or _BLOCK.match(line)) and lines:
            yield first, "\n".join(lines)
            lines = []
        if line.strip():
            first = first if lines else number
            lines.append(line)
            if line.lstrip().startswith(("#", "|")):
                yield first, line
                lines = []


def too_long(page):
    return [one for one in sentences(page) if one.words > MOST_WORDS]
