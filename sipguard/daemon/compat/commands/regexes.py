"""How Fail2ban shows and refuses regexes and date patterns."""

from __future__ import annotations

import re
import warnings

from sipguard.detection.tags import ID_GROUPS, expand
from sipguard.fail2ban.protocol.messages import RegexError

_NAMES = {
    "a": "DAY",
    "A": "DAYNAME",
    "b": "MON",
    "B": "MONTH",
    "d": "Day",
    "j": "Yearday",
    "m": "Month",
    "w": "Weekday",
    "U": "Yearweek",
    "W": "Yearweek",
    "y": "Year2",
    "Y": "Year",
    "H": "24hour",
    "I": "12hour",
    "M": "Minute",
    "S": "Second",
    "f": "Microseconds",
    "p": "AMPM",
    "z": "Zone offset",
    "Z": "Zone name",
    "%": "%",
}
"""What `get JAIL datepattern` calls a directive."""
_DIRECTIVE = re.compile(r"%(Ex)?([a-zA-Z%])")
_NO_DATE = "{UNB}^"
_EPOCH = re.compile(r"(?:\{\^LN-BEG\}|\{UNB\}|\^)?(?:LEPOCH|EPOCH)", re.IGNORECASE)
_TAI64N = re.compile(r"(?:\{\^LN-BEG\}|\{UNB\}|\^)?TAI64N", re.IGNORECASE)


def fixed(pattern: str, usedns: str) -> str:
    """A regex as it is kept: `<HOST>` is an address alone where `usedns` is `no`, at the time when the regex is added."""
    return pattern.replace("<HOST>", "<ADDR>") if usedns == "no" else pattern


def check(pattern: str) -> str:
    """The regex with its tags expanded, compiled for a test. Raises `RegexError` in Fail2ban's words."""
    expanded = expand(pattern)
    if not expanded.lstrip():
        raise RegexError("Cannot add empty regex")
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # about a future Python: nothing for the asker
            re.compile(expanded)
    except (re.error, OverflowError, RecursionError) as error:
        raise RegexError(f"Unable to compile regular expression '{expanded}':\n{error}") from None
    return expanded


def check_failregex(pattern: str, prefregex: str) -> None:
    """Raises `RegexError`: it cannot be compiled, or neither it nor prefregex says who is accused."""
    expanded = check(pattern)
    both = expanded + expand(prefregex)
    if not any(f"(?P<{group}>" in both for group in (*ID_GROUPS, "mlfid")):
        raise RegexError(f"No failure-id group in '{expanded}'")


def date_pattern(pattern: str | None) -> tuple[str | None, str]:
    """What `get JAIL datepattern` answers: the pattern, None for a built-in one, and its name."""
    lines = [line.strip() for line in (pattern or "").split("\n") if line.strip()]
    if not 1 <= len(lines) <= 2 or "{DATE}" in lines[0].upper():
        return None, "Default Detectors"
    first = lines[0]
    if first.upper() in ("{NONE}", _NO_DATE):
        return _NO_DATE, "^"
    if _EPOCH.fullmatch(first):
        return None, "LongEpoch" if "LEPOCH" in first.upper() else "Epoch"
    if _TAI64N.fullmatch(first):
        return None, "TAI64N"
    return first, _DIRECTIVE.sub(_name, first)


def _name(match: re.Match[str]) -> str:
    return (match[1] or "") + _NAMES.get(match[2], f"%{match[2]}")
