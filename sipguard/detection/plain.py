"""One pattern for the plain lines of a log: a record's header, its date and a failregex, in one search.

A line is plain when everything that the exact way asks of it is asked by the pattern itself: it begins a record and the next
line begins another; no other date pattern of the filter finds a date in it; no failregex before the one that matches does.
What the pattern does not match says nothing: the exact way reads such a line.
"""

from __future__ import annotations

from functools import lru_cache
from typing import TYPE_CHECKING, Any, NamedTuple

from sipguard.detection.dated import DatePart, any_of, asked, layout, reader
from sipguard.detection.pcre2 import UNSET, Pattern
from sipguard.detection.translate import Writer
from sipguard.detection.trees import (
    ONE,
    REPEATS,
    UntranslatableError,
    characters,
    is_anchored,
    parse,
    sre,
    tree_of,
    width,
)

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from sipguard.detection.dateformats import DateFormat
    from sipguard.detection.expressions import Expression
    from sipguard.detection.plain_rule import PlainRule


class Plan(NamedTuple):
    """What a match tells by a failregex."""

    regex: int
    read: Callable[[Any], tuple[int, ...]]
    """Takes offsets out of `spans`: first the end of the line."""
    ids: tuple[int, ...]
    """Where in what `read` gives the groups begin that name the offender, in the order in which they are asked.

    None for a regex whose groups mean more: the exact way reads the line.
    """
    user: int
    """The same of the user; 0 if there is none."""
    tags: Tags


class Tags(NamedTuple):
    """Where the groups of a match are in what `Plan.read` gives."""

    places: dict[str, int]
    kept: dict[tuple[str, ...], tuple[int, ...]]
    """Names that were asked for together → where they are; 0 for one that is none."""

    def tags(self, line: str, begin: int, offsets: tuple[int, ...]) -> dict[str, str]:
        """The groups that took part, in a line that began at `begin` when `offsets` were read."""
        found = {}
        for name, place in self.places.items():
            start = offsets[place]
            if start != UNSET:
                found[name] = line[start - begin : offsets[place + 1] - begin]
        return found

    def some(self, names: tuple[str, ...], line: str, begin: int, offsets: tuple[int, ...]) -> list[str | None]:
        """Those of these names, in their order; None for one that took no part."""
        places = self.kept.get(names)
        if places is None:
            places = self.kept[names] = tuple(self.places.get(name, 0) for name in names)
        return [
            line[offsets[at] - begin : offsets[at + 1] - begin] if at and offsets[at] != UNSET else None
            for at in places
        ]


class Plain:
    """The pattern for lines whose date is of one form, with `lead` before it. Raises UntranslatableError, ValueError."""

    def __init__(
        self,
        failregex: Sequence[Expression],
        form: DateFormat,
        others: Sequence[DateFormat],
        rule: PlainRule,
        lead: str,
    ) -> None:
        writer = Writer()
        written = [
            any_of(writer, rule.headers),
            *(asked(writer, source, "!") for source in (*rule.never, *(() if rule.folds else rule.opens))),
        ]
        body = _body(tuple(failregex), form, tuple(others), lead, writer.groups)
        self.date, self.plans, self.layout = body.date, body.plans, body.layout
        written += [body.source, r".*+\n"]
        writer.groups = body.groups
        if rule.folds:
            written += [r"(?=[\x00-\xff])", *(asked(writer, source, "!") for source in rule.folds)]
        self.pattern = Pattern("".join(written), anchored=True)


