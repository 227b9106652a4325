r"""Writes a Python regex for libpcre2-8, byte for byte with the same meaning within one line of log.

It starts from the parse tree of `re` itself (`trees`), so nothing is left to what two languages mean by the same sign: classes
are written out as characters, case folding as both cases, names as numbers. What it writes is for lines of ASCII; of a line
with any other byte it says nothing.

What a failregex matches is the text of the line without its date and with its LF; here no item can take an LF, so that no
match reaches over its line. Date patterns and the keys of records see the line as it is, without LF (`at_line`).
A regex that could take the last one, or ask what stands before its text, or do anything else that is not the same,
raises `UntranslatableError`: that regex goes to the exact matcher.
"""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from functools import lru_cache
from typing import TYPE_CHECKING, Any

from sipguard.detection.trees import (
    ASCII,
    DOTALL,
    IGNORECASE,
    LF,
    ONE,
    REFUSED_FLAGS,
    REPEATS,
    UntranslatableError,
    characters,
    first_of,
    inside,
    sre,
    width,
    width_of,
)

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

_MOST = 65_535
"""Repeats that PCRE2 can count."""
_FEW = 6
"""Characters that are worth to be stopped at one by one."""

_SIGNS = tuple(chr(c) if c < 128 and (chr(c).isalnum() or c == 32) else rf"\x{c:02x}" for c in range(256))
"""How each byte is written."""


@dataclass(slots=True)
class _Place:
    """Where in a regex an item stands."""

    flags: int
    behind: int
    """The fewest characters that must follow for a match to be one."""
    before: int
    """The fewest characters of the text that stand before."""
    most_before: int
    told: bool = True
    """Which of several matches it is makes a difference, not only whether there is one."""
    ahead: bool = False
    """At the end of what a lookahead asks for: it may ask whether the LF stands here."""


