"""How many steps a regex can take at most, so that short lines may be searched without a time limit.

A search of the `regex` package with a time limit costs 1.5 µs more than one without, and `re` is twice as fast again: for
a line of 200 characters the limit is most of the cost. So each regex is measured when it is compiled: the steps that
backtracking can take over a text of n characters, for the worst text that there is. Where those are few, `re` searches
without a limit; longer texts, and regexes with nested repeats, get the limit.

The bound multiplies, item by item, in how many ways each can match: `.*` in n ways, `[^"]*"` in one, since what ends it
is not in it. It is no estimate of the usual cost, which is far lower.
"""

from __future__ import annotations

import math
import re
from bisect import bisect_left
from functools import lru_cache
from typing import TYPE_CHECKING, Any

from sipguard.detection.literals import parse, sre

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Sequence

MOST = 3e7
"""Steps that a search without a limit may take: some 180 ms, less than the limit that others get."""

_LENGTHS = (150, 200, 250, 300, 350, 400, 425, 450, 500, 600, 800, 1000, 2000, 4000, 16_000, 64_000)
_REPEATS = frozenset({sre.MAX_REPEAT, sre.MIN_REPEAT})
_BEGINNINGS = ((sre.AT, sre.AT_BEGINNING), (sre.AT, sre.AT_BEGINNING_STRING))
ONE = frozenset({sre.LITERAL, sre.NOT_LITERAL, sre.ANY, sre.IN})
"""Items that match one character."""
_FAR = 1 << 20
_ADDRESS = frozenset("0123456789abcdefABCDEF:.")

Chars = frozenset[str]
_ASCII: Chars = frozenset(map(chr, range(128)))
_OTHER = "\x80"
"""Stands for every character that is not ASCII."""
_EVERY = _ASCII | {_OTHER}


def safe_length(source: str, *, multiline: bool = False) -> int:
    """The longest text, in characters, that `re` searches in at most `MOST` steps; 0 if none is known."""
    tree = parse(source)
    if tree.state.flags & re.IGNORECASE:
        return 0
    bound = _Bound({index: name for name, index in tree.state.groupdict.items()})
    anchored = not multiline and bool(tree.data) and tree.data[0] in _BEGINNINGS

    def unsafe(length: int) -> bool:
        ways, cost = bound.sequence(list(tree), _EVERY, length)
        return (ways + cost) * (1 if anchored else length) + length > MOST

    safe = bisect_left(_LENGTHS, True, key=unsafe)
    return _LENGTHS[safe - 1] if safe else 0


@lru_cache(maxsize=256)
def looks_ahead(source: str) -> int:
    """How many characters behind its match a regex can ask about, at most; a large number where there is no bound."""

    def most(items: Iterable[Any]) -> int:
        found = 0
        for op, argument in items:
            if op in {sre.ASSERT, sre.ASSERT_NOT}:
                found = max(found, int(argument[1].getwidth()[1]) + most(argument[1]))
            elif op is sre.SUBPATTERN:
                found = max(found, most(argument[3]))
            elif op in _REPEATS:
                found = max(found, most(argument[2]))
            elif op is sre.BRANCH:
                found = max(found, *map(most, argument[1]))
            elif op is sre.AT:
                # `$` asks whether a line feed follows, and nothing behind it.
                found = max(found, 0 if (op, argument) in _BEGINNINGS else 2 if argument is sre.AT_END else 1)
            elif op not in ONE and op is not sre.GROUPREF:
                return _FAR
        return found

    return most(parse(source))


@lru_cache(maxsize=256)
def width_behind(source: str, group: str) -> int | None:
    """How many characters a regex matches behind a named group; None where that is not one number."""
    tree = parse(source)
    index = tree.state.groupdict.get(group)

    def behind(items: Sequence[Any]) -> tuple[int, int] | None:
        for place, (op, argument) in enumerate(items):
            inner = (0, 0) if op is sre.SUBPATTERN and argument[0] == index else None
            if inner is None and op is sre.SUBPATTERN:
                inner = behind(argument[3])
            if inner is not None:
                low, high = items[place + 1 :].getwidth()  # type: ignore[attr-defined]
                return inner[0] + low, inner[1] + high
        return None

    found = behind(tree) if index is not None else None
    return found[0] if found is not None and found[0] == found[1] else None


