"""What a log could tell better: for `check`, from the advice that a filter gives (`advice` in `[Definition]`).

One piece of advice per line: `lacks REGEX => text` holds when no line of the log matches, `has REGEX => text` when one does.
The last part of each log is looked at, as much of it as a person would scroll through.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING

from sipguard.errors import ConfigError
from sipguard.files import open_regular

if TYPE_CHECKING:
    from sipguard.model import Filter, Jail

LOOKED_AT = 1 << 20
"""Bytes at the end of a log."""
ENOUGH = 20
"""Lines that a log must have before something is said to be missing in it."""
KAMAILIO_FILES = [Path("/etc/kamailio/kamailio.cfg"), Path("/usr/local/etc/kamailio/kamailio.cfg")]
_LOADS_AUTH = re.compile(r'loadmodule\s+"(?:[^"]*/)?auth(?:\.so)?"')
_OWN_NONCES = re.compile(
    r'modparam\(\s*"auth"\s*,\s*"(?:one_time_nonce"\s*,\s*1|auth_checks_\w+"\s*,\s*(?:[89]|1[0-5]))\b'
)
"""`auth_checks_*` with the flag 8 binds a nonce to the address that asked for it."""
_ADVICE = re.compile(r"(has|lacks)\s+(.+?)\s+=>\s+(.+)")


def advice(jail: Jail) -> Iterator[str]:
    """What to switch on for a jail's logs, one line each. Raises ConfigError when the filter's advice cannot be read."""
    if jail.source == "wire":
        yield from _nonces_of_kamailio()
    rules = list(_rules(jail.filter))
    for log in jail.logpath if rules else ():
        path = Path(log.pattern)
        lines = _last_lines(path)
        for wanted, pattern, text in rules:
            found = any(pattern.search(line) for line in lines)
            if found is wanted and (found or len(lines) >= ENOUGH):
                yield f"{path}: {text}"


def _nonces_of_kamailio() -> Iterator[str]:
    """Kamailio as it comes gives one nonce a second to everybody: no proof of anything."""
    for path in KAMAILIO_FILES:
        text = "\n".join(line for line in _last_lines(path) if not line.lstrip().startswith("#"))
        if _LOADS_AUTH.search(text) and not _OWN_NONCES.search(text):
            yield f'{path}: its nonces prove nobody\'s address; write modparam("auth", "one_time_nonce", 1)'


def _rules(filter: Filter) -> Iterator[tuple[bool, re.Pattern[str], str]]:  # noqa: A002
    for line in filter.options.get("advice", "").split("\n"):
        match = _ADVICE.fullmatch(line.strip())
        if match:
            try:
                yield match[1] == "has", re.compile(match[2]), match[3]
            except re.error as error:
                raise ConfigError(f"advice: {error}: {line!r}", filter.origin) from None


def _last_lines(path: Path) -> list[str]:
    try:
        with open_regular(path) as file:
            size = file.seek(0, 2)
            file.seek(max(0, size - LOOKED_AT))
            return file.read(LOOKED_AT).decode("utf-8", "replace").split("\n")[:-1]
    except OSError:  # a log that is not there or may not be read is another matter, told elsewhere
        return []