@dataclass(slots=True)
class Writer:
    """Writes several regexes into one pattern, whose groups it counts."""

    groups: int = 0
    """Groups written so far."""
    at_line: bool = False
    """Whether a text is a whole line, without its LF; else what stands before it is not its own, and an LF ends it."""
    anchored: bool = True
    """Whether texts begin where the regex does."""
    numbers: dict[int, int] = field(default_factory=dict)
    """Of the regex at hand: its group → the one of the pattern."""
    mark: int = 0
    _marked: tuple[int, str] | None = None
    _kept: frozenset[int] = frozenset()

    def regex(
        self,
        tree: Any,
        keep: Iterable[int],
        *,
        anchored: bool = True,
        at_line: bool = False,
        marked: tuple[int, str] | None = None,
        told: bool = True,
    ) -> str:
        """All of one regex; `numbers` are those of its groups that are to be kept. Raises UntranslatableError.

        `marked` is one of its groups and a text: the group `mark` takes part if just that text stands before it in the line.
        Unless it is `told` where it matches, it is only asked whether.
        """
        self.numbers = {}
        self._marked = marked
        self.anchored, self.at_line = anchored, at_line
        self._kept = frozenset(keep) | _referenced(tree.data)
        flags = int(tree.state.flags)
        if flags & REFUSED_FLAGS:
            raise UntranslatableError("flags")
        if not anchored and not at_line and not width(tree, tree)[0]:
            raise UntranslatableError("it may match nothing, behind the end of the line")
        return self._sequence(tree.data, tree, _Place(flags, 0, 0, 0, told))

    def group(self) -> int:
        """Count a group that the caller writes."""
        self.groups += 1
        return self.groups

    def _sequence(self, items: Sequence[Any], like: Any, place: _Place) -> str:
        widths = [(1, 1) if op in ONE else width_of(op, argument, like) for op, argument in items]
        written, before, most = [], place.before, place.most_before
        behind = place.behind + sum(low for low, _ in widths)
        any_case, end = place.flags & IGNORECASE, len(items) - 1
        for index, (op, argument) in enumerate(items):
            low, high = widths[index]
            behind -= low
            if op is sre.LITERAL and argument < 128 and argument != LF and not any_case:
                written.append(_SIGNS[argument])
            elif op in _STARS and index < end and (skip := _skip(op, argument, items[index + 1 :], place)):
                written.append(skip)
            else:
                here = _Place(place.flags, behind, before, most, place.told, place.ahead and index == end)
                written.append(self._item(op, argument, like, here))
            before, most = before + low, most + high
        return "".join(written)

    def _item(self, op: Any, argument: Any, like: Any, place: _Place) -> str:  # noqa: PLR0911 - one for each kind
        if op in ONE:
            return self._character(op, argument, place)
        if op in REPEATS:
            return self._repeat(op, argument, like, place)
        if op is sre.SUBPATTERN:
            return self._subpattern(argument, like, place)
        if op is sre.BRANCH:
            return "(?:" + "|".join(self._sequence(each.data, like, place) for each in argument[1]) + ")"
        if op is sre.AT:
            return self._at(argument, place)
        if op in (sre.ASSERT, sre.ASSERT_NOT):
            return self._look(op, argument, like, place)
        if op is sre.ATOMIC_GROUP:
            return f"(?>{self._sequence(argument.data, like, replace(place, told=True))})"
        if op is sre.GROUPREF:
            return self._reference(argument, place)
        if op is sre.GROUPREF_EXISTS:
            group, yes, no = argument
            either = "|".join(self._sequence(each.data if each else (), like, place) for each in (yes, no))
            return f"(?({self._number(group)}){either})"
        raise UntranslatableError(str(op))

    def _character(self, op: Any, argument: Any, place: _Place) -> str:
        found = characters(op, argument, place.flags)
        if LF in found and not place.behind and not self.at_line:
            if place.ahead:
                return _class(found)
            raise UntranslatableError("it may take the end of the line")
        return _class(found - {LF})

    def _repeat(self, op: Any, argument: Any, like: Any, place: _Place) -> str:
        low, high, body = argument
        if low > _MOST or (high is not sre.MAXREPEAT and high > _MOST):
            raise UntranslatableError("a repeat too long")
        items = body.data
        single = len(items) == 1 and items[0][0] in ONE
        if not single and high != 1 and width(items, like)[0] == 0:
            raise UntranslatableError("a repeat of nothing")
        most_before = sre.MAXREPEAT if high != 1 else place.most_before
        told = place.told or op is sre.POSSESSIVE_REPEAT
        inner = _Place(place.flags, place.behind, place.before, most_before, told)
        text = self._sequence(items, like, inner)
        most = "" if high is sre.MAXREPEAT else str(high)
        counted = {(0, ""): "*", (1, ""): "+", (0, "1"): "?"}.get((low, most), f"{{{low},{most}}}")
        return (text if (single and text[0] in "[\\.") or len(text) == 1 else f"(?:{text})") + counted + REPEATS[op]

    def _subpattern(self, argument: Any, like: Any, place: _Place) -> str:
        group, added, removed, body = argument
        flags = (place.flags | int(added)) & ~int(removed)
        if flags & REFUSED_FLAGS:
            raise UntranslatableError("flags")
        inner = _Place(flags, place.behind, place.before, place.most_before, place.told, place.ahead)
        if group not in self._kept:
            return f"(?:{self._sequence(body.data, like, inner)})"
        if group in self.numbers:
            raise UntranslatableError("a group twice")
        mark = ""
        if self._marked is not None and self._marked[0] == group:
            self.mark = self.group()
            mark = rf"(?:(?<=^{escaped(self._marked[1].encode('ascii'))})()|)"
        self.numbers[group] = self.group()
        return f"{mark}({self._sequence(body.data, like, inner)})"

    def _at(self, kind: Any, place: _Place) -> str:
        if kind in (sre.AT_BEGINNING, sre.AT_BEGINNING_STRING):
            if self.at_line or place.before:
                return "^" if self.at_line else "(?!)"
            if self.anchored and not place.most_before:
                return ""
        elif kind is sre.AT_END:
            return "$"
        elif kind is sre.AT_END_STRING:
            return "$" if self.at_line else "(?!)"  # only behind the LF, which nothing takes
        elif kind is sre.AT_BOUNDARY and (self.at_line or place.before):
            return r"\b"
        elif kind is sre.AT_NON_BOUNDARY and place.before:  # in an empty text `re` finds none
            return r"\B"
        raise UntranslatableError(str(kind))

    def _look(self, op: Any, argument: Any, like: Any, place: _Place) -> str:
        direction, body = argument
        items = body.data
        sign = "=" if op is sre.ASSERT else "!"
        if direction > 0:
            told = sign == "=" and _groups(items)
            inner = _Place(place.flags, 0, place.before, place.most_before, told, ahead=True)
            return f"(?{sign}{self._sequence(items, like, inner)})"
        if width(items, like)[1] > place.before and not self.at_line:
            raise UntranslatableError("it looks behind its beginning")
        return f"(?<{sign}{self._sequence(items, like, _Place(place.flags, 1, 0, sre.MAXREPEAT))})"

    def _reference(self, group: int, place: _Place) -> str:
        number = self._number(group)
        return rf"(?i:\g{{{number}}})" if place.flags & IGNORECASE else rf"\g{{{number}}}"

    def _number(self, group: int) -> int:
        if group not in self.numbers:
            raise UntranslatableError("a reference ahead")
        return self.numbers[group]


