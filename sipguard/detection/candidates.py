"""Finds the lines that could be failures, in chunks of bytes, without reading the others.

From what a filter's regexes need (`literals`) a few texts are chosen such that every line that matches holds at least one
of them. libpcre2 looks for all of them in one pass; where it is not, `bytes.find` does, text by text. Which texts are
cheapest depends on the log, so they are chosen again as more of it is seen: `[WARNING]` is rare in one log and in every
line of another.
"""

from __future__ import annotations

import re
from functools import lru_cache, reduce
from itertools import pairwise
from operator import and_, or_
from typing import TYPE_CHECKING, Any, Protocol

from sipguard.detection.dateformats import AT_BEGIN
from sipguard.detection.encodings import is_ascii_based
from sipguard.detection.literals import SHORTEST, Literal, Need
from sipguard.detection.pcre2 import Pattern, is_fast
from sipguard.detection.translate import escaped
from sipguard.detection.trees import ONE, characters, parse, sre

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Mapping, Sequence

    from sipguard.detection.dateformats import DateFormat

_LINE = 5000.0
"""What a line costs that is looked at in vain, in nanoseconds: measured."""

_SAMPLE = 16_384
"""Bytes from which on a chunk says something about the log."""
_LARGEST_SAMPLE = 32_768
_FEW = 4096
"""Bytes: texts that find fewer lines than one in so many are good enough."""
_LONGEST_PLAN = 64 << 20
"""Bytes after which the texts are chosen again at the latest."""
_MOST_TEXTS = 24
"""Texts beyond which so many searches cost more than they save."""
_MOST_TRIED = 200
_AT_ONCE = 2

_FOLDS = (b"\xe2\x84\xaa", b"\xc5\xbf", b"\xc4\xb0", b"\xc4\xb1")
"""K, long s and Turkish i in UTF-8: without regard to case they match ASCII letters."""

_WORDS = re.compile(rf"\w{{{SHORTEST + 1},}}", re.ASCII)


class Finder(Protocol):
    """Finds texts."""

    per_text: float
    """What a further text costs per byte of the chunk, in nanoseconds: measured."""

    def prepare(self, texts: Sequence[bytes], *, folded: bool, json: bool) -> None:
        """Look for these from now on, with `folded` in upper and lower case; with `json` also for braces that begin a line."""

    def lines(self, data: bytes) -> Callable[[int], int]:
        """What gives the begin of the first line that holds one of them, from the line that begins at an offset on.

        If there is none, that is the end of the data.
        """


class Search:
    """Texts by libpcre2, two in one pass: it finds them at ten gigabytes per second, and some three at less than one."""

    per_text = 0.08

    def __init__(self) -> None:
        self._patterns: list[Pattern] = []
        self._json = False

    def prepare(self, texts: Sequence[bytes], *, folded: bool, json: bool) -> None:
        """As in `Finder`. Raises ValueError: the pattern grows too large."""
        self._json = json
        # Not `^\{`: that would be tried at each line, while two characters are found sixteen bytes at a time.
        each = [*map(escaped, texts), *[r"\n\{"] * json]
        sources = ["|".join(each[n : n + _AT_ONCE]) for n in range(0, len(each), _AT_ONCE)]
        self._patterns = [Pattern(source, any_case=folded) for source in sources]

    def lines(self, data: bytes) -> Callable[[int], int]:
        size, json, before = len(data), self._json, data.rfind
        each = [pattern.places(data) for pattern in self._patterns]
        nexts = [-1] * len(each)
        left = list(range(len(each)))
        nearest = -1

        def next_line(position: int) -> int:
            nonlocal nearest
            if nearest < position:
                for number in left:
                    if nexts[number] < position:
                        nexts[number] = each[number](position)
                nearest = min(nexts)
                if nearest == size:
                    left.clear()
            if json and data[position : position + 1] == b"{":
                return position
            if nearest >= size:
                return size
            return (before(b"\n", position, nearest + 1 if json else nearest) + 1) or position

        return next_line


class Find:
    """`bytes.find`, text by text."""

    per_text = 0.25

    def __init__(self) -> None:
        self._texts: list[bytes] = []
        self._folded = False

    def prepare(self, texts: Sequence[bytes], *, folded: bool, json: bool) -> None:
        self._texts, self._folded = [*texts, *[b"\n{"] * json], folded

    def lines(self, data: bytes) -> Callable[[int], int]:
        data = data.lower() if self._folded else data
        found = sorted(place for text in self._texts for place in self._lines_with(text, data))
        found.reverse()

        def next_line(position: int) -> int:
            while found and found[-1] < position:
                found.pop()
            return (data.rfind(b"\n", position, found[-1]) + 1 or position) if found else len(data)

        return next_line

    @staticmethod
    def _lines_with(text: bytes, data: bytes) -> Iterable[int]:
        """A place within each line that holds the text; the one of the brace, not of the LF before it."""
        brace = text == b"\n{"
        if brace and data.startswith(b"{"):
            yield 0
        place = data.find(text)
        while place >= 0:
            yield place + brace
            end = data.find(b"\n", place + brace)
            place = data.find(text, end) if end >= 0 else -1


