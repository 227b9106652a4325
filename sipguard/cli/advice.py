"""Advises operators how a server should log (`check`, `test-filter`), by the rules in its filter (`advice` in `[Definition]`).

Each line is one rule. `has REGEX & lacks REGEX => text` applies if a line of the log matches the first regex and no line matches
the second. No rule applies to an empty log. `{events}` in a text becomes the advice to listen to the server's events, or nothing
if the jail already does. Only the end of a log is searched: `TAIL_BYTES` of a file, `TAIL_ENTRIES` entries of the journal.
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

TAIL_BYTES = 1 << 20
"""Length of the part that is searched, at the end of a log file."""
TAIL_ENTRIES = 5000
"""Number of the journal's last entries that are searched."""
PATIENCE = 10.0
"""Seconds that journalctl may take."""
KAMAILIO_FILES = [Path("/etc/kamailio/kamailio.cfg"), Path("/usr/local/etc/kamailio/kamailio.cfg")]
_LOADS_AUTH = re.compile(r'loadmodule\s+"(?:[^"]*/)?auth(?:\.so)?"')
_OWN_NONCES = re.compile(r'modparam\(\s*"auth"\s*,\s*"one_time_nonce"\s*,\s*1\b')
_BOUND_NONCES = re.compile(r'modparam\(\s*"auth"\s*,\s*"auth_checks_(register|no_dlg|in_dlg)"\s*,\s*(?:[89]|1[0-5])\b')
"""Flag 8 makes a nonce valid only for the address that got it. Each parameter covers one kind of request: all three need it."""
_ADVICE = re.compile(r"((?:has|lacks)\s+.+?)\s+=>\s+(.+)")
_EVENTS = "; or listen to the server's events, which do not depend on its log: docs/events.md"
_AND = re.compile(r"\s+&\s+(?=(?:has|lacks)\s)")


class _AdviceRule(NamedTuple):
    """One rule of a filter."""

    conditions: list[tuple[bool, re.Pattern[str]]]
    """(True, regex): some line must match; (False, regex): no line may."""
    text: str

    def applies(self, lines: list[str]) -> bool:
        return all(any(map(pattern.search, lines)) is wanted for wanted, pattern in self.conditions)


def advice(jail: Jail) -> Iterator[str]:
    """What to change in the configuration of a jail's server, one line each. Raises ConfigError if a rule's regex is invalid."""
    if jail.source == "wire":
        yield from _nonces_of_kamailio()
    if jail.filter.options.get("advice"):
        for name, lines in _logs(jail):
            yield from _advice_on(jail.filter, name, lines, "" if jail.events else _EVENTS)


def log_advice(filter: Filter, log: Path) -> Iterator[str]:  # noqa: A002
    """Like `advice`, for one log file that belongs to no jail."""
    yield from _advice_on(filter, str(log), _last_lines(log), _EVENTS)


def _advice_on(filter: Filter, name: str, lines: list[str], events: str) -> Iterator[str]:  # noqa: A002
    for rule in _rules(filter) if lines else ():
        if rule.applies(lines):
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
        done = subprocess.run(
            query.command(f"--lines={TAIL_ENTRIES}"), capture_output=True, timeout=PATIENCE, check=False
        )
    except (OSError, subprocess.TimeoutExpired):  # `check` itself reports a journal that cannot be read
        return
    yield query.name, [entry.text for line in done.stdout.splitlines() if (entry := read_entry(line, jail.encoding))]


def _nonces_of_kamailio() -> Iterator[str]:
    """Warn if Kamailio's nonces prove no address: by default, all who ask in the same second get the same nonce."""
    for path in KAMAILIO_FILES:
        text = "\n".join(line for line in _last_lines(path) if not line.lstrip().startswith("#"))
        bound = len(set(_BOUND_NONCES.findall(text))) == 3
        if _LOADS_AUTH.search(text) and not bound and not _OWN_NONCES.search(text):
            yield f'{path}: its nonces prove nobody\'s address; write modparam("auth", "one_time_nonce", 1)'


def _rules(filter: Filter) -> Iterator[_AdviceRule]:  # noqa: A002
    for line in filter.options.get("advice", "").split("\n"):
        match = _ADVICE.fullmatch(line.strip())
        if match:
            try:
                yield _AdviceRule([_condition(condition) for condition in _AND.split(match[1])], match[2])
            except re.error as error:
                raise ConfigError(f"advice: {error}: {line!r}", filter.origin) from None


def _condition(text: str) -> tuple[bool, re.Pattern[str]]:
    word, _, pattern = text.partition(" ")
    return word == "has", re.compile(pattern.strip())


def _last_lines(path: Path) -> list[str]:
    try:
        with open_regular(path) as file:
            size = file.seek(0, 2)
            file.seek(max(0, size - TAIL_BYTES))
            return file.read(TAIL_BYTES).decode("utf-8", "replace").split("\n")[:-1]
    except OSError:  # `check` itself reports a log that is missing or unreadable
        return []
