"""The parse trees of regexes, as `re` itself makes them, and what can be read from them.

The parser that `re` compiles with is the one description of a regex that cannot disagree with it.
"""

from __future__ import annotations

import re
import warnings
from functools import lru_cache
from typing import TYPE_CHECKING, Any

__all__ = [
    "ASCII",
    "DOTALL",
    "IGNORECASE",
    "LF",
    "ONE",
    "REFUSED_FLAGS",
    "REPEATS",
    "UntranslatableError",
    "characters",
    "checked",
    "first_of",
    "following",
    "inside",
    "is_anchored",
    "parse",
    "sre",
    "tree_of",
    "width",
    "width_of",
]

from re import _constants as sre  # type: ignore[attr-defined]  # isort: skip
from re import _parser as parser  # type: ignore[attr-defined]  # isort: skip

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Sequence

LF = 10
ASCII = frozenset(range(128))
REPEATS = {sre.MAX_REPEAT: "", sre.MIN_REPEAT: "?", sre.POSSESSIVE_REPEAT: "+"}
ONE = frozenset({sre.LITERAL, sre.NOT_LITERAL, sre.ANY, sre.IN})
"""Items that match one character."""
_SPACES = frozenset(c for c in ASCII if chr(c).isspace())
_DIGITS = frozenset(range(ord("0"), ord("9") + 1))
_WORD = frozenset(c for c in ASCII if chr(c).isalnum() or c == ord("_"))
_CATEGORIES = {
    sre.CATEGORY_DIGIT: _DIGITS,
    sre.CATEGORY_NOT_DIGIT: ASCII - _DIGITS,
    sre.CATEGORY_SPACE: _SPACES,
    sre.CATEGORY_NOT_SPACE: ASCII - _SPACES,
    sre.CATEGORY_WORD: _WORD,
    sre.CATEGORY_NOT_WORD: ASCII - _WORD,
}
# As plain numbers: a RegexFlag takes a microsecond for each `&`.
REFUSED_FLAGS = int(re.MULTILINE | re.LOCALE)
DOTALL, IGNORECASE = int(re.DOTALL), int(re.IGNORECASE)
_Items = tuple[Any, ...]


class UntranslatableError(Exception):
    """No equivalent of this regex can be written for the other library."""


