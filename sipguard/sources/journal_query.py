"""Builds arguments of journalctl(1) that select a jail's journal entries."""

from __future__ import annotations

import glob
import re
import shlex
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

from sipguard.errors import ConfigError
from sipguard.sources.journal_entry import FIELDS

if TYPE_CHECKING:
    from collections.abc import Container, Mapping, Sequence

    from sipguard.model import Jail

# sd-journal(3), SD_JOURNAL_…: the bits of `journalflags`.
_LOCAL_ONLY, _SYSTEM, _CURRENT_USER = 1, 4, 8
_OPTIONS = frozenset({"journalpath", "journalfiles", "journalflags", "namespace", "rotated"})
"""`rotated` has no effect: journalctl always reads rotated files."""
_MATCH = re.compile(r"[A-Z_][A-Z0-9_]{0,63}=.*", re.ASCII | re.DOTALL)


_FILE = "--file="


@dataclass(frozen=True, slots=True)
class Query:
    """A selection of journal entries."""

    name: str
    """Name for messages and for the state: `journal _SYSTEMD_UNIT=ssh.service`."""
    source: tuple[str, ...] = ()
    """Arguments that select the journal."""
    matches: tuple[str, ...] = ()
    """`FIELD=value` and `+`; see systemd.journal-fields(7)."""

    @property
    def files(self) -> list[str]:
        """The files that it names one by one."""
        return [option.removeprefix(_FILE) for option in self.source if option.startswith(_FILE)]

    @property
    def is_systems(self) -> bool:
        """Whether it is of the journal that the system keeps, not of one at a place that was given."""
        return not any("=" in option for option in self.source)

    def without(self, files: Container[str]) -> Query:
        """The same query of the other files."""
        return replace(self, source=tuple(one for one in self.source if one.removeprefix(_FILE) not in files))

    def command(self, *more: str) -> list[str]:
        """Command line of journalctl(1) that prints these entries; `more` are options for the start."""
        fields = f"--output-fields={','.join(FIELDS)}"
        fixed = ["journalctl", "--output=json", "--all", "--quiet", "--no-pager", fields]
        return [*fixed, *self.source, *more, "--", *self.matches]


def query(journalmatch: Sequence[str], options: Mapping[str, str], where: str = "") -> Query:
    """Build a query from `journalmatch` (one alternative per line) and the options of `backend = systemd[…]`.

    Raises ConfigError for an invalid match or an unknown option.
    """
    matches: list[str] = []
    for line in journalmatch:
        matches += ["+"] if matches else []
        matches += _words(line, where)
    source = _source(options, where)
    return Query(" ".join(["journal", *source, *matches]), tuple(source), tuple(matches))


def query_of(jail: Jail) -> Query:
    """The query of a jail with `backend = systemd`. Raises ConfigError like `query`."""
    return query(jail.filter.journalmatch, jail.journal_options, jail.origin)


def _words(line: str, where: str) -> list[str]:
    try:
        words = shlex.split(line)
    except ValueError:
        words = [line]
    for word in words:
        if word != "+" and not _MATCH.fullmatch(word):
            example = "write e.g. _SYSTEMD_UNIT=ssh.service + _COMM=sshd"
            raise ConfigError(f"journalmatch: {word[:60]!a} is not FIELD=value; {example}", where)
    return words


def _source(options: Mapping[str, str], where: str) -> list[str]:
    for name in options:
        if name not in _OPTIONS:
            known = ", ".join(sorted(_OPTIONS))
            raise ConfigError(f"backend = systemd[{name}=…]: unknown option; known are {known}", where)
    files, path = options.get("journalfiles", ""), options.get("journalpath", "")
    source = [f"{_FILE}{file}" for pattern in re.split(r"[\s,]+", files) if pattern for file in _files(pattern)]
    source += [f"--directory={path}"] if path else []
    source += [f"--namespace={options['namespace']}"] if options.get("namespace") else []
    # Like Fail2ban, read only the system's journal, not the users', unless files are named.
    text = options.get("journalflags", "" if source else str(_SYSTEM))
    if text and not text.isdigit():
        raise ConfigError(f"backend = systemd[journalflags={text[:20]}]: must be a number, e.g. 4", where)
    flags = int(text or 0)
    source += ["--system"] if flags & _SYSTEM and not files else []
    source += ["--user"] if flags & _CURRENT_USER and not files else []
    return source if flags & _LOCAL_ONLY or files or path else [*source, "--merge"]


def _files(pattern: str) -> list[str]:
    """Files that match a pattern; the pattern itself if none does, so that journalctl reports it."""
    return sorted(glob.glob(pattern)) or [pattern]  # noqa: PTH207 - Path.glob takes no absolute pattern
