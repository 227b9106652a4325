"""Dates of one form, found by libpcre2, and what they mean: each minute is read once.

Only a date that no other pattern of the filter finds as well is found here, in a line of ASCII; the rest is `certain_dates`.
"""

from __future__ import annotations

import math
import re
import struct
from functools import lru_cache
from typing import TYPE_CHECKING, Any, NamedTuple

from sipguard.detection.pcre2 import UNSET, Pattern
from sipguard.detection.prefixes import beginnings, may_begin
from sipguard.detection.translate import Writer, escaped
from sipguard.detection.trees import UntranslatableError, is_anchored, parse, sre, tree_of, width

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Sequence

    from sipguard.detection.dateformats import DateFormat

_UNICODE = int(re.UNICODE)
_OFFSET = struct.calcsize("N")
_MOST = 4096
"""Seconds, and minutes, remembered at once."""


class Layout(NamedTuple):
    """Where in the offsets that a search has read the parts of the date are."""

    cut: int
    """Where what is to be cut out ends."""
    second: int
    """Where the second ends; where it begins stands before it."""
    fraction: int
    """Where its fraction ends."""


class DatePart:
    """A pattern's part for the date. Raises UntranslatableError where a date of this form cannot be had so."""

    def __init__(self, writer: Writer, form: DateFormat, others: Sequence[DateFormat], lead: str) -> None:
        """`lead` is what stands before the date in the line: nothing else may."""
        self.form, self.lead = form, lead
        none = none_of(writer, beside(form, others, lead))
        tree = parse(form.source)
        items = list(tree)
        place = _place(items)
        if not is_anchored(tree) or place is None or width(items[place + 1 :], tree)[1]:
            raise UntranslatableError("a date that is no plain beginning")
        names = tree.state.groupdict
        if "S" not in names:
            raise UntranslatableError("a date without seconds")
        text = writer.regex(tree, {1, names["S"], names.get("f", 1)}, at_line=True, marked=(1, lead))
        number = writer.numbers
        self.groups = number[1], number[names["S"]], number[names.get("f", names["S"])]
        """Numbers of the groups for what is cut out, the second and its fraction."""
        order = sorted(names, key=lambda name: names[name])
        self.ends_with_second = not set(order[order.index("S") + 1 :]) - {"f"}
        """Whether no field of the date stands behind its seconds, but for their fraction."""
        self.source = f"{none}(?>{text})(?({writer.mark})|(?!))"


def _place(items: Sequence[Any]) -> int | None:
    """Which item of a date's regex is what is cut out."""
    return next((n for n, (op, arg) in enumerate(items) if op is sre.SUBPATTERN and arg[0] == 1), None)


def beside(form: DateFormat, others: Sequence[DateFormat], lead: str) -> list[str]:
    """The regexes of the others that may find a date in a line where there is one of this form behind `lead`."""
    begins = beginnings(form.source, 1, lead)
    return [each.source for each in others if not is_anchored(parse(each.source)) or may_begin(each.source, begins)]


def behind(writer: Writer, form: DateFormat, lead: str) -> str:
    """The condition that just `lead`, which is ASCII, and a date of this form begin a line. Raises UntranslatableError."""
    tree = parse(form.source)
    place = _place(list(tree))
    if place is None or not is_anchored(tree):
        raise UntranslatableError("a date that is no plain beginning")
    date = writer.regex(tree_of(list(tree)[place:], tree), (), at_line=True, told=False)
    return f"(?=^{escaped(lead.encode('ascii'))}{date}){asked(writer, form.source, '=')}"


