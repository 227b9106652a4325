r"""What lies between the lines of a file and the lines that a server meant: records, dumped packets, JSON, cut lines.

A filter declares what its server does, with keys of `[Definition]` that Fail2ban ignores. All are regexes for a line as it
stands in the log, with its date, but for `linecut` and `jsonline`:

    recordstart       how a record begins; a line that does not begin one is never a line of log by itself
    recordopen        a record that may go on in further lines; those are joined by `#012`, as syslog does
    recordend         when such a record, joined, is whole
    linecut           number of characters after which the server cuts a line of a session, so that the next record stands
                      behind it in the same line
    quarantine_begin  the line after which strangers' text follows; a group `bytes` says how much of it
    quarantine_end    the line that ends such text. It can be forged: lines behind it are held until as much has come as a
                      packet can hold, or `flush` says that nothing more comes; if it is repeated until then, they are dropped
    logline           what among strangers' text is worth an alarm, since it looks like a line of log; else `mixed`
    mixed             a line that a log of security events alone does not have: from then on its successes are not believed
    jsonline          a template, `{a.b}` is the key b in the object a: how a line of JSON would look as a line of text

Everything here is bounded: what is held back, and for how long.
"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, NamedTuple

import regex

from sipguard.detection.expressions import Expression, compile_all
from sipguard.detection.json_lines import from_json, read_json
from sipguard.detection.plain_rule import PlainRule

if TYPE_CHECKING:
    from sipguard.model import Filter

KEYS = frozenset(
    {
        "recordstart",
        "recordopen",
        "recordend",
        "linecut",
        "quarantine_begin",
        "quarantine_end",
        "logline",
        "mixed",
        "jsonline",
    }
)
PACKET = 65_536
"""Characters of the largest packet that a SIP server takes."""
_RECORD = 16_384
"""Characters of the longest record that is put together."""
_LIMIT = 0.2
"""Seconds for one search."""
_MOST_TRIES = 20
"""Matches over several lines, which are none, after which every line is read instead."""
_NEWLINE = "#012"
_UUID = re.compile(r"[0-9a-f]{8}-(?:[0-9a-f]{4}-){3}[0-9a-f]{12} ")


class Ready(NamedTuple):
    """A line for the detector."""

    text: str
    number: int
    """Which line pushed it is, counted from 1; of a record, its first."""
    trusted: bool
    """Nobody but the server can have written it as a whole."""


class RecordAssembler:
    """The stage before the regexes for one log. Feed it every line, in order."""

    def __init__(self, filter: Filter, *, where: str) -> None:  # noqa: A002 - the noun of the field
        """Raises ConfigError when a key's regex does not compile."""
        options = filter.options

        self.expressions: list[Expression] = []
        """Those that a line must be searched for even if it is no failure: it changes what becomes of the next ones."""

        def one(key: str) -> Expression | None:
            patterns = (options[key],) if options.get(key) else ()
            compiled = compile_all(patterns, key=key, where=where)
            self.expressions += compiled if key in ("recordopen", "quarantine_begin") else ()
            return compiled[0] if compiled else None

        self.tampered = 0
        """Lines and records that were not what they seemed."""
        self._start, self._open, self._end = one("recordstart"), one("recordopen"), one("recordend")
        self._begin_quarantine, self._end_quarantine = one("quarantine_begin"), one("quarantine_end")
        self._mixed = one("mixed")
        self._line = one("logline") or self._mixed
        self._mixed_bytes = _in_bytes(self._mixed)
        self.is_mixed = False
        """Whether others than the server could have written lines of this log as a whole: none is trusted from now on."""
        self.first_mixed: tuple[int, int] | None = None
        """Where in the data that `can_skip` was asked about the line lies from which on nothing is trusted."""
        self._cut = int(options.get("linecut") or 0)
        self._json = options.get("jsonline", "")
        self._pushed = 0
        self._record: list[str] = []
        self._record_number = 0
        self._inside = False
        self._budget = 0
        self._skip = 0
        self._held: list[tuple[int, str]] = []

    @property
    def busy(self) -> bool:
        """Whether the next line matters whatever it holds: a record or a packet is under way."""
        return bool(self._record or self._held or self._inside or self._budget > 0 or self._skip > 0)

    def opens_packet(self, line: str) -> bool:
        """Whether strangers' text follows this line. Raises TimeoutError."""
        return self._begin_quarantine is not None and self._begin_quarantine.found(line, _LIMIT)

    def can_skip(self, data: bytes) -> bool:
        """Whether lines of `data` that hold nothing of interest may be left out while not `busy`."""
        self.first_mixed = None
        if self._mixed_bytes is None or self.is_mixed:
            return True
        begin = 0
        try:
            for _ in range(_MOST_TRIES):
                match = self._mixed_bytes.search(data, begin, timeout=_LIMIT)
                if match is None:
                    return True
                start = data.rfind(b"\n", 0, match.start()) + 1
                end = data.find(b"\n", start)
                end = len(data) if end < 0 else end
                if match.end() <= end:
                    self.first_mixed = start, end
                    return True
                begin = end + 1
        except TimeoutError:
            return False
        return False

    @property
    def settled(self) -> int:
        """The number of the last line before which nothing is held back."""
        held = [self._held[0][0]] if self._held else []
        held += [self._record_number] if self._record else []
        return min(held) - 1 if held else self._pushed

    def plain_rule(self) -> PlainRule:
        """What a record of one line looks like, now."""
        never = [self._begin_quarantine, None if self.is_mixed else self._mixed]
        return PlainRule(
            headers=(self._start.source,) if self._start is not None else (),
            ends=(self._end.source,) if self._end is not None else (),
            never=(*(each.source for each in never if each is not None), *([r"^\{"] if self._json else [])),
            longest=self._cut,
            json=bool(self._json),
        )

    def push(self, line: str) -> list[Ready]:
        """The lines that are ready now, this one or others. Raises TimeoutError when a search takes too long."""
        self._pushed += 1
        passed = self._quarantined(line) if self._begin_quarantine is not None else [(self._pushed, line)]
        return [ready for number, one in passed for ready in self._unscreened(number, one)]

    def flush(self) -> list[Ready]:
        """Nothing comes for now: what is held back is ready, or incomplete for good."""
        held, self._held, self._budget = self._held, [], 0
        ready = [ready for number, one in held for ready in self._unscreened(number, one)]
        return ready + self._close_record()

    def _unscreened(self, number: int, line: str) -> list[Ready]:
        if self._json and line.startswith("{"):
            return self._in_json(number, line)
        if self._mixed is not None and not self.is_mixed:
            self.is_mixed = self._mixed.found(line, _LIMIT)
        if self._cut and len(line) > self._cut and _UUID.match(line):
            # What the server has cut off is gone: behind the cut stands what it wrote next, nobody's text.
            return [*self._in_records(number, line[: self._cut]), *self._in_records(number, line[self._cut :])]
        return self._in_records(number, line)

    def _in_json(self, number: int, line: str) -> list[Ready]:
        text = from_json(self._json, line)
        if text is not None:
            return [Ready(text, number, trusted=not self.is_mixed)]
        self.tampered += read_json(line) is None
        return []

    def _in_records(self, number: int, line: str) -> list[Ready]:
        trusted = not self.is_mixed
        if self._start is None:
            return [Ready(line, number, trusted)]
        if self._start.found(line, _LIMIT):
            before = self._close_record()
            if self._open is not None and self._open.found(line, _LIMIT) and not self._is_whole(line):
                self._record = [line]
                self._record_number = number
                return before
            return [*before, Ready(line, number, trusted)]
        if not self._record:
            return []
        self._record.append(line)
        joined = _NEWLINE.join(self._record)
        if self._is_whole(joined):
            self._record = []
            return [Ready(joined, self._record_number, trusted)]
        if len(joined) > _RECORD:
            self._close_record()
        return []

    def _is_whole(self, text: str) -> bool:
        return self._end is not None and self._end.found(text, _LIMIT)

    def _close_record(self) -> list[Ready]:
        """The record under way has no more lines. One line is what it says; several without end were written into, or cut."""
        record, self._record = self._record, []
        if len(record) == 1:
            return [Ready(record[0], self._record_number, not self.is_mixed)]
        self.tampered += bool(record)
        return []

    def _quarantined(self, line: str) -> list[tuple[int, str]]:
        size = len(line) + 1
        if self._skip > 0:
            self._skip -= size
            return []
        if self._inside or self._budget > 0:
            self._budget -= size
            return self._in_packet(line)
        begin = _search(self._begin_quarantine, line) if self._begin_quarantine is not None else None
        if begin is not None:
            size_of = begin.groupdict().get("bytes")
            self._skip = min(int(size_of), PACKET) if size_of else 0
            self._inside = not size_of
            self._budget = PACKET if self._inside else 0
        return [(self._pushed, line)]

    def _in_packet(self, line: str) -> list[tuple[int, str]]:
        """A line that is the packet's, or behind what may be the end of the packet or a part of it."""
        if self._end_quarantine is not None and self._end_quarantine.found(line, _LIMIT):
            # A second end: all since the first was the packet's as well.
            self.tampered += len(self._held)
            self._held = []
            self._inside = False
        elif not self._inside:
            self._held.append((self._pushed, line))
        elif self._looks_like_log(line):
            self.tampered += 1
        if self._budget > 0:
            return []
        self._inside = False
        held, self._held = self._held, []
        return held

    def _looks_like_log(self, line: str) -> bool:
        return self._line is not None and self._line.found(line, _LIMIT)


def _search(expression: Expression, text: str) -> regex.Match[str] | None:
    return expression.search(text, _LIMIT)


def _in_bytes(expression: Expression | None) -> regex.Pattern[bytes] | None:
    """The same search in undecoded lines."""
    return regex.compile(expression.source.encode(), regex.MULTILINE) if expression is not None else None


def declares(filter: Filter) -> bool:  # noqa: A002
    """Whether the filter asks for this stage at all."""
    return any(filter.options.get(key) for key in KEYS)
