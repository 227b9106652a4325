"""Parses Fail2ban's INI dialect with includes and `.local` overrides, and remembers the file and line of each value.

The dialect is that of Python's `configparser` with `;` for inline comments, plus Fail2ban's own `[INCLUDES]` and
`[Section?condition]`: jail.conf(5), `CONFIGURATION FILES FORMAT`. `configparser` itself is not used because it forgets the
file and line of a value, which error messages need.
"""

from __future__ import annotations

import errno
import os
import re
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING

from sipguard.config.interpolation import Value, interpolate
from sipguard.errors import ConfigError

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping, Sequence

DEFAULT = "DEFAULT"
INCLUDES = "INCLUDES"
KNOWN = "KNOWN/"
"""Prefix of the sections that keep overridden values, for `%(known/key)s`."""

_INLINE_COMMENT = re.compile(r"(?<!\S);")
_HEADER = re.compile(r"\[(.+)\]")
_OPTION = re.compile(r"([^=:]*)[=:](.*)", re.DOTALL)
_CONDITIONAL = re.compile(r"(\w+)(\?.+)")

Section = dict[str, Value]


@dataclass(slots=True)
class IniText:
    """The sections of one file, before merging."""

    defaults: Section = field(default_factory=dict)
    sections: dict[str, Section] = field(default_factory=dict)


class _IniParser:
    def __init__(self, path: str) -> None:
        self._path = path
        self._text = IniText()
        self._section: Section | None = None
        self._key = ""
        self._value: list[str] = []
        self._value_line = 0
        self._indent = 0

    def feed(self, number: int, line: str) -> None:
        commented = line.lstrip().startswith(("#", ";"))
        inline = _INLINE_COMMENT.search(line)
        content = "" if commented else line[: inline.start() if inline else None].strip()
        if not content:
            # An empty line is part of a multi-line value; a comment is dropped.
            if self._key and not (commented or inline):
                self._value.append("")
            return
        indent = len(line) - len(line.lstrip())
        if self._key and indent > self._indent:
            self._value.append(content)
            return
        self._close_value()
        self._indent = indent
        header = _HEADER.match(content)
        if header:
            self._open_section(number, header[1])
        else:
            self._open_value(number, content)

    def finish(self) -> IniText:
        self._close_value()
        return self._text

    def _where(self, number: int) -> str:
        return f"{self._path}:{number}"

    def _open_section(self, number: int, name: str) -> None:
        if name == DEFAULT:
            self._section = self._text.defaults
        elif name in self._text.sections:
            raise ConfigError(
                f"{_quoted(f'[{name}]')} occurs twice in this file; put its keys under one heading", self._where(number)
            )
        else:
            self._section = self._text.sections[name] = {}

    def _open_value(self, number: int, content: str) -> None:
        option = _OPTION.fullmatch(content)
        if self._section is None:
            raise ConfigError(f"{_quoted(content)} comes before the first [section]", self._where(number))
        if option is None:
            raise ConfigError(
                f"{_quoted(content)} is neither `key = value` nor [section]; indent it to continue the value above",
                self._where(number),
            )
        key = option[1].rstrip().lower()
        if not key:
            raise ConfigError(f"{_quoted(content)} has no key before `=`", self._where(number))
        if key in self._section:
            raise ConfigError(
                f"{_quoted(key)} occurs twice in this section, first in line {self._section[key].line}; remove one",
                self._where(number),
            )
        self._key, self._value, self._value_line = key, [option[2].strip()], number
        self._section[key] = Value("", self._path, number)

    def _close_value(self) -> None:
        if self._key and self._section is not None:
            self._section[self._key] = Value("\n".join(self._value).rstrip(), self._path, self._value_line)
        self._key = ""


def _quoted(text: str) -> str:
    """Text from a file for an error message: shortened, and without control bytes that could reach a terminal."""
    shown = text if len(text) <= 60 else text[:57] + "..."
    return ascii(shown)


def parse_ini(text: str, path: str) -> IniText:
    """Parse `text` into sections; `path` is used in messages. Raises ConfigError with file and line."""
    parser = _IniParser(path)
    for number, line in enumerate(text.split("\n"), 1):
        parser.feed(number, line)
    return parser.finish()


