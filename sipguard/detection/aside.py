"""What a log tells beside failures: logins that succeed (`successregex`), and lines that somebody has tampered with.

Both keys stand in a filter's `[Definition]`, one regex per line, in the syntax of failregex; Fail2ban ignores them.
A success counts only in a line that nobody but the server can have written (see `screen`).
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from sipguard.detection.expressions import compile_all
from sipguard.detection.tags import accused
from sipguard.model import Success

if TYPE_CHECKING:
    from collections.abc import Callable

    import regex

    from sipguard.model import Filter

    Search = Callable[[Callable[..., regex.Match[str] | None], str], regex.Match[str] | None]


class Aside:
    """The two keys of one filter, compiled. Raises ConfigError when a regex does not compile, or names nobody."""

    def __init__(self, filter: Filter, *, where: Callable[[Filter, str], str]) -> None:  # noqa: A002
        def lines(key: str) -> list[str]:
            return [line for line in filter.options.get(key, "").split("\n") if line.strip()]

        self._success = compile_all(
            lines("successregex"), key="successregex", where=where(filter, "successregex"), needs_id=True
        )
        self._tampered = compile_all(lines("tamperedregex"), key="tamperedregex", where=where(filter, "tamperedregex"))

    def __bool__(self) -> bool:
        return bool(self._success or self._tampered)

    def success(self, text: str, time: float | None, search: Search) -> Success | None:
        """The login that a line without its date tells of."""
        for expression in self._success:
            match = search(expression.search, text)
            if match is not None:
                groups = expression.groups_of(match)
                host, _ = accused(groups)
                if host:
                    tags = {name: value for name, value in groups.items() if value is not None}
                    return Success(host, time, groups.get("user"), tags)
        return None

    def is_tampered(self, text: str, search: Search) -> bool:
        """Whether the line is one that its server does not write by itself."""
        return any(search(expression.search, text) is not None for expression in self._tampered)
