"""What a log could tell better: for `check`, from the advice that a filter gives (`advice` in `[Definition]`).

One piece of advice per line: `has REGEX & lacks REGEX => text` holds when a line of the log matches the first, and none the
second; of a log without lines nothing holds. `{events}` in a text stands for the advice to listen to the server's events. The
last part of each log is looked at, as much of it as a person would scroll through; of the journal, its last entries.
"""

from __future__ import annotations

import re
import subprocess
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

from sipguard.errors import ConfigError
from sipguard.files import open_regular
from sipguard.sources.journal_entry import read_entry
from sipguard.sources.journal_query import query_of

if TYPE_CHECKING:
    from sipguard.model import Filter, Jail

LOOKED_AT = 1 << 20
"""Bytes at the end of a log."""
ENTRIES = 5000
"""Of the journal."""
PATIENCE = 10.0
"""Seconds for the journal to give them."""
KAMAILIO_FILES = [Path("/etc/kamailio/kamailio.cfg"), Path("/usr/local/etc/kamailio/kamailio.cfg")]
_LOADS_AUTH = re.compile(r'loadmodule\s+"(?:[^"]*/)?auth(?:\.so)?"')
_OWN_NONCES = re.compile(r'modparam\(\s*"auth"\s*,\s*"one_time_nonce"\s*,\s*1\b')
_BOUND_NONCES = re.compile(r'modparam\(\s*"auth"\s*,\s*"auth_checks_(register|no_dlg|in_dlg)"\s*,\s*(?:[89]|1[0-5])\b')
"""The flag 8 binds a nonce to the address that asked for it: in requests of this kind alone, so all three need it."""
_ADVICE = re.compile(r"((?:has|lacks)\s+.+?)\s+=>\s+(.+)")
_EVENTS = "; or listen to the server's events, which do not depend on its log: docs/events.md"
_AND = re.compile(r"\s+&\s+(?=(?:has|lacks)\s)")


class _Advice(NamedTuple):
    """A piece of advice."""

    conditions: list[tuple[bool, re.Pattern[str]]]
    """Whether a line must match, or none may."""
    text: str

    def holds(self, lines: list[str]) -> bool:
        return all(any(map(pattern.search, lines)) is wanted for wanted, pattern in self.conditions)


def advice(jail: Jail) -> Iterator[str]:
    """What to switch on for a jail's logs, one line each. Raises ConfigError when the filter's advice cannot be read."""
    if jail.source == "wire":
        yield from _nonces_of_kamailio()
    rules = list(_rules(jail.filter))
    events = "" if jail.events else _EVENTS
    for name, lines in _logs(jail) if rules else ():
        for rule in rules:
            if lines and rule.holds(lines):
                yield f"{name}: {rule.text.replace('{events}', events)}"


def _logs(jail: Jail) -> Iterator[tuple[str, list[str]]]:
    """The jail's logs, each with its last lines."""
    if jail.journal:
        yield from _journal(jail)
        return
    for log in jail.logpath:
        yield log.pattern, _last_lines(Path(log.pattern))


def _journal(jail: Jail) -> Iterator[tuple[str, list[str]]]:
    query = query_of(jail)
    try:
        done = subprocess.run(query.command(f"--lines={ENTRIES}"), capture_output=True, timeout=PATIENCE, check=False)
    except (OSError, subprocess.TimeoutExpired):  # whether it can be read is another matter, told elsewhere
        return
    yield query.name, [entry.text for line in done.stdout.splitlines() if (entry := read_entry(line, jail.encoding))]


def _nonces_of_kamailio() -> Iterator[str]:
    """Kamailio as it comes gives one nonce a second to everybody: no proof of anything."""
    for path in KAMAILIO_FILES:
        text = "\n".join(line for line in _last_lines(path) if not line.lstrip().startswith("#"))
        bound = len(set(_BOUND_NONCES.findall(text))) == 3
        if _LOADS_AUTH.search(text) and not bound and not _OWN_NONCES.search(text):
            yield f'{path}: its nonces prove nobody\'s address; write modparam("auth", "one_time_nonce", 1)'


def _rules(filter: Filter) -> Iterator[_Advice]:  # noqa: A002
    for line in filter.options.get("advice", "").split("\n"):
        match = _ADVICE.fullmatch(line.strip())
        if match:
            try:
                yield _Advice([_condition(each) for each in _AND.split(match[1])], match[2])
            except re.error as error:
                raise ConfigError(f"advice: {error}: {line!r}", filter.origin) from None


def _condition(text: str) -> tuple[bool, re.Pattern[str]]:
    word, _, pattern = text.partition(" ")
    return word == "has", re.compile(pattern.strip())


def _last_lines(path: Path) -> list[str]:
    try:
        with open_regular(path) as file:
            size = file.seek(0, 2)
            file.seek(max(0, size - LOOKED_AT))
            return file.read(LOOKED_AT).decode("utf-8", "replace").split("\n")[:-1]
    except OSError:  # a log that is not there or may not be read is another matter, told elsewhere
        return []