class Ini:
    """Several files merged in order: a later one overrides key by key."""

    def __init__(self, parts: Iterable[IniText] = ()) -> None:
        self.defaults: Section = {}
        self.sections: dict[str, Section] = {}
        self.files: list[str] = []
        self.missing: list[tuple[str, str]] = []
        """Included files that do not exist: (file, place of the include)."""
        for part in parts:
            self.merge(part)

    def merge(self, part: IniText) -> None:
        """Merge one file over the others, keeping overridden values for `%(known/key)s`."""
        self.defaults.update(part.defaults)
        for heading, own in part.sections.items():
            name, section = heading, own
            conditional = _CONDITIONAL.fullmatch(heading)
            if conditional:
                name = conditional[1]
                section = {key + conditional[2]: value for key, value in own.items()}
            if name in self.sections:
                present = self.sections[name]
                known = {key: value for key, value in present.items() if key in section}
                self.sections.setdefault(KNOWN + name, {}).update(known)
                present.update(section)
            else:
                self.sections[name] = dict(section)

    def find(self, section: str, key: str) -> Value | None:
        """The value as written, from the section or `[DEFAULT]`; None if there is no value or no such section."""
        if section == DEFAULT:
            return self.defaults.get(key)
        if section not in self.sections:
            return None
        return self.sections[section].get(key, self.defaults.get(key))

    def get(self, section: str, key: str, variables: Mapping[str, str] | None = None) -> str | None:
        """The value with every `%(…)s` resolved; None if there is no value or no such section.

        `variables` (keys in lower case) take precedence over the section, also for `key` itself. Raises ConfigError.
        """
        if section != DEFAULT and section not in self.sections:
            return None
        key = key.lower()
        if variables and key in variables:
            value: Value | None = Value(variables[key], "", 0)
        else:
            value = self.find(section, key)
        if value is None:
            return None
        return interpolate(self, section, key, value, variables or {})

    def where(self, section: str, key: str) -> str:
        """`file:line` of a value, for messages; the last file if the key does not exist."""
        value = self.find(section, key)
        if value is not None:
            return value.where
        return self.files[-1] if self.files else ""


def read_text(path: Path) -> str:
    """Read a configuration file. Raises ConfigError if it cannot be read or is not UTF-8."""
    try:
        return path.read_text(encoding="utf-8")
    except OSError as error:
        raise ConfigError(f"cannot be read: {error.strerror}", str(path)) from error
    except UnicodeDecodeError as error:
        raise ConfigError(f"is not UTF-8 text (byte {error.start}); save it as UTF-8", str(path)) from error


def read_ini(paths: Sequence[Path]) -> Ini:
    """Read and merge files in the given order, each with its includes and its `.local`.

    Skips files that do not exist, and links to /dev/null, with which operators disable a file. Raises ConfigError for an
    invalid file, an include loop, and a directory or pipe instead of a file.
    """
    ini = Ini()
    for path in paths:
        if path.is_dir() or path.is_fifo() or path.is_socket():
            raise ConfigError("is not a regular file; remove it", str(path))
    reader = _Includes(ini.missing)
    for path in reader.expand(paths, ()):
        ini.files.append(str(path))
        ini.merge(reader.parse(path))
    return ini


class _Includes:
    """Finds the merge order of files: `before`, the file, `after`, and the same recursively for each."""

    def __init__(self, missing: list[tuple[str, str]]) -> None:
        self._missing = missing
        self._parsed: dict[Path, IniText] = {}

    def parse(self, path: Path) -> IniText:
        if path not in self._parsed:
            self._parsed[path] = parse_ini(read_text(path), str(path))
        return self._parsed[path]

    def expand(self, paths: Sequence[Path], chain: tuple[str, ...], where: str = "") -> Iterator[Path]:
        for path in _with_local(paths):
            if not path.is_file():
                continue
            here = os.path.realpath(path)
            if here in chain:
                loop = " → ".join(Path(step).name for step in (*chain[chain.index(here) :], here))
                raise ConfigError(f"include loop: {loop}; remove this include", where)
            yield from self._included(path, "before", (*chain, here))
            yield path
            yield from self._included(path, "after", (*chain, here))

    def _included(self, path: Path, key: str, chain: tuple[str, ...]) -> Iterator[Path]:
        alone = Ini([self.parse(path)])
        names = alone.get(INCLUDES, key)
        if not names:
            return
        where = alone.where(INCLUDES, key)
        for name in filter(None, names.split("\n")):
            target = path.parent / name
            # Stock files include an optional `.local` that an operator may add.
            if target.suffix != ".local" and not any(candidate.is_file() for candidate in _with_local([target])):
                self._missing.append((str(target), where))
            yield from self.expand([target], chain, where)


def _with_local(paths: Sequence[Path]) -> Iterator[Path]:
    """Each path followed by its `.local`, unless that is listed separately."""
    for path in paths:
        yield path
        local = path.parent / (os.path.splitext(path.name)[0] + ".local")  # noqa: PTH122  Path.stem differs for `.conf`
        if local not in paths and local.is_file():
            yield local


def layer_files(directory: Path, name: str) -> list[Path]:
    """The existing files of one name in the order in which they override each other (jail.conf(5)).

    `name.conf`, `name.d/*.conf`, `name.local`, `name.d/*.local`. Raises ConfigError if a directory cannot be read.
    """
    extra = directory / f"{name}.d"
    try:
        candidates = [
            directory / f"{name}.conf",
            *sorted(extra.glob("*.conf")),
            directory / f"{name}.local",
            *sorted(extra.glob("*.local")),
        ]
        return [path for path in candidates if path.exists()]
    except OSError as error:
        if error.errno == errno.ENAMETOOLONG:
            return []
        raise ConfigError(f"cannot be read: {error.strerror}", error.filename or str(directory)) from error
