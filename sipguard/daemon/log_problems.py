"""Warns about followed logs that cannot be read: each problem once, and many logs with the same problem in one line."""

from __future__ import annotations

import logging
import time
from collections.abc import Mapping

from sipguard.sources.tail import LONGEST_LINE

log = logging.getLogger("fail2ban.filter")

NAMED = 3
"""Most logs named in one warning; the rest are counted."""
OVERSIZE_TOLD_EVERY = 60.0
"""Seconds between two warnings about overlong lines of the same log."""


class LogProblems:
    """Remembers which problems have been logged.

    A problem is logged once two looks in a row have seen it: a log that is just being rotated is missing for a moment only.
    """

    def __init__(self) -> None:
        self._seen: dict[str, str] = {}
        self._told: dict[str, str] = {}
        self._oversize: dict[str, tuple[float, int]] = {}

    def begin(self, problems: Mapping[str, str | None]) -> None:
        """Log at once what is wrong as the logs are opened. `problems`: log → what is wrong with it, or None."""
        self._told = {path: problem for path, problem in problems.items() if problem}
        self._seen = dict(self._told)
        _say(self._told)

    def look(self, problems: Mapping[str, str | None]) -> None:
        """Log problems that are new and lasting, and logs that can be read again."""
        wrong = {path: problem for path, problem in problems.items() if problem}
        lasting = {path: problem for path, problem in wrong.items() if self._seen.get(path) == problem}
        _say({path: problem for path, problem in lasting.items() if self._told.get(path) != problem})
        mended = [path for path in self._told if path not in wrong]
        for path in mended:
            del self._told[path]
        if mended:
            log.info("%s: can be read again", _named(mended))
        self._told |= lasting
        self._seen = wrong

    def oversize(self, path: str, lines: int) -> None:
        """Count overlong lines that were skipped, and warn about them once a minute at most."""
        since, untold = self._oversize.get(path, (-OVERSIZE_TOLD_EVERY, 0))
        untold += lines
        if time.monotonic() < since + OVERSIZE_TOLD_EVERY:
            self._oversize[path] = since, untold
            return
        self._oversize[path] = time.monotonic(), 0
        log.warning(
            "%s: skipped %d line%s of more than %d MB", path, untold, "" if untold == 1 else "s", LONGEST_LINE >> 20
        )


def _say(problems: Mapping[str, str]) -> None:
    by_problem: dict[str, list[str]] = {}
    for path, problem in problems.items():
        by_problem.setdefault(problem, []).append(path)
    for problem, paths in by_problem.items():
        log.warning("%s: %s", _named(paths), problem)


def _named(paths: list[str]) -> str:
    more = f" and {len(paths) - NAMED} more" if len(paths) > NAMED else ""
    return ", ".join(paths[:NAMED]) + more