class _Bound:
    """In how many ways an item matches at one place, and how many steps that takes, for texts of n characters."""

    def __init__(self, names: dict[int, str]) -> None:
        self._names = names

    def sequence(self, items: Sequence[Any], after: Chars, n: int) -> tuple[float, float]:
        """`after` is what may follow the sequence."""
        plain, cost, fixed = 1.0, 0.0, 0
        periods: list[int] = []
        items = list(self._flat(items))
        for index, (op, argument) in enumerate(items):
            rest = items[index + 1 :]
            room = max(n - fixed, 0)
            ways = plain * _stops(periods, room)
            its_ways, its_cost = self._item(op, argument, _first(rest, after), room)
            cost += ways * its_cost
            fixed += _shortest([(op, argument)])
            if op in _REPEATS and (run := _run(rest)) and its_ways > room / _period(run) + 1:
                # What follows can begin only where this text stands, and so often it cannot.
                periods.append(_period(run))
                cost += ways * room / 8
            else:
                plain *= its_ways
        return plain * _stops(periods, max(n - fixed, 0)), cost

    def _flat(self, items: Iterable[Any]) -> Iterator[tuple[Any, Any]]:
        """The items with the contents of groups in their place, as far as they are plain."""
        for op, argument in items:
            if op is sre.SUBPATTERN and not argument[1] and self._names.get(argument[0] or 0) != "ip6":
                yield from self._flat(argument[3])
            else:
                yield op, argument

    def _item(self, op: Any, argument: Any, follow: Chars, n: int) -> tuple[float, float]:
        ways, cost = math.inf, math.inf  # of what is not known
        if op in ONE or op is sre.AT:
            ways, cost = 1.0, 1.0
        elif op in _REPEATS:
            ways, cost = self._repeat(argument, follow, n)
        elif op is sre.SUBPATTERN and not argument[1]:
            if self._names.get(argument[0] or 0) == "ip6":
                # Its repeats look ambiguous one by one, but `:` and hexadecimal digits hardly are.
                ways, cost = (64.0 if follow & _ADDRESS else 4.0), 300.0
            else:
                ways, cost = self.sequence(list(argument[3]), follow, n)
        elif op is sre.BRANCH:
            branches = [list(branch) for branch in argument[1]]
            each = [self.sequence(branch, follow, n) for branch in branches]
            together = max if _are_apart(_first(branch, follow) for branch in branches) else sum
            ways, cost = together([ways for ways, _ in each]), sum(cost for _, cost in each) + len(each)
        elif op in {sre.ASSERT, sre.ASSERT_NOT}:
            ways, cost = 1.0, sum(self.sequence(list(argument[1]), _EVERY, n))
        elif op is sre.GROUPREF:
            ways, cost = 1.0, float(n)
        return ways, cost

    def _repeat(self, argument: Any, follow: Chars, n: int) -> tuple[float, float]:
        low, high, inner = argument
        items = list(inner)
        most = n if high is sre.MAXREPEAT else min(int(high), n)
        if len(items) == 1 and items[0][0] in ONE:
            return (1.0 if not chars(*items[0]) & follow else most - low + 1.0), most / 8 + 1.0
        first = _first(items, frozenset())
        ways, cost = self.sequence(items, first | follow, n)
        apart = not first & follow and bool(_shortest(items))
        if most == 1:
            return ways + (0.0 if low == 1 or apart else 1.0), cost + 1
        if not _shortest(items):
            return math.inf, math.inf
        if ways == 1:
            # The rounds share the n characters: one may be as dear as all of them, the others cost what is shortest.
            least = self.sequence(items, first | follow, _shortest(items))[1]
            return (1.0 if apart else most + 1.0), 2 * cost + (least + 1) * most
        if most > 16:
            return math.inf, math.inf
        total = sum(ways**count for count in range(int(low), most + 1))
        return total, (cost + 1) * total