def _groups(items: Iterable[Any]) -> bool:
    """Whether there are groups among these items, or things that ask for some."""
    return any(
        (op is sre.SUBPATTERN and argument[0] is not None)
        or op in (sre.GROUPREF, sre.GROUPREF_EXISTS)
        or any(_groups(part.data) for part in inside(op, argument))
        for op, argument in items
    )


def _referenced(items: Iterable[Any]) -> frozenset[int]:
    """The groups that other items refer to."""
    found: set[int] = set()
    for op, argument in items:
        if op is sre.GROUPREF:
            found.add(argument)
        elif op is sre.GROUPREF_EXISTS:
            found.add(argument[0])
        for part in inside(op, argument):
            found |= _referenced(part.data)
    return frozenset(found)


_STARS = frozenset({sre.MAX_REPEAT, sre.MIN_REPEAT})


def _skip(op: Any, argument: Any, following: Sequence[Any], place: _Place) -> str:
    """`.*` that tries what follows only where that may begin, in the same order; empty if it is as well as it is."""
    low, high, body = argument
    if low or high is not sre.MAXREPEAT or [kind for kind, _ in body.data] != [sre.ANY] or place.flags & DOTALL:
        return ""
    firsts = first_of(tuple(following), place.flags)
    if firsts is None or len(firsts) > _FEW or (len(firsts) == 1 and op is sre.MAX_REPEAT and place.told):
        return ""
    rest = f"[^{_ranges(firsts | {LF})}]*+"
    return f"{rest}(?:{_class(firsts - {LF})}{rest})*{REPEATS[op] if place.told else '?'}"


@lru_cache(maxsize=2048)
def _class(found: frozenset[int]) -> str:
    """A class of these characters. Where a negated one is shorter, bytes beyond ASCII do not matter."""
    rest = ASCII - {LF} - found
    if LF not in found and len(found) > len(rest) + 1:
        return f"[^{_ranges(rest | {LF})}]" if rest else "."
    if not found:
        return "(?!)"
    return _SIGNS[next(iter(found))] if len(found) == 1 else f"[{_ranges(found)}]"


def _ranges(found: frozenset[int]) -> str:
    written = []
    ordered = sorted(found)
    while ordered:
        first = last = ordered.pop(0)
        while ordered and ordered[0] == last + 1:
            last = ordered.pop(0)
        written.append(_SIGNS[first] if first == last else f"{_SIGNS[first]}-{_SIGNS[last]}")
    return "".join(written)


def escaped(text: bytes) -> str:
    """A pattern for just these bytes."""
    return "".join(_SIGNS[byte] for byte in text)
