"""Resolves `%(name)s` in values: Python's interpolation plus Fail2ban's `%(section/name)s` and `%(known/name)s`.

See jail.conf(5), `CONFIGURATION FILES FORMAT`. References in the text put in are resolved too, with the keys of the section that
asked for it, even if the text comes from another section.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import TYPE_CHECKING, Protocol

from sipguard.errors import ConfigError

if TYPE_CHECKING:
    from collections.abc import Mapping

_REFERENCE = re.compile(r"%\(([^)]+)\)s")
_FOREIGN = re.compile(r"([\w-]+)/(.+)", re.DOTALL)

# The depth limit of Python's own interpolation, which also detects loops.
_MAX_DEPTH = 10
# Characters and look-ups: far more than any real filter needs. A value that doubles at each level is refused before it uses up
# memory or time.
MAX_LENGTH = 1 << 20
_MAX_LOOKUPS = 10_000


@dataclass(frozen=True, slots=True)
class Value:
    """The text of one key as written, and its place."""

    text: str
    path: str
    line: int

    @property
    def where(self) -> str:
        """`file:line`, or empty for a value that comes from no file."""
        return f"{self.path}:{self.line}" if self.path else ""


class Sections(Protocol):
    """What interpolation needs of the files: `Ini` has it."""

    defaults: dict[str, Value]
    sections: dict[str, dict[str, Value]]


def interpolate(ini: Sections, section: str, key: str, value: Value, variables: Mapping[str, str]) -> str:
    """Resolve the references in `value`. `variables` (names in lower case) win over the keys of `ini`.

    Raises ConfigError, which names the key and what is wrong.
    """
    return _Interpolation(ini, section, key, value.where, variables).run(value.text, 1)


class _Interpolation:
    """Resolves one value."""

    def __init__(self, ini: Sections, section: str, key: str, where: str, variables: Mapping[str, str]) -> None:
        self._ini = ini
        self._section = section
        self._key = key
        self._where = where
        self._variables = variables
        self._lookups = 0

    def run(self, text: str, depth: int) -> str:
        if depth > _MAX_DEPTH:
            raise self._error("its references form a loop or are nested more than 10 deep")
        out: list[str] = []
        length = start = 0
        while (percent := text.find("%", start)) >= 0:
            out.append(text[start:percent])
            if text.startswith("%%", percent):
                out.append("%")
                start = percent + 2
            else:
                reference = _REFERENCE.match(text, percent)
                if reference is None:
                    raise self._error(
                        f"{text[percent : percent + 10]!a} is not a reference: write %(name)s, or %% for a percent sign"
                    )
                found = self._lookup(reference[1])
                out.append(self.run(found, depth + 1) if "%" in found else found)
                length += len(out[-1])
                start = reference.end()
            if length > MAX_LENGTH or self._lookups > _MAX_LOOKUPS:
                raise self._error("its references expand without end")
        out.append(text[start:])
        return "".join(out)

    def _lookup(self, name: str) -> str:
        self._lookups += 1
        lower = name.lower()
        if lower == "__name__":
            return self._section
        if lower in self._variables:
            return self._variables[lower]
        found = (
            self._ini.sections.get(self._section, {}).get(lower) or self._ini.defaults.get(lower) or self._foreign(name)
        )
        if found is None:
            raise self._error(
                f"{f'%({name})s'!a} is not defined in {f'[{self._section}]'!a} or [DEFAULT]: "
                "define it, or write %% for a percent sign"
            )
        return found.text

    def _foreign(self, name: str) -> Value | None:
        """What `section/key` refers to. `default` is `[DEFAULT]`; `known` is this section before a later file overrode the key.

        None if `name` has another form, or there is no such section or key.
        """
        match = _FOREIGN.fullmatch(name)
        if match is None:
            return None
        section, key = match[1], match[2].lower()
        if section.lower() == "known":
            source = self._ini.sections.get(f"KNOWN/{self._section}", {})
        elif section.lower() == "default":
            source = {}
        elif section in self._ini.sections:
            source = self._ini.sections[section]
        else:
            return None
        return source.get(key) or self._ini.defaults.get(key)

    def _error(self, why: str) -> ConfigError:
        return ConfigError(f"{ascii(self._key)[1:-1]} cannot be resolved: {why}", self._where)
