"""Which dates cannot stand where another does: read from the parse trees of their patterns, one character after another.

Of the usual date patterns all but one are ruled out by the first few characters of a line: for them nothing need be searched,
and no pattern has to ask. Whatever is not plain may match.
"""

from __future__ import annotations

from functools import lru_cache
from typing import TYPE_CHECKING, Any

from sipguard.detection.trees import following, parse, sre

if TYPE_CHECKING:
    from collections.abc import Sequence

_LONGEST = 16
"""Characters that are looked at."""
_MOST = 64
"""Ways to go on that are followed at once."""
_Items = tuple[Any, ...]


def may_begin(source: str, beginning: Sequence[frozenset[int]]) -> bool:
    """Whether a regex may match at the beginning of a line, of whose first characters each is one of those given."""
    tree = parse(source)
    ways: list[_Items] = [tuple(tree.data)]
    for wanted in beginning:
        heads = _heads(ways, int(tree.state.flags))
        if heads is None or any(chars is None for chars, _ in heads):
            return True  # not to be told, or it has matched already
        ways = [rest for chars, rest in heads if chars and chars & wanted]
        if not ways:
            return False
    return True


def beginning_of(line: str) -> Sequence[frozenset[int]]:
    """The first characters of a line, for `may_begin`; none if they are not ASCII."""
    head = line[:_LONGEST]
    return [frozenset({ord(c)}) for c in head] if head.isascii() else ()


@lru_cache(maxsize=64)
def beginnings(source: str, group: int, lead: str) -> Sequence[frozenset[int]]:
    """The first characters of a line that begins with `lead`, which is ASCII, where this group of a regex matches behind it."""
    tree = parse(source)
    found = [frozenset({ord(c)}) for c in lead]
    ways: list[_Items] = [(item,) for item in tree.data if item[0] is sre.SUBPATTERN and item[1][0] == group]
    while ways and len(found) < _LONGEST:
        heads = _heads(ways, int(tree.state.flags))
        if heads is None:
            break
        each = [chars for chars, _ in heads if chars is not None]
        if len(each) < len(heads):
            break
        found.append(frozenset().union(*each))
        ways = [rest for _, rest in heads]
    return found


def _heads(ways: Sequence[_Items], flags: int) -> list[tuple[frozenset[int] | None, _Items]] | None:
    """As `following`, of several; None also where they are too many."""
    heads: list[tuple[frozenset[int] | None, _Items]] = []
    for items in ways:
        found = following(items, flags)
        if found is None or len(heads) + len(found) > _MOST:
            return None
        heads += found
    return heads
