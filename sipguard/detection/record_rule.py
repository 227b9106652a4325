r"""How a server writes records: the one place that says where a record begins and which bytes of a log may accuse somebody.

A filter declares it with keys of `[Definition]` that Fail2ban ignores. Regexes are searched in a line as it stands in the log,
with its date; lengths are bytes.

    recordstart       how a record begins, one regex per form of the log, the surest first: once a log has shown one of them,
                      those below it mean nothing there. A line that begins no record belongs to the record before it
    recordopen        a record whose further lines matter: they are joined by `#012`, as syslog does
    recordfold        what a further line looks like; another ends the record, and means nothing. Without this key all are
    recordprefix      what stands before every line where each line of a record is an entry of its own, as in the journal
    linecut           the server cuts what it writes after so many bytes, its line feed too: the next record stands behind the
                      cut in the same line
    linecut_from      behind what those bytes are counted; a line in which it is not found is never cut
    sessionline       a line of a session, its group 1 is the session; its group 2, if it takes part, says that a message begins.
                      See `session_tail`
    recordthread, recordforeign: see `own_thread`
    hanging           a line in which another seems to hang, as the server has cut it
    hanging_other, hanging_shown: see `hanging`
    recordended, recordunsure: see `own_thread`
    recordlong, recordlong_mark: see `long_fields`
    quarantine_begin, quarantine_end, quarantine_limit, logline: see `packets`
    mixed             a line that a log of security events alone does not have: from then on its successes are not believed
    jsonline          a template, `{a.b}` is the key b in the object a: how a line of JSON would look as a line of text

A record counts when the next one begins, or when the log ends behind it and still does `RECORD_SETTLES` later: a server writes
a record with one write, but a reader may see the first half of that. `FOLDED_SETTLES` is for records of several lines.
"""

from __future__ import annotations

from contextlib import suppress
from functools import lru_cache, partial
from typing import TYPE_CHECKING

import regex

from sipguard.detection.expressions import each_of, one_of, whole_number
from sipguard.detection.pcre2 import Pattern, SearchError, is_fast
from sipguard.detection.plain_rule import PlainRule
from sipguard.detection.time_limit import timed
from sipguard.detection.translate import Writer
from sipguard.detection.trees import UntranslatableError, is_anchored, parse

if TYPE_CHECKING:
    from collections.abc import Callable

    from sipguard.detection.expressions import Expression
    from sipguard.model import Filter

KEYS = frozenset(
    {
        "recordstart",
        "recordopen",
        "recordfold",
        "recordprefix",
        "linecut",
        "linecut_from",
        "sessionline",
        "hanging",
        "hanging_other",
        "hanging_shown",
        "recordended",
        "recordunsure",
        "recordlong",
        "recordlong_mark",
        "recordthread",
        "recordforeign",
        "quarantine_begin",
        "quarantine_end",
        "quarantine_limit",
        "logline",
        "mixed",
        "jsonline",
    }
)
RECORD_SETTLES = 0.001
"""Seconds without anything new after which a record of one line at the end of a log is whole."""
FOLDED_SETTLES = 0.02
"""The same for records of several lines, and for packets that a server has written into its log."""
DOUBT_SETTLES = 5.0
"""The same for records of which it must be known what else their log has: see `hanging`."""
_LEARNT_FROM = 65_536
"""Bytes of a log in which its surest form is looked for."""


