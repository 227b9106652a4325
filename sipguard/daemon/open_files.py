"""How many files this process may have open: every log that is followed is one."""

from __future__ import annotations

import contextlib
import resource


def raise_open_files() -> None:
    """Raise the soft limit to the hard one: the usual 1,024 are for programs that use select(2), which this does not."""
    _, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    with contextlib.suppress(OSError, ValueError):  # where even that is refused, the limit stays
        resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))