@lru_cache(maxsize=512)
def parse(source: str) -> Any:
    """The parse tree of a regex that `re` can compile; nobody changes it."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # "possible nested set": about a future Python, nothing for the operator
        return parser.parse(source)


_LOOKS_BEHIND = re.compile(r"\(\?<[=!](?!\w*[:;, ]?\))")
"""A look-behind for more than a few plain characters."""


def checked(source: str) -> Any:
    """The parse tree of `source`. Raises ValueError with the message of `re` if `re` would refuse to compile it.

    Compiling takes twice as long, and refuses nothing more than what looks behind by no fixed length.
    """
    try:
        tree = parse(source)
        if _LOOKS_BEHIND.search(source):
            _check_behind(tree.data)
    except (re.error, OverflowError, RecursionError) as error:
        raise ValueError(str(error)) from None
    return tree


def _check_behind(items: Iterable[Any]) -> None:
    for op, argument in items:
        if op in (sre.ASSERT, sre.ASSERT_NOT) and argument[0] < 0:
            low, high = argument[1].getwidth()
            if low != high:
                raise re.error("look-behind requires fixed-width pattern")
        for part in inside(op, argument):
            _check_behind(part.data)


def tree_of(items: Sequence[Any], like: Any) -> Any:
    """These items as a tree of their own, with the flags and groups of `like`."""
    return parser.SubPattern(like.state, list(items))


def width(items: Iterable[Any], like: Any) -> tuple[int, int]:
    """The fewest and the most characters that these items can match."""
    low = high = 0
    for op, argument in items:
        least, most = width_of(op, argument, like)
        low, high = low + least, high + most
    return low, min(high, int(sre.MAXREPEAT))


def width_of(op: Any, argument: Any, like: Any) -> tuple[int, int]:
    """The same of one item."""
    if op in ONE:
        return 1, 1
    if op is sre.AT or op in (sre.ASSERT, sre.ASSERT_NOT):
        return 0, 0
    if op is sre.SUBPATTERN:
        low, high = argument[3].getwidth()
    elif op is sre.BRANCH:
        each = [way.getwidth() for way in argument[1]]
        low, high = min(low for low, _ in each), max(high for _, high in each)
    elif op in REPEATS:
        low, high = argument[2].getwidth()
        low, high = low * argument[0], high * argument[1]
    else:
        low, high = tree_of([(op, argument)], like).getwidth()
    return int(low), min(int(high), int(sre.MAXREPEAT))


def characters(op: Any, argument: Any, flags: int) -> frozenset[int]:
    """The ASCII characters that an item of one character matches."""
    if op is sre.ANY:
        return ASCII if flags & DOTALL else ASCII - {LF}
    members = ((sre.LITERAL, argument),) if op in (sre.LITERAL, sre.NOT_LITERAL) else tuple(argument)
    found = _members(members, bool(flags & IGNORECASE))
    return ASCII - found if op is sre.NOT_LITERAL else found


@lru_cache(maxsize=2048)
def _members(members: tuple[Any, ...], any_case: bool) -> frozenset[int]:
    found: set[int] = set()
    for kind, value in members:
        if kind is sre.CATEGORY:
            found |= _CATEGORIES[value]
            continue
        if kind is sre.NEGATE:
            continue
        low, high = value if kind is sre.RANGE else (value, value)
        found.update(range(low, min(high, 127) + 1))
        if high > 127 and any_case:
            raise UntranslatableError("folding beyond ASCII")  # the Kelvin sign is a k
    if any_case:
        found |= {ord(form) for c in found for form in (chr(c).lower(), chr(c).upper())}
    return ASCII - found if members and members[0][0] is sre.NEGATE else frozenset(found)


def inside(op: Any, argument: Any) -> Sequence[Any]:
    """The sequences of items within an item."""
    if op in REPEATS:
        return (argument[2],)
    if op is sre.SUBPATTERN:
        return (argument[3],)
    if op is sre.BRANCH:
        return tuple(argument[1])
    if op is sre.ATOMIC_GROUP:
        return (argument,)
    if op is sre.GROUPREF_EXISTS:
        return tuple(part for part in argument[1:] if part)
    return (argument[1],) if op in (sre.ASSERT, sre.ASSERT_NOT) else ()


def is_anchored(tree: Any) -> bool:
    """Whether a regex matches where a text begins, or nowhere."""
    items = tree.data
    return bool(items) and items[0][0] is sre.AT and items[0][1] in (sre.AT_BEGINNING, sre.AT_BEGINNING_STRING)


class _UnknownError(Exception):
    """It cannot be determined which characters may follow."""


def following(items: _Items, flags: int) -> list[tuple[frozenset[int] | None, _Items]] | None:
    """The ASCII characters that these items may take next, each with what is left behind; None for them at their end.

    Conditions that take no character are passed over, as if they held. None if it cannot be told.
    """
    try:
        return list(_next(items, flags))
    except (_UnknownError, UntranslatableError):
        return None


def first_of(items: _Items, flags: int) -> frozenset[int] | None:
    """The ASCII characters that these items may take first; None if they may take none, or that cannot be told."""
    found: set[int] = set()
    for chars, _ in following(items, flags) or [(None, ())]:
        if chars is None:
            return None
        found |= chars
    return frozenset(found)


def _next(items: _Items, flags: int) -> Iterator[tuple[frozenset[int] | None, _Items]]:
    if not items:
        yield None, ()
        return
    (op, argument), rest = items[0], items[1:]
    if op in ONE:
        yield characters(op, argument, flags), rest
    elif op in (sre.AT, sre.ASSERT, sre.ASSERT_NOT):
        yield from _next(rest, flags)
    elif op is sre.SUBPATTERN:
        _, added, _, body = argument
        if int(added) & ~flags:
            raise _UnknownError
        yield from _next((*body.data, *rest), flags)
    elif op is sre.BRANCH:
        for way in argument[1]:
            yield from _next((*way.data, *rest), flags)
    elif op in REPEATS:
        yield from _next_of_repeat(op, argument, rest, flags)
    else:
        raise _UnknownError


def _next_of_repeat(op: Any, argument: Any, rest: _Items, flags: int) -> Iterator[tuple[frozenset[int] | None, _Items]]:
    low, high, body = argument
    if high != 1 and body.getwidth()[0] == 0:
        raise _UnknownError
    if high:
        left = high if high is sre.MAXREPEAT else high - 1
        again = [(op, (max(low - 1, 0), left, body))] if left else []
        yield from _next((*body.data, *again, *rest), flags)
    if not low:
        yield from _next(rest, flags)