class _Body:
    """The date and the failregexes, whose groups are counted on from `groups`. Raises UntranslatableError, ValueError."""

    def __init__(
        self, failregex: Sequence[Expression], form: DateFormat, others: Sequence[DateFormat], lead: str, groups: int
    ) -> None:
        writer = Writer(groups)
        self.date = DatePart(writer, form, others, lead)
        self.plans: dict[int, Plan] = {}
        """By what a search gives."""
        tails = []
        for index, expression in enumerate(failregex):
            try:
                tail = self._tail(writer, index, expression)
            except UntranslatableError:
                break  # those behind it count only where it does not match
            if tail:
                tails.append(tail)
        if not any(plan.ids for plan in self.plans.values()):
            raise UntranslatableError("no failregex is simple")
        self.source = f"{self.date.source}(?>{'|'.join(tails)})"
        self.groups = writer.groups

    def _tail(self, writer: Writer, index: int, expression: Expression) -> str:
        """The failregex behind the date; empty where none with this lead can match."""
        tree = parse(expression.source)
        anchored = is_anchored(tree)
        before = writer.groups
        names = tree.state.groupdict
        try:
            if anchored:
                rest = _behind(tree, self.date.lead)
                if rest is None:
                    return ""
                text = writer.regex(rest, names.values())
            elif self.date.lead:
                raise UntranslatableError("it may begin before the date")
            else:
                text = ".*?" + writer.regex(tree, names.values(), anchored=False)
        except UntranslatableError:
            writer.groups = before
            raise
        groups = {name: writer.numbers[number] for name, number in names.items() if number in writer.numbers}
        mark = writer.group()
        self.plans[mark + 1] = self._plan(index, expression, groups)
        return text + "()"

    def _plan(self, index: int, expression: Expression, groups: dict[str, int]) -> Plan:
        read, places = reader([*self.date.groups, *groups.values()])
        self.layout = layout(self.date, places)  # the same for all plans: the date stands before all groups of theirs
        at = {name: places[number] for name, number in groups.items()}
        ids = tuple(at[name] for name in ("ip4", "ip6", "dns") if name in at) if expression.is_simple else ()
        return Plan(index, read, ids, at.get("user", 0), Tags(at, {}))


@lru_cache(maxsize=64)
def _body(
    failregex: tuple[Expression, ...], form: DateFormat, others: tuple[DateFormat, ...], lead: str, groups: int
) -> _Body:
    """Written once: a log's rule changes as more of it is known, and this takes longest."""
    return _Body(failregex, form, others, lead, groups)


def _behind(tree: Any, lead: str) -> Any | None:
    """What is left of an anchored regex for texts that begin with `lead`, behind that; None where it matches none of them."""
    ways = [list(tree)[1:]]
    for char in lead:
        ways = [rest for way in ways for rest in _derived(way, ord(char), int(tree.state.flags), tree)]
    return _either(ways, tree) if ways else None


def _either(ways: list[list[Any]], like: Any) -> Any:
    if len(ways) == 1:
        return tree_of(ways[0], like)
    return tree_of([(sre.BRANCH, (None, [tree_of(way, like) for way in ways]))], like)


def _derived(items: list[Any], char: int, flags: int, like: Any) -> list[list[Any]]:
    """What may follow one character with which the items begin, in the order in which they would be tried."""
    if not items:
        return []
    (op, argument), rest = items[0], items[1:]
    if op in ONE:
        return [rest] if char in characters(op, argument, flags) else []
    if op in REPEATS and op is not sre.POSSESSIVE_REPEAT:
        low, high, body = argument
        if width(list(body), like)[0] == 0:
            raise UntranslatableError("a repeat of nothing")
        left = high if high is sre.MAXREPEAT else high - 1
        more = [(op, (max(low - 1, 0), left, body))] if left else []
        taken = [[*inner, *more, *rest] for inner in _derived(list(body), char, flags, like)]
        skipped = _derived(rest, char, flags, like) if not low else []
        return taken + skipped if op is sre.MAX_REPEAT else skipped + taken
    if op is sre.SUBPATTERN and not argument[1] and not argument[2]:
        inner = _derived(list(argument[3]), char, flags, like)
        if inner and (argument[0] or width(list(argument[3]), like)[0] == 0):
            raise UntranslatableError("a group across the date")
        if not inner and width(list(argument[3]), like)[0] == 0:
            raise UntranslatableError("a group that may be empty")
        return [[(sre.SUBPATTERN, (None, 0, 0, _either(inner, like))), *rest]] if inner else []
    if op is sre.BRANCH:
        if any(width(list(way), like)[0] == 0 for way in argument[1]):
            raise UntranslatableError("a way that may be empty")
        return [[*way, *rest] for each in argument[1] for way in _derived(list(each), char, flags, like)]
    raise UntranslatableError(str(op))
