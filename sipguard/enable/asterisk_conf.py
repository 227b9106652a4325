"""Reads Asterisk's configuration files as far as `enable` needs them: sections, templates, includes."""

from __future__ import annotations

import re
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterator

    from sipguard.enable.machine import Machine

MOST_FILES = 500
"""Files of one configuration, with all that it includes."""
_SECTION = re.compile(r"\[([^\]]+)\](?:\(([^)]*)\))?")
_INCLUDE = re.compile(r"""#(?:try)?include\s+["<]?([^"<>\s]+)[">]?""")
_BLOCK_COMMENT = re.compile(r";--(?!-).*?--;", re.DOTALL)


@dataclass(slots=True)
class Section:
    """One `[section]`, with what its templates say first."""

    name: str
    where: str
    """The file it begins in."""
    template: bool = False
    items: list[tuple[str, str]] = field(default_factory=list)

    def get(self, key: str, default: str = "") -> str:
        """The last value of a key."""
        return next((value for name, value in reversed(self.items) if name == key), default)

    def all(self, key: str) -> list[str]:
        """Every value of a key, lists of several in one line taken apart."""
        return [word.strip() for name, value in self.items if name == key for word in value.split(",") if word.strip()]


class AsteriskConf:
    """One configuration with what it includes; sections in the order in which Asterisk meets them."""

    def __init__(self, machine: Machine, folder: str, name: str) -> None:
        self._machine, self._folder = machine, folder
        self.files: list[str] = []
        """The files that were read, the first one first."""
        self.includes: list[str] = []
        """What is included, as written."""
        self.sections: list[Section] = []
        self._read(f"{folder}/{name}", depth=0)

    def named(self, name: str) -> list[Section]:
        """The sections of this name; there may be several."""
        return [section for section in self.sections if section.name == name]

    def of_type(self, kind: str) -> Iterator[Section]:
        """Those of `type=kind` that are no templates."""
        return (section for section in self.sections if section.get("type") == kind and not section.template)

    def _read(self, path: str, depth: int) -> None:
        if depth > 8 or len(self.files) >= MOST_FILES or path in self.files or not self._machine.there(path):
            return
        self.files.append(path)
        for raw in _BLOCK_COMMENT.sub("", self._machine.text(path)).splitlines():
            line = re.split(r"(?<!\\);", raw, maxsplit=1)[0].strip()
            if match := _INCLUDE.match(line):
                self._include(match[1], depth)
            elif match := _SECTION.match(line):
                self._begin(match[1], match[2] or "", path)
            elif self.sections and "=" in line:
                key, _, value = line.partition("=")
                self.sections[-1].items.append((key.strip().lower(), value.lstrip(">").strip()))

    def _include(self, target: str, depth: int) -> None:
        self.includes.append(target)
        path = target if target.startswith("/") else f"{self._folder}/{target}"
        for one in self._machine.files(path):
            self._read(one, depth + 1)

    def _begin(self, name: str, options: str, path: str) -> None:
        words = [word.strip() for word in options.split(",") if word.strip()]
        if "+" in words and (known := self.named(name)):
            # What follows is added to the section that is there already: to the end, where its last value wins.
            self.sections.remove(known[-1])
            self.sections.append(known[-1])
            return
        section = Section(name, path, template="!" in words)
        for word in words:
            section.items += [item for one in self.named(word)[-1:] for item in one.items]
        self.sections.append(section)


def is_true(value: str) -> bool:
    """As Asterisk reads yes and no (`ast_true`)."""
    return value.lower() in ("yes", "true", "y", "t", "1", "on")
