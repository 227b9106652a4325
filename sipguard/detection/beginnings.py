"""What can be known of a regex from how a line begins, and what is left of it behind that beginning.

The lines of an attack begin alike, but for the digits of the second. So much of what is asked of each has the same answer.
"""

from __future__ import annotations

import re
from functools import lru_cache
from typing import TYPE_CHECKING, Any

from sipguard.detection.literals import parse, sre
from sipguard.detection.steps import ONE, chars

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

_DIGITS = frozenset("0123456789")
_REPEATS = frozenset({sre.MAX_REPEAT, sre.MIN_REPEAT, sre.POSSESSIVE_REPEAT})
_LOOKS = frozenset({sre.ASSERT, sre.ASSERT_NOT})
_FAR = 1 << 20
_BORDERS = frozenset({sre.AT_BOUNDARY, sre.AT_NON_BOUNDARY})


def behind(source: str, lead: str) -> str | None:
    """The regex for what follows `lead`, for the lines that begin with it; None where `source` is not `^`, `lead`, and so on.

    Where it matches at the place behind `lead` and what else stands before that place, `source` matches the line without the
    latter, with the same groups.
    """
    if not source.startswith("^"):
        return None
    rest = source[1:]
    for char in lead:
        written = re.escape(char)
        if not rest.startswith(written):
            return None
        rest = rest[len(written) :]
    try:
        whole, part = parse(source), parse(rest)
    except re.error:
        return None
    # The same items, without the first ones: `^a|b` or `^\[?` begin otherwise. `^` would not match where a search begins.
    same = str(part.data) == str(whole.data[1 + len(lead) :])
    return rest if same and part.state.flags == whole.state.flags and not _looks_back(part) else None


def _looks_back(items: Iterable[Any]) -> bool:
    """Whether any item asks what stands before the text, or can do so at its beginning."""
    width = 0
    for op, argument in items:
        if _back(op, argument) > width:
            return True
        width += _shortest(op, argument)
    return False


def _inside(op: Any, argument: Any) -> Sequence[Any]:
    """The sequences of items within an item."""
    if op in _REPEATS:
        return (argument[2],)
    if op is sre.SUBPATTERN:
        return (argument[3],)
    if op is sre.BRANCH:
        return tuple(argument[1])
    return (argument[1],) if op in _LOOKS else ()


def _back(op: Any, argument: Any) -> int:
    """How many characters before its own beginning an item can ask about, at most."""
    if op is sre.AT:
        return _FAR if argument in {sre.AT_BEGINNING, sre.AT_BEGINNING_STRING} else int(argument in _BORDERS)
    parts = _inside(op, argument)
    if not parts and op not in ONE and op is not sre.GROUPREF:
        return _FAR
    inner = max((_back(*each) for part in parts for each in part), default=0)
    return inner + int(argument[1].getwidth()[1]) if op in _LOOKS and argument[0] < 0 else inner


def _shortest(op: Any, argument: Any) -> int:
    if op in ONE:
        return 1
    if op in _REPEATS:
        return int(argument[0]) * int(argument[2].getwidth()[0])
    if op is sre.SUBPATTERN:
        return int(argument[3].getwidth()[0])
    if op is sre.BRANCH:
        return min(int(each.getwidth()[0]) for each in argument[1])
    return 0


def optional_groups(source: str) -> tuple[str, ...]:
    """The named groups that need not take part in a match."""
    tree = parse(source)
    names = {index: name for name, index in tree.state.groupdict.items()}
    sure = set(_certain_groups(tree))
    return tuple(name for index, name in names.items() if index not in sure)


def _certain_groups(items: Iterable[Any]) -> Iterable[int]:
    for op, argument in items:
        if op is sre.SUBPATTERN:
            if argument[0]:
                yield argument[0]
            yield from _certain_groups(argument[3])


@lru_cache(maxsize=256)
def is_digit_blind(source: str) -> bool:
    """Whether it makes no difference to the regex which digit of 0 to 9 stands where a digit stands."""
    return _is_blind(parse(source))


def _is_blind(items: Iterable[Any]) -> bool:
    for op, argument in items:
        parts = _inside(op, argument)
        if op in ONE:
            if chars(op, argument) & _DIGITS not in (frozenset(), _DIGITS):
                return False
        elif not (parts or op is sre.AT) or not all(map(_is_blind, parts)):
            return False
    return True


@lru_cache(maxsize=256)
def fails_for_good(source: str) -> bool:
    """Whether a regex that does not match the beginning of a text, `partial`, matches none of that beginning.

    So it is with `regex` for one that begins with `^`, or is tried at one place alone, if it asks for texts and nothing
    else: what must not follow (`(?!$)`), what stood before, and the borders of words can fail for want of more.
    """
    return _fails_for_good(parse(source))


def _fails_for_good(items: Iterable[Any]) -> bool:
    for op, argument in items:
        parts = _inside(op, argument)
        if op is sre.AT:
            known = argument not in _BORDERS
        elif op in _LOOKS:
            known = op is sre.ASSERT and argument[0] > 0
        else:
            known = op in ONE or bool(parts)
        if not known or not all(map(_fails_for_good, parts)):
            return False
    return True


@lru_cache(maxsize=256)
def is_anchored(source: str) -> bool:
    """Whether the regex matches at the beginning of a text or nowhere."""
    return _begins(list(parse(source)))


def _begins(items: Sequence[Any]) -> bool:
    if not items:
        return False
    op, argument = items[0]
    if op is sre.SUBPATTERN:
        return _begins(list(argument[3]))
    if op is sre.BRANCH:
        return all(_begins(list(each)) for each in argument[1])
    return op is sre.AT and argument in {sre.AT_BEGINNING, sre.AT_BEGINNING_STRING}