class RecordRule:
    """The rule of one filter, and which form of it one log has."""

    def __init__(self, filter: Filter) -> None:  # noqa: A002 - the noun of the field
        """Raises ConfigError when a key's regex does not compile, or its number is none."""
        one = partial(one_of, filter)
        self._forms = each_of(filter, "recordstart")
        self.has_records = bool(self._forms)
        """Whether lines are told from records at all."""
        self.left_to_learn = _LEARNT_FROM if len(self._forms) > 1 else 0
        """Bytes of the log that are still to be given to `learn`."""
        self.opens = one("recordopen")
        self.may_go_on: Callable[[str], bool] = self.opens.found if self.opens is not None else lambda _: False
        """Whether further lines of the record that this line begins matter. Raises TimeoutError."""
        self.fold = one("recordfold")
        self.prefix = one("recordprefix")
        self.cut = whole_number(filter, "linecut")
        self.cut_from = one("linecut_from")
        self.session = one("sessionline")
        self.hanging = one("hanging")
        self.ended = one("recordended")
        self.unsure = one("recordunsure")
        self.begin_packet = one("quarantine_begin")
        self.mixed = one("mixed")
        self.json = filter.options.get("jsonline", "")

    def plain(self, *, is_mixed: bool) -> PlainRule:
        """What a record of one line looks like, now; in a log that is mixed already, that need not be asked."""
        never = (self.begin_packet, self.hanging, None if is_mixed else self.mixed)
        return PlainRule(
            headers=tuple(form.source for form in self._forms),
            folds=(self.fold.source,) if self.fold is not None else (),
            opens=(self.opens.source,) if self.opens is not None else (),
            never=(*(each.source for each in never if each is not None), *([r"^\{"] if self.json else [])),
            longest=self.cut,
            json=bool(self.json),
        )

    @property
    def watched(self) -> tuple[Expression, ...]:
        """What a line must be searched for even if it is no failure: it changes what becomes of the next ones."""
        return tuple(each for each in (self.opens, self.begin_packet) if each is not None)

    def opens_packet(self, line: str) -> bool:
        """Whether strangers' text follows this line. Raises TimeoutError."""
        return self.begin_packet is not None and self.begin_packet.found(line)

    def learn(self, data: bytes) -> None:
        """Look in a chunk for the surest form that it has; later ones are not searched any more."""
        with suppress(TimeoutError):
            for number, form in enumerate(self._forms):
                if timed(in_bytes(form).search, data[: self.left_to_learn]):
                    self._keep(number)
                    break
        self.left_to_learn -= len(data)

    def _keep(self, number: int) -> None:
        """The log has shown this form: those below it mean nothing."""
        self._forms = self._forms[: number + 1]
        if number == 0:
            self.left_to_learn = 0

    def begins(self, line: str) -> bool:
        """Whether the line begins a record. Raises TimeoutError."""
        for number, form in enumerate(self._forms):
            if form.found(line):
                if number + 1 < len(self._forms):
                    self._keep(number)
                return True
        return False

    def may_begin_write(self, line: str) -> bool:
        """Whether a server that has cut a line may go on with this: a record, a packet, or another line of a session.

        Raises TimeoutError.
        """
        of_session = self.session is not None and self.session.found(line)
        return of_session or self.begins(line) or self.opens_packet(line)

    def may_hang(self, tail: str, rest: str) -> bool:
        """Whether a server may have written `rest` behind what it has cut of a message, whose last line is `tail`, a caller's.

        Not if that looks like what a server has begun: a caller's text may stand in the middle of that too. Raises TimeoutError.
        """
        is_own = self.may_begin_write(tail) or self.goes_on(tail)
        return not is_own and self.may_begin_write(rest)

    def cut_place(self, raw: bytes, text: str) -> int:
        """Behind how many bytes of a line, of which `text` is the text, its server cuts it; 0 if it does not."""
        if self.cut_from is None:
            return 0
        match = self.cut_from.search(text[: self.cut])
        place = len(text[: match.end()].encode("utf-8", "replace")) + self.cut if match is not None else 0
        return place if len(raw) > place else 0

    def without_prefix(self, line: str) -> str:
        """A further line of a record, as its server wrote it."""
        match = self.prefix.search(line) if self.prefix is not None else None
        return line[match.end() :] if match is not None else line

    def goes_on(self, line: str) -> bool:
        """Whether a line that begins no record is a further line of the one before it. Raises TimeoutError."""
        return self.fold is None or self.fold.found(line)


def declares(filter: Filter) -> bool:  # noqa: A002
    """Whether the filter tells records from lines, or anything else of this."""
    return any(filter.options.get(key) for key in KEYS)


@lru_cache(maxsize=64)
def in_bytes(expression: Expression) -> regex.Pattern[bytes]:
    """The same search in undecoded lines."""
    return regex.compile(expression.source.encode(), regex.MULTILINE)


@lru_cache(maxsize=64)
def _in_lines(expression: Expression) -> Pattern | None:
    """The search in lines of ASCII, of which no match leaves one; None where it cannot be had."""
    try:
        tree = parse(expression.source)
        return Pattern(Writer().regex(tree, (), anchored=is_anchored(tree), at_line=True)) if is_fast() else None
    except (UntranslatableError, ValueError, OverflowError, RecursionError):
        return None


def span_in(expression: Expression, data: bytes, begin: int) -> tuple[int, int] | None:
    """Begin and end of the first match in `data` from the line at `begin` on; it may reach over its line. Raises TimeoutError."""
    fast = _in_lines(expression) if data.isascii() else None
    if fast is not None:
        with suppress(SearchError):
            return (fast.spans[0], fast.spans[1]) if fast.matcher(data)(begin) else None
    match = timed(in_bytes(expression).search, data, begin)
    return match.span() if match is not None else None