def _stops(periods: Sequence[int], room: int) -> float:
    """In how many ways repeats can end that each need a text behind them, if all those texts share `room` characters.

    Texts that stand at most every `period` characters: the product is greatest where each has an equal part of the room.
    """
    part = (room + sum(periods)) / max(len(periods), 1)
    return math.prod(max(part / period, 1.0) for period in periods)


def _are_apart(alphabets: Iterable[Chars]) -> bool:
    seen: set[str] = set()
    for chars in alphabets:
        if seen & chars:
            return False
        seen |= chars
    return True


def _run(items: Sequence[Any]) -> str:
    """The plain text that the items begin with."""
    text = ""
    for op, argument in items:
        if op is not sre.LITERAL:
            break
        text += chr(argument)
    return text


def _period(run: str) -> int:
    """How far apart two occurrences of `run` are at least."""
    return next(size for size in range(1, len(run) + 1) if run.startswith(run[size:]))


def _first(items: Iterable[Any], after: Chars) -> Chars:
    """The characters that a match of the items, or what follows them, may begin with."""
    found: Chars = frozenset()
    for item in items:
        begin, may_be_empty = _first_of(*item)
        found |= begin
        if not may_be_empty:
            return found
    return found | after


def _first_of(op: Any, argument: Any) -> tuple[Chars, bool]:  # noqa: PLR0911 - one per kind of item
    """The same of one item, and whether what follows it may come first."""
    if op in ONE:
        return chars(op, argument), False
    if op is sre.AT:
        at_end = argument in {sre.AT_END, sre.AT_END_STRING, sre.AT_END_LINE}
        return frozenset("\n" if at_end else ""), not at_end
    if op in {sre.ASSERT, sre.ASSERT_NOT}:
        return frozenset(), True
    if op in _REPEATS:
        return _first(argument[2], frozenset()), not (argument[0] and _shortest(argument[2]))
    if op is sre.SUBPATTERN:
        return _first(argument[3], frozenset()), not _shortest(argument[3])
    if op is sre.BRANCH:
        begins = [_first(branch, frozenset()) for branch in argument[1]]
        return frozenset().union(*begins), not all(map(_shortest, argument[1]))
    return _EVERY, False


def _shortest(items: Iterable[Any]) -> int:
    """The fewest characters that the items match."""
    total = 0
    for op, argument in items:
        if op in ONE:
            total += 1
        elif op in _REPEATS:
            total += int(argument[0]) * _shortest(argument[2])
        elif op is sre.SUBPATTERN:
            total += _shortest(argument[3])
        elif op is sre.BRANCH:
            total += min(map(_shortest, argument[1]))
    return total


def chars(op: Any, argument: Any) -> Chars:
    """The characters that an item of one character matches; those that are not ASCII count as one."""
    if op is sre.LITERAL:
        return frozenset(chr(argument) if argument < 128 else _OTHER)
    if op is sre.NOT_LITERAL:
        return _EVERY - frozenset(chr(argument))
    if op is sre.ANY:
        return _EVERY - {"\n"}
    return _class(tuple(argument))


@lru_cache(maxsize=64)
def _class(members: tuple[Any, ...]) -> Chars:
    found: set[str] = set()
    negated = False
    for kind, value in members:
        if kind is sre.NEGATE:
            negated = True
        elif kind is sre.LITERAL:
            found.add(chr(value) if value < 128 else _OTHER)
        elif kind is sre.RANGE:
            found |= {chr(code) if code < 128 else _OTHER for code in range(value[0], min(value[1], 128) + 1)}
        else:
            found |= {c for c in _ASCII if _CATEGORIES[value].match(c)} | {_OTHER}
    # Of the characters beyond ASCII some are in a class and some are not: they count as in it either way.
    return frozenset(_ASCII - found | {_OTHER}) if negated else frozenset(found)


_CATEGORIES = {
    sre.CATEGORY_DIGIT: re.compile(r"\d"),
    sre.CATEGORY_NOT_DIGIT: re.compile(r"\D"),
    sre.CATEGORY_SPACE: re.compile(r"\s"),
    sre.CATEGORY_NOT_SPACE: re.compile(r"\S"),
    sre.CATEGORY_WORD: re.compile(r"\w"),
    sre.CATEGORY_NOT_WORD: re.compile(r"\W"),
}
