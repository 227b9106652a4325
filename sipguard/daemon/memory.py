"""How memory is kept by a daemon that runs for years, and whose bursts are rare: free memory, and the search for garbage."""

from __future__ import annotations

import ctypes
import gc

LARGE = 1 << 20
"""Bytes from which a block is taken from the kernel by itself, and given back at once: the kernel's list of all bans, in text."""
_TRIM_THRESHOLD, _MMAP_THRESHOLD, _ARENA_MAX = -1, -3, -8
"""Of mallopt(3), glibc's malloc.h."""


def frugal() -> None:
    """To be called before any thread starts. Does nothing where the C library is not glibc.

    By itself glibc keeps an arena for each thread, and raises the limit for large blocks up to 32 MB with each one that
    is freed: a list of 100,000 bans, read once a minute, then costs 30 MB for good.
    """
    mallopt = getattr(ctypes.CDLL(None), "mallopt", None)
    if mallopt is not None:
        mallopt(_ARENA_MAX, 1)
        mallopt(_MMAP_THRESHOLD, LARGE)
        mallopt(_TRIM_THRESHOLD, 2 * LARGE)


def set_apart() -> None:
    """Free all garbage, then take whatever lives out of what the collector looks through.

    A look through everything stops the daemon for 30 to 100 ms, and comes when it pleases: also in the middle of an attack.
    What becomes garbage later and refers to itself stays until the next call.
    """
    gc.unfreeze()
    gc.collect()
    gc.freeze()