def best() -> Finder:
    """The fastest that this machine has."""
    return Search() if is_fast() else Find()


class Candidates:
    """The lines of a log that are worth a look."""

    def __init__(
        self, alternatives: Sequence[Sequence[Need]], gate: Sequence[Need] = (), *, json: bool = False
    ) -> None:
        """`alternatives` are the needs of each regex of which one must match; `gate` those of one that always must.

        With `json`, lines that begin with a brace are worth a look too.
        """
        self._finder = best()
        self._json = json
        self.folded = any(each.folded for needs in (*alternatives, gate) for need in needs for each in need)
        self._regexes = tuple(tuple(self._plain(need) for need in needs) for needs in alternatives)
        self._gate = [self._plain(need) for need in gate]
        self._covers = _covers(self._regexes) if all(self._regexes) else {}
        """Texts to choose from, and of which regexes a search for them would find all lines."""
        self._seen = 0
        self._next_plan = 0
        self.found = 0
        """Lines that were looked at: whoever does so counts them."""
        self.texts: tuple[bytes, ...] = ()
        self._choose(b"")

    def _plain(self, need: Need) -> frozenset[str]:
        return frozenset(each.text.lower() if self.folded else each.text for each in need)

    def lines(self, data: bytes) -> Callable[[int], int]:
        """What gives where the first line begins that is worth a look, from the one that begins at an offset on.

        If none is, that is the end of the data.
        """
        self._seen += len(data)
        if self._seen >= self._next_plan and len(data) >= _SAMPLE and self.found * _FEW >= self._seen - len(data):
            self._next_plan = self._seen + min(7 * self._seen, _LONGEST_PLAN)
            sample = data[:_LARGEST_SAMPLE]
            self._choose(sample.lower() if self.folded else sample)
        return self._finder.lines(data)

    def may_match(self, line: bytes) -> bool:
        """Whether a single line is worth a look: that takes less time than to begin a search through many."""
        line = line.lower() if self.folded else line
        for text in self.texts:
            if text in line:
                return True
        return self._json and line.startswith(b"{")

    def _choose(self, sample: bytes) -> None:
        texts = self._plan(sample)
        if texts != self.texts:
            self.texts = texts
            self._finder.prepare(texts, folded=self.folded, json=self._json)

    def _plan(self, sample: bytes) -> tuple[bytes, ...]:
        """The cheapest texts for a log like `sample`: those of the gate, or enough to cover every regex."""
        cost: dict[str, float] = {}
        for option in (*self._covers, *self._gate):
            for text in option - cost.keys():
                if sample:
                    cost[text] = self._finder.per_text * len(sample) + _LINE * sample.count(text.encode())
                else:
                    cost[text] = 1 + 10 / len(text)
        plans = [set(need) for need in self._gate]
        if self._covers:
            plans.append(_cover(self._covers, len(self._regexes), cost))
        texts = min(plans, key=lambda plan: sum(cost[text] for text in plan))
        folds = _FOLDS if self.folded else ()
        return (*(text.encode() for text in sorted(texts)), *folds)


def candidates(
    alternatives: Sequence[Sequence[Need]],
    gate: Sequence[Need],
    formats: Sequence[DateFormat],
    encoding: str,
    *,
    json: bool = False,
) -> Candidates | None:
    """The search for what regexes with these needs may match; None where every line must be read.

    `formats` are those of the dates that are cut out of a line before its regexes see it: what such a cut could join
    together is not asked for.
    """
    if not is_ascii_based(encoding):
        return None
    if any(each.folded for needs in (*alternatives, gate) for need in needs for each in need) and encoding != "utf-8":
        return None
    alternatives = [undated(tuple(needs), tuple(formats)) for needs in alternatives]
    gate = undated(tuple(gate), tuple(formats))
    if not gate and not (alternatives and all(alternatives)):
        return None
    found = Candidates(alternatives, gate, json=json)
    return found if len(found.texts) <= _MOST_TEXTS else None


def also(next_line: Callable[[int], int], place: int) -> Callable[[int], int]:
    """With one more line that is worth a look, the one that begins at `place`."""

    def found(position: int) -> int:
        line = next_line(position)
        return place if position <= place < line else line

    return found


def _options(regexes: Sequence[Sequence[frozenset[str]]]) -> list[frozenset[str]]:
    """Needs to choose from: those of the regexes, and what several of them begin or end with alike."""
    options = dict.fromkeys(need for needs in regexes for need in needs)
    texts = sorted({next(iter(need)) for need in options if len(need) == 1})
    mirrored = sorted(text[::-1] for text in texts)
    shared = [_shared(*pair) for pair in pairwise(texts)]
    shared += [_shared(*pair)[::-1] for pair in pairwise(mirrored)]
    options.update(dict.fromkeys(frozenset({text}) for text in shared if len(text) > SHORTEST + 1))
    return list(options)[:_MOST_TRIED]


