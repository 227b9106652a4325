"""Warns about followed logs that cannot be read, and about overlong lines in them.

Each problem is logged once, and logs with the same problem share one line.
"""

from __future__ import annotations

import logging
import time
from collections.abc import Mapping

from sipguard.sources.tail import LONGEST_LINE

log = logging.getLogger("fail2ban.filter")

MAX_NAMED = 3
"""One warning names at most this many logs and counts the others."""
OVERSIZE_INTERVAL = 60.0
"""Least time between two warnings about overlong lines of the same log, in seconds."""


class LogProblems:
    """Remembers which problems have been logged.

    `look` logs a problem only when it finds it for the second time in a row: a log that is being rotated is missing for a moment.
    """

    def __init__(self) -> None:
        self._seen: dict[str, str] = {}
        self._logged: dict[str, str] = {}
        self._oversize: dict[str, tuple[float, int]] = {}

    def begin(self, problems: Mapping[str, str | None]) -> None:
        """Log every problem at once: the logs have just been opened. `problems`: log → what is wrong with it, or None."""
        self._logged = {path: problem for path, problem in problems.items() if problem}
        self._seen = dict(self._logged)
        _warn(self._logged)

    def look(self, problems: Mapping[str, str | None]) -> None:
        """Log new problems that last, and name the logs that can be read again."""
        wrong = {path: problem for path, problem in problems.items() if problem}
        lasting = {path: problem for path, problem in wrong.items() if self._seen.get(path) == problem}
        _warn({path: problem for path, problem in lasting.items() if self._logged.get(path) != problem})
        readable = [path for path in self._logged if path not in wrong]
        for path in readable:
            del self._logged[path]
        if readable:
            log.info("%s: can be read again", _named(readable))
        self._logged |= lasting
        self._seen = wrong

    def oversize(self, path: str, lines: int) -> None:
        """Count overlong lines that were skipped; warn about them at most once a minute per log."""
        since, skipped = self._oversize.get(path, (-OVERSIZE_INTERVAL, 0))
        skipped += lines
        if time.monotonic() < since + OVERSIZE_INTERVAL:
            self._oversize[path] = since, skipped
            return
        self._oversize[path] = time.monotonic(), 0
        log.warning(
            "%s: skipped %d line%s of more than %d MB", path, skipped, "" if skipped == 1 else "s", LONGEST_LINE >> 20
        )


def _warn(problems: Mapping[str, str]) -> None:
    by_problem: dict[str, list[str]] = {}
    for path, problem in problems.items():
        by_problem.setdefault(problem, []).append(path)
    for problem, paths in by_problem.items():
        log.warning("%s: %s", _named(paths), problem)


def _named(paths: list[str]) -> str:
    more = f" and {len(paths) - MAX_NAMED} more" if len(paths) > MAX_NAMED else ""
    return ", ".join(paths[:MAX_NAMED]) + more
