"""Searches of `regex` within a limit of time, by its own clock: the processor time of all threads together.

That runs on where a machine was halted, or another thread was busy while the search waited for the processor: a search of a
microsecond may seem to have used it up. So one that has is tried once more, before its line is given up as too slow.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, TypeVar

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable

SEARCH_LIMIT = 0.2
"""Seconds for one try."""

_Found = TypeVar("_Found")


def timed(search: Callable[..., _Found], *arguments: object, limit: float = SEARCH_LIMIT) -> _Found:
    """What `search`, a method of a pattern, finds. Raises TimeoutError when each of two tries takes `limit` seconds."""
    try:
        return search(*arguments, timeout=limit)
    except TimeoutError:
        return search(*arguments, timeout=limit)


def timed_list(search: Callable[..., Iterable[_Found]], *arguments: object) -> list[_Found]:
    """The same for a search that finds one after another."""
    return timed(lambda timeout: list(search(*arguments, timeout=timeout)))