def _shared(one: str, other: str) -> str:
    """What both begin with."""
    same = 0
    for left, right in zip(one, other, strict=False):
        if left != right:
            break
        same += 1
    return one[:same]


def _cover(covers: Mapping[frozenset[str], set[int]], regexes: int, cost: Mapping[str, float]) -> set[str]:
    """Texts of which every match of every regex holds one: greedily the option that covers most for its price."""
    open_ = set(range(regexes))
    chosen: set[str] = set()
    while open_:
        prices = {
            option: (sum(cost[text] for text in option - chosen) / len(served & open_), -max(map(len, option)))
            for option, served in covers.items()
            if served & open_
        }
        option = min(prices, key=lambda option: prices[option])
        chosen |= option
        open_ -= covers[option]
    # A line that holds a text holds every part of it.
    return {text for text in chosen if not any(part in text for part in chosen - {text})}


@lru_cache(maxsize=64)  # one for each filter: of logs there may be thousands
def _covers(regexes: tuple[tuple[frozenset[str], ...], ...]) -> Mapping[frozenset[str], set[int]]:
    """Which regexes are found by an option: a text that meets one of their needs holds one of the option's."""
    options = _options(regexes)
    # Sets of options are numbers, a bit for each: those that have a text, and those that a regex's matches hold.
    having: dict[str, int] = {}
    for number, option in enumerate(options):
        for text in option:
            having[text] = having.get(text, 0) | 1 << number

    def held_in(literal: str) -> int:
        return reduce(or_, (bits for text, bits in having.items() if text in literal), 0)

    found_by = [reduce(or_, (reduce(and_, map(held_in, need)) for need in needs), 0) for needs in regexes]
    return {
        option: {index for index, bits in enumerate(found_by) if bits >> number & 1}
        for number, option in enumerate(options)
    }


_EVERY = frozenset(map(chr, range(128)))
_USUAL = re.compile(rf"(?:\(\?[a-z]+\))?{re.escape(AT_BEGIN)}(?=\((?!\?))")
"""What stands before the first group of a date at the beginning of the line."""
_Lead = frozenset[str] | str | None
"""What may stand before a date: characters; a text: anything that ends in it; None: anything, but the date is a word."""


def _lead(form: DateFormat) -> _Lead:
    """The characters that may precede what is cut; raises nothing: what cannot be known is every character."""
    if not form.at_begin:
        return None if form.is_word else _EVERY
    usual = _USUAL.match(form.source)  # of most the rest need not be parsed
    return _lead_at_begin(usual[0] + "()" if usual is not None else form.source)


@lru_cache(maxsize=128)
def _lead_at_begin(source: str) -> _Lead:
    before: set[str] = set()
    last = ""
    for op, argument in parse(source):
        if op is sre.SUBPATTERN and argument[0] == 1:
            return last if last and before >= _EVERY else frozenset(before)
        if op is not sre.AT:
            before |= _alphabet([(op, argument)], _EVERY)
            last = chr(argument) if op is sre.LITERAL else ""
    return _EVERY


def _alphabet(items: Iterable[Any], every: frozenset[str]) -> frozenset[str]:
    """The characters that may occur in what these items match; all of them where that is not plain."""
    found: frozenset[str] = frozenset()
    for op, argument in items:
        if op in ONE:
            found |= {form for c in characters(op, argument, 0) for form in (chr(c).lower(), chr(c).upper())}
        elif op in {sre.MAX_REPEAT, sre.MIN_REPEAT}:
            found |= _alphabet(argument[2], every)
        elif op is sre.SUBPATTERN and not argument[1]:
            found |= _alphabet(argument[3], every)
        else:
            return every
    return found


@lru_cache(maxsize=512)
def undated(needs: tuple[Need, ...], formats: tuple[DateFormat, ...]) -> Sequence[Need]:
    """The needs in texts that no cut of a date can have joined together from parts of the line that stood apart."""
    leads = list(dict.fromkeys(_lead(form) for form in formats))
    result = []
    for need in needs:
        texts = [Literal(_whole(each.text, leads), each.folded) for each in need]
        if all(len(each.text) > SHORTEST for each in texts):
            result.append(frozenset(texts))
    return result


def _whole(text: str, leads: Iterable[_Lead]) -> str:
    """The part of `text` whose beginning cannot stand before a date: what follows the date then holds all of it."""
    for lead in leads:
        if lead is None:
            text = max(_WORDS.findall(text), key=len, default="")
        elif isinstance(lead, str):
            # A cut may join what stands before it, which ends in `lead`, with what stands behind: no text across that.
            text = max((piece + lead for piece in text.split(lead)), key=len).removesuffix(lead)
    for lead in leads:
        if isinstance(lead, frozenset):
            text = text.lstrip("".join(lead)) if lead else text
    return text