def reader(groups: Iterable[int]) -> tuple[Callable[[Any], tuple[int, ...]], dict[int, int]]:
    """What reads the end of a match and begin and end of these groups, and where in that each group begins."""
    offsets = sorted({1, *(2 * number + side for number in groups for side in (0, 1))})
    form, here = "@", 0
    for offset in offsets:
        form += f"{(offset - here) * _OFFSET}xN"
        here = offset + 1
    places = {offset // 2: place for place, offset in enumerate(offsets) if offset % 2 == 0}
    return struct.Struct(form).unpack_from, places


def layout(part: DatePart, places: dict[int, int]) -> Layout:
    """Where the date is in what a `reader` reads."""
    return Layout(*(places[number] + 1 for number in part.groups))


class DateSearch:
    """What finds dates of one form in single lines of ASCII. Raises UntranslatableError and ValueError."""

    def __init__(self, form: DateFormat, others: Sequence[DateFormat], lead: str) -> None:
        self.part = DatePart(Writer(), form, others, lead)
        self.pattern = Pattern(self.part.source, anchored=True)
        self.read, places = reader(self.part.groups)
        """Takes the offsets of the date from the pattern's `spans`."""
        self.layout = layout(self.part, places)


@lru_cache(maxsize=256)
def date_search(form: DateFormat, others: tuple[DateFormat, ...], lead: str) -> DateSearch | None:
    """One for all logs; None where there can be none."""
    try:
        return DateSearch(form, others, lead)
    except (UntranslatableError, ValueError, OverflowError, RecursionError):
        return None


class Times:
    """What dates of one log mean, in POSIX seconds."""

    def __init__(
        self,
        resolve: Callable[[DateFormat, str], tuple[tuple[int, int], float, float] | None],
        clock: Callable[[], float],
    ) -> None:
        """`resolve` reads a line's date: what to cut out, POSIX seconds, and until when by the clock it means that."""
        self._resolve = resolve
        self._clock = clock
        self._part: DatePart | None = None
        self.seconds: dict[str, float] = {}
        """What stands in a line up to the second, and behind its fraction if that matters → its time."""
        self._minutes: dict[str, float] = {}
        self._since, self._until = -math.inf, math.inf
        """From when to when by the clock those hold."""

    def begin(self, part: DatePart) -> None:
        """Dates come by this part of a pattern from now on."""
        now = self._clock()
        if part is not self._part or not self._since <= now < self._until:
            self._part = part
            self.seconds.clear()
            self._minutes.clear()
            self._since, self._until = now, math.inf

    def of(self, text: str, begin: int, stop: int, offsets: tuple[int, ...], where: Layout) -> float | None:
        """The time of the date in the line from `begin` to `stop`; None where it has to be found in another way."""
        part = self._part
        assert part is not None  # noqa: S101 - `begin` comes first
        start, end = offsets[where.second - 1], offsets[where.second]
        behind = ""
        if not part.ends_with_second:
            fraction = offsets[where.fraction]
            behind = f"\n{text[end if fraction == UNSET else max(end, fraction) : offsets[where.cut]]}"
        key = text[begin:end] + behind
        when = self.seconds.get(key)
        if when is not None:
            return when
        digits = text[start:end]
        in_minute = len(digits) == 2 and digits < "60"  # POSIX clocks have no such second
        minute = f"{text[begin:start]}\n{behind}"
        if len(self.seconds) >= _MOST:  # of minutes there are no more
            self.seconds.clear()
            self._minutes.clear()
        base = self._minutes.get(minute) if in_minute else None
        if base is not None:
            when = base + int(digits)
        else:
            known = self._resolve(part.form, text[begin:stop])
            if known is None or known[0] != (len(part.lead), offsets[where.cut] - begin):
                return None
            _, when, until = known
            if until == math.inf and in_minute:
                self._minutes[minute] = when - int(digits)
            self._until = min(self._until, until)
        self.seconds[key] = when
        return when


def asked(writer: Writer, source: str, sign: str) -> str:
    """A condition that takes no characters: whether a regex is found (`=`) in the line that begins here, or not (`!`)."""
    tree = parse(source)
    anchored = is_anchored(tree)
    text = writer.regex(tree, (), anchored=anchored, at_line=True, told=False)
    return f"(?{sign}{text})" if anchored else f"(?{sign}.*?{text})"


def any_of(writer: Writer, sources: Sequence[str]) -> str:
    """That one of these is found in the line, as a condition that takes no characters; nothing if there is none."""
    before = writer.groups
    found = "|".join(asked(writer, source, "=") for source in sources)
    if writer.groups != before:
        raise UntranslatableError("a header with references")
    return f"(?:{found})" if found else ""


def none_of(writer: Writer, sources: Sequence[str]) -> str:
    """That none of these is found. Those that begin alike, as the usual date patterns do, share that beginning."""
    text, writer.groups = _none_of(tuple(sources), writer.groups)
    return text


@lru_cache(maxsize=64)
def _none_of(sources: tuple[str, ...], groups: int) -> tuple[str, int]:
    """As `none_of`, and how many groups are written then: the same dates are asked about in several patterns."""
    writer = Writer(groups)
    alike: dict[str, list[Any]] = {}
    for source in sources:
        tree = parse(source)
        head = str(list(tree)[:2]) if is_anchored(tree) and int(tree.state.flags) & ~_UNICODE == 0 else source
        alike.setdefault(head, []).append((tree, source))
    written = []
    for each in alike.values():
        trees = [tree for tree, _ in each]
        if len(trees) < 2:
            written.append(asked(writer, each[0][1], "!"))
            continue
        head = writer.regex(tree_of(list(trees[0])[:2], trees[0]), (), at_line=True)
        rests = [writer.regex(tree_of(list(tree)[2:], tree), (), at_line=True) for tree in trees]
        written.append(f"(?!{head}(?:{'|'.join(rests)}))")
    return "".join(written), writer.groups
