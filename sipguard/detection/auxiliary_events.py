"""What a log tells beside failures: logins that succeed (`successregex`), challenges and their answers (`challengeregex`,
`answerregex`), and lines that somebody has tampered with (`tamperedregex`).

The keys stand in a filter's `[Definition]`, one regex per line, in the syntax of failregex; Fail2ban ignores them.
A success counts only in a line that nobody but the server can have written (see `screen`).
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from sipguard.detection.expressions import Expression, each_of
from sipguard.detection.tags import accused
from sipguard.model import Challenge, Success

if TYPE_CHECKING:
    from collections.abc import Callable

    import regex

    from sipguard.model import Filter

    Search = Callable[[Expression, str], regex.Match[str] | None]


_SUCCESS = "successregex"


class AuxiliaryEvents:
    """These keys of one filter, compiled. Raises ConfigError when a regex does not compile, or names nobody."""

    def __init__(self, filter: Filter) -> None:  # noqa: A002
        keys = (_SUCCESS, "challengeregex", "answerregex")
        self._events = {key: found for key in keys if (found := each_of(filter, key, needs_id=True))}
        self._tampered = each_of(filter, "tamperedregex")

    def expressions(self, *, trusted: bool) -> list[Expression]:
        """All of them; without `trusted`, those that can matter in lines that are not."""
        events = [one for key, group in self._events.items() if trusted or key != _SUCCESS for one in group]
        return [*events, *self._tampered]

    def __bool__(self) -> bool:
        return bool(self._events or self._tampered)

    def event(self, text: str, time: float | None, search: Search, *, trusted: bool) -> Success | Challenge | None:
        """What a line without its date tells of; of successes only in a line that is `trusted`."""
        for key, expressions in self._events.items():
            for expression in expressions if trusted or key != _SUCCESS else ():
                match = search(expression, text) if expression.holds in text else None
                if match is None:
                    continue
                groups = expression.groups_of(match)
                host, _ = accused(groups)
                if host:
                    tags = {name: value for name, value in groups.items() if value is not None}
                    if key == _SUCCESS:
                        return Success(host, time, groups.get("user"), tags)
                    return Challenge(host, time, groups.get("user"), key == "answerregex", tags)
        return None

    def is_tampered(self, text: str, search: Search) -> bool:
        """Whether the line is one that its server does not write by itself."""
        return any(each.holds in text and search(each, text) is not None for each in self._tampered)
