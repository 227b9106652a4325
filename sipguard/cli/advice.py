"""For `check`: says what a server should log and does not, by the rules in its filter (`advice` in `[Definition]`).

Each line is one rule. `has REGEX & lacks REGEX => text` applies if some line of the log matches the first regex, and no line the
second. No rule applies to an empty log. `{events}` in a text is replaced by the advice to listen to the server's events. Only
the end of each log is searched: `LOOKED_AT` bytes of a file, `ENTRIES` entries of the journal.
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
"""Bytes at the end of a log that are searched."""
ENTRIES = 5000
"""Last entries of the journal that are searched."""
PATIENCE = 10.0
"""Seconds that journalctl may take."""
KAMAILIO_FILES = [Path("/etc/kamailio/kamailio.cfg"), Path("/usr/local/etc/kamailio/kamailio.cfg")]
_LOADS_AUTH = re.compile(r'loadmodule\s+"(?:[^"]*/)?auth(?:\.so)?"')
_OWN_NONCES = re.compile(r'modparam\(\s*"auth"\s*,\s*"one_time_nonce"\s*,\s*1\b')
_BOUND_NONCES = re.compile(r'modparam\(\s*"auth"\s*,\s*"auth_checks_(register|no_dlg|in_dlg)"\s*,\s*(?:[89]|1[0-5])\b')
"""Flag 8 binds a nonce to the address that asked for it. Each parameter covers one kind of request: all three need the flag."""
_ADVICE = re.compile(r"((?:has|lacks)\s+.+?)\s+=>\s+(.+)")
_EVENTS = "; or listen to the server's events, which do not depend on its log: docs/events.md"
_AND = re.compile(r"\s+&\s+(?=(?:has|lacks)\s)")


class _Advice(NamedTuple):
    """One rule."""

    conditions: list[tuple[bool, re.Pattern[str]]]
    """(True, regex): some line must match; (False, regex): no line may."""
    text: str

    def holds(self, lines: list[str]) -> bool:
        return all(any(map(pattern.search, lines)) is wanted for wanted, pattern in self.conditions)


def advice(jail: Jail) -> Iterator[str]:
    """What to change in the logging of a jail's server, one line each. Raises ConfigError if a regex of a rule is invalid."""
    if jail.source == "wire":
        yield from _nonces_of_kamailio()
    if jail.filter.options.get("advice"):
        for name, lines in _logs(jail):
            yield from _advice_on(jail.filter, name, lines, "" if jail.events else _EVENTS)


def log_advice(filter: Filter, log: Path) -> Iterator[str]:  # noqa: A002
    """As `advice`, for one file and no jail."""
    yield from _advice_on(filter, str(log), _last_lines(log), _EVENTS)


def _advice_on(filter: Filter, name: str, lines: list[str], events: str) -> Iterator[str]:  # noqa: A002
    for rule in _rules(filter) if lines else ():
        if rule.holds(lines):
            yield f"{name}: {rule.text.replace('{events}', events)}"


def _logs(jail: Jail) -> Iterator[tuple[str, list[str]]]:
    """Name and last lines of each of the jail's logs."""
    if jail.journal:
        yield from _journal(jail)
        return
    for log in jail.logpath:
        yield log.pattern, _last_lines(Path(log.pattern))


def _journal(jail: Jail) -> Iterator[tuple[str, list[str]]]:
    query = query_of(jail)
    try:
        done = subprocess.run(query.command(f"--lines={ENTRIES}"), capture_output=True, timeout=PATIENCE, check=False)
    except (OSError, subprocess.TimeoutExpired):  # `check` reports an unreadable journal elsewhere
        return
    yield query.name, [entry.text for line in done.stdout.splitlines() if (entry := read_entry(line, jail.encoding))]


def _nonces_of_kamailio() -> Iterator[str]:
    """By default, Kamailio gives everybody who asks in the same second the same nonce, so a nonce proves no address."""
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
    except OSError:  # `check` reports a missing or unreadable log elsewhere
        return []
