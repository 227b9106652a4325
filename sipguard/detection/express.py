"""The short way for the lines that an attack writes by the thousand.

Such a line stands alone, its date differs from that of the line before in the second at most, and a failregex without
anything special matches it. Each step is the one of `screen`, `certain` and `matching`, in the same order and with the
same answers, in one loop without a call for each; what is known from how such lines begin is not asked again. Whatever
is not plain is left to them.
"""

from __future__ import annotations

from math import inf
from typing import TYPE_CHECKING

from sipguard.detection.expressions import Rest
from sipguard.model import Failure

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from sipguard.detection.certain import CertainDates, Known
    from sipguard.detection.matching import Matcher
    from sipguard.detection.record_assembler import RecordAssembler
    from sipguard.detection.record_rule import Unknown
    from sipguard.model import LogEvent

_HEAD = 12
"""Characters behind the date by which it is decided what is left to ask of a line."""
_MOST_HEADS = 100
_LONGEST_LEAD = 8
_MOST_LEADS = 4
_CR = 0x0D
_OTHER = "\n"
"""What no line begins with."""
_new = tuple.__new__

_Asked = tuple[str, int, bool]
"""What a line must hold for a failregex, the length up to which it is searched without a time limit, and `is_simple`."""


class Express:
    """Reads the plain lines of one log."""

    def __init__(self, matcher: Matcher, dates: CertainDates, screen: RecordAssembler | None, encoding: str) -> None:
        self._matcher = matcher
        self._dates = dates
        self._screen = screen
        self._encoding = encoding
        self._known: Known | None = None
        """The beginning of a line for which the following is prepared."""
        self._prepared: dict[str, tuple[list[_Asked], list[Rest | None]]] = {}
        """For each lead: what is asked of a line before each failregex, and the failregexes themselves, once they are needed."""
        self._asked: list[_Asked] = []
        self._rests: list[Rest | None] = []
        self._unknown: dict[str, Unknown] = {}
        """What is left to ask of a line, by what stands behind its date."""
        self._same = _OTHER
        """How the last line began, up to the fraction of its second."""
        self._when = 0.0

    @staticmethod
    def serves(matcher: Matcher) -> bool:
        """Whether the filter can have plain lines at all."""
        return matcher.is_plain and any(each.is_simple and each.safe_length for each in matcher.failregex)

    def take(  # noqa: C901 - one loop: a call for each step would cost as much as the step
        self, data: bytes, lines: Sequence[tuple[int, int]], first: int, events: list[LogEvent]
    ) -> int:
        """Read the plain ones of `lines` (begin and end in `data`) from number `first` on; give that of the next other.

        No record may be under way.
        """
        known = self._prepare()
        if known is None:
            return first
        (left, right), rests = known.span, self._rests
        searches, before = 0, len(events)
        for text, when in self._beginning_alike(data, lines[first:] if first else lines, known):
            length = len(text) - right + left
            match = None
            for index, (holds, safe, simple) in enumerate(self._asked):
                if holds in text:
                    if length > safe or not simple:
                        break
                    rest = rests[index] or self._compile(index, text[:left])
                    searches += 1
                    match = rest.match(text, right)
                    if match is not None:
                        break
            if match is None:
                break
            tags = match.groupdict()
            for name in rest.optional:
                if tags[name] is None:
                    del tags[name]
            get = tags.get
            host, user = get("ip4") or get("ip6") or get("dns"), get("user")
            if not host:
                break
            users = (user,) if user else ()
            # Past the constructor of the named tuple, which takes three times as long.
            events.append(_new(Failure, (host, when, user, users, 1, index, None, (text[:-1],), tags, None)))
        self._matcher.took(events[before:], searches)
        return first + len(events) - before

    def _beginning_alike(  # noqa: C901, PLR0912 - as `take`
        self, data: bytes, lines: Sequence[tuple[int, int]], known: Known
    ) -> Iterator[tuple[str, float]]:
        """The lines up to the first that is not plain, each with its LF, and their times."""
        encoding, unknown, screen, size = self._encoding, self._unknown, self._screen, len(data)
        _, fraction, behind, _ = known.places
        after, right = known.after, known.span[1]
        mixed = screen is not None and screen.first_mixed is not None  # then each line is asked whether it is the one
        held: tuple[str, float] | None = None  # begins a record, which may go on in the next line
        following = 0  # where that begins
        for begin, end in lines:
            text = data[begin : end + 1].decode(encoding, "replace")
            if text.startswith(self._same) and text.startswith(after, behind):
                if fraction < behind:
                    digits = text[fraction:behind]
                    if not (digits.isdecimal() and digits.isascii()):
                        break
            elif not self._is_same_minute(text, fraction):
                break
            if end == size or data[end - 1] == _CR:
                break
            if screen is None:
                yield text, self._when
                continue
            head = text[right : right + _HEAD]
            left = "all" if mixed else unknown[head] if head in unknown else self._ask(text, head, right)
            if screen.is_behind_session(data, begin):
                break
            if held is not None:
                # If this begins a record, that one has ended.
                if (begin != following or left == "all") and not self._is_over(screen, held[0], data, following):
                    return
                yield held
                held = None
            if left == "its end":
                if screen.is_long(text):
                    return
                held, following = (text, self._when), end + 1
            elif left == "nothing" or screen.is_plain(text[:-1]):
                yield text, self._when
            else:
                return
        if held is not None and screen is not None and self._is_over(screen, held[0], data, following):
            yield held

    def _is_over(self, screen: RecordAssembler, line: str, data: bytes, following: int) -> bool:
        """Whether the record that the line begins has no more lines: none that matter, or the next line begins another."""
        if screen.is_plain_record(line[:-1]):
            return True
        end = data.find(b"\n", following)
        if end < 0:
            return False
        next_line = data[following:end].decode(self._encoding, "replace").rstrip("\r")
        return not screen.is_long(line) and screen.begins_record(next_line)

    def _prepare(self) -> Known | None:
        """Make ready for lines that begin like the last one with a date, or the last such that can be plain."""
        known = self._dates.known
        if known is not None and known is not self._known:
            _, _, behind, end = known.places
            if len(known.after) == end - behind and self._takes(known.before, known.span[0]):
                self._known = known
                self._unknown = {}
                self._same, self._when = f"{known.before}{known.second}{known.between}", known.when
        if self._known is not None:
            self._dates.known = self._known
            if self._known.until != inf:
                self._same = _OTHER  # what the date means has to be asked again
        return self._known

    def _takes(self, before: str, left: int) -> bool:
        """Whether lines with this before their date have a short way; there are few of them: strangers could write others."""
        if left > min(len(before), _LONGEST_LEAD):
            return False
        lead = before[:left]
        if lead not in self._prepared:
            if len(self._prepared) >= _MOST_LEADS:
                return False
            failregex = self._matcher.failregex
            asked = [(each.holds_behind(lead), each.safe_length, each.is_simple) for each in failregex]
            self._prepared[lead] = asked, [None] * len(failregex)
        self._asked, self._rests = self._prepared[lead]
        return True

    def _compile(self, index: int, lead: str) -> Rest:
        """Get a failregex ready that is needed for the first time."""
        rest = self._rests[index] = self._matcher.failregex[index].behind(lead)
        return rest

    def _is_same_minute(self, text: str, fraction: int) -> bool:
        """Whether the date is known, but for its second: then that is what the next lines are expected to begin with."""
        if self._dates.again(text) is None:
            return False
        self._same, self._when = text[:fraction], self._dates.when or 0.0
        return True

    def _ask(self, text: str, head: str, right: int) -> Unknown:
        """What the beginning of this line, and of those that begin like it, does not tell."""
        screen = self._screen
        if screen is None:
            return "nothing"
        if len(self._unknown) >= _MOST_HEADS:
            self._unknown.clear()
        self._unknown[head] = unknown = screen.unknown_behind(text[:right] + head)
        return unknown
