"""From the lines of one log to the records that its server meant: `record_rule` has the rule, this is its exact way.

Everything here is bounded: what is held back, and for how long.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

from sipguard.detection.json_lines import from_json, read_json
from sipguard.detection.own_thread import OwnThread
from sipguard.detection.packets import PACKET, Numbered, Packets
from sipguard.detection.plain_rule import PlainRule
from sipguard.detection.record_rule import FOLDED_SETTLES, RECORD_SETTLES, SEARCH_LIMIT, RecordRule, in_bytes
from sipguard.detection.session_tail import SessionTail

if TYPE_CHECKING:
    from collections.abc import Callable

    from sipguard.detection.expressions import Expression
    from sipguard.model import Filter

_RECORD = 3 * PACKET
"""Characters of a record that are kept: of a longer one its beginning, and half as much of its end."""
_KNOWN = 65_536
"""Bytes of a log after which it is known what it has."""
_MOST_TRIES = 20
"""Matches over several lines, which are none, after which every line is read instead."""
_MOST_LINES = 40
"""Lines of a record whose thread is known: a caller's field that may have line feeds is shorter."""
_NEWLINE = "#012"
_CUT = "…"
"""Stands behind what was cut: no address in it can be told from one that its writer wrote behind it."""


class Ready(NamedTuple):
    """A record for the detector."""

    text: str
    number: int
    """Which line it is, counted from 1; of a record of several, its first."""
    trusted: bool
    """Nobody but the server can have written it as a whole."""
    time: float | None = None
    """When it was logged, where its source tells that, as the journal does; POSIX seconds."""
    hung: tuple[str, ...] = ()
    """What to read instead, one after another, while nothing is told: records that seem to hang on others in this line."""


class RecordAssembler:
    """The stage before the regexes for one log. Feed it every line, in order, except where it says that it need not be."""

    def __init__(
        self,
        filter: Filter,  # noqa: A002
        *,
        decode: Callable[[bytes], str] = bytes.decode,
        accuses: Callable[[str], bool] = lambda _line: True,
    ) -> None:
        """`accuses` tells whether a line could accuse somebody: others are left out, or are none to be counted as tampered.

        Raises ConfigError when a key's regex does not compile.
        """
        self._accuses = accuses
        self.rule = RecordRule(filter)
        begin = self.rule.begin_packet
        self._packets = Packets(filter, begin) if begin is not None else None
        self._thread = OwnThread.of_filter(filter)
        self._tail = SessionTail(self.rule.session) if self.rule.session is not None else None
        self._decode = decode
        self.is_mixed = False
        """Whether others than the server could have written lines of this log as a whole: none is trusted from now on."""
        self.first_mixed: tuple[int, int] | None = None
        """Where in the data that `can_skip` was asked about the line lies from which on nothing is trusted."""
        self.by_header = self.at_end = 0
        """Records that were held until the next began, or until nothing more came."""
        self._tampered = 0
        self.pushed = 0
        """Lines that have gone by."""
        self._record: list[str] = []
        self._record_size = 0
        self._record_number = 0
        self._record_time: float | None = None
        self.held_bytes = 0
        """Of the record under way."""
        self._is_open = self._is_folded = False
        self._time: float | None = None
        self._seen = 0
        self._number = ""
        """Of the thread that has begun the record under way; empty if that is not known."""
        self._last: list[str] = []
        """Of that record, what hangs on another in it, or all."""

    @property
    def tampered(self) -> int:
        """Lines and records that were not what they seemed."""
        return self._tampered + (self._packets.tampered if self._packets is not None else 0)

    @property
    def expressions(self) -> tuple[Expression, ...]:
        """As `RecordRule.watched`."""
        return self.rule.watched

    @property
    def busy(self) -> bool:
        """Whether the next line matters whatever it holds: a record or a packet is under way."""
        return self._is_open or (self._packets is not None and self._packets.busy)

    @property
    def waits(self) -> bool:
        """Whether something is held back that `release` gives when nothing more comes."""
        return self._is_open or (self._packets is not None and self._packets.waits)

    def opens_packet(self, line: str) -> bool:
        """Whether strangers' text follows this line. Raises TimeoutError."""
        begin = self.rule.begin_packet
        return begin is not None and begin.found(line, SEARCH_LIMIT)

    def can_skip(self, data: bytes) -> bool:
        """Whether lines of `data` that hold nothing of interest may be left out while not `busy`."""
        self.first_mixed = None
        if self.rule.mixed is None or self.is_mixed:
            return True
        mixed, begin = in_bytes(self.rule.mixed), 0
        try:
            for _ in range(_MOST_TRIES):
                match = mixed.search(data, begin, timeout=SEARCH_LIMIT)
                if match is None:
                    return True
                start = data.rfind(b"\n", 0, match.start()) + 1
                end = data.find(b"\n", start)
                end = len(data) if end < 0 else end
                if self._may_be_of_event(data, start):
                    return False
                if match.end() <= end:
                    self.first_mixed = start, end
                    return True
                begin = end + 1
        except TimeoutError:
            return False
        return False

    def _may_be_of_event(self, data: bytes, start: int) -> bool:
        """Whether the line at `start` may belong to a record whose thread is known, and look like another to deceive."""
        if self._thread is None:
            return False
        if not start:
            return bool(self._number)
        before = data[data.rfind(b"\n", 0, start - 1) + 1 : start - 1]
        return len(before) < _MOST_LINES or self.rule.may_go_on(self._decode(before))

    def is_behind_session(self, data: bytes, begin: int) -> bool:
        """Whether the line at `begin` of the chunk at hand may be the unmarked rest of a message of a session."""
        return self._tail is not None and self._tail.covers(data, begin)

    def begin_chunk(self, data: bytes) -> None:
        """Lines of `data` come next."""
        self.rule.learn(data)
        self._seen += len(data)

    def end_chunk(self, data: bytes) -> None:
        """All of `data` was fed, or left out."""
        if self._tail is not None:
            self._tail.end(data)

    def plain_rule(self) -> PlainRule:
        """What a record of one line looks like, now."""
        return self.rule.plain(is_mixed=self.is_mixed)

    @property
    def settled(self) -> int:
        """The number of the last line before which nothing is held back."""
        first = self._packets.first_held if self._packets is not None else None
        held = [first] if first is not None else []
        held += [self._record_number] if self._is_open else []
        return min(held) - 1 if held else self.pushed

    def begins_record(self, line: str) -> bool:
        """Whether the line ends the record before it."""
        try:
            if self._number:
                return not self._is_of_event(line)
            return self.rule.begins(line) or self.opens_packet(line) or not self.rule.goes_on(line)
        except TimeoutError:
            return False

    def push(self, raw: bytes, time: float | None = None) -> list[Ready]:
        """The records that are ready now, of this line (without its LF) or others; `time` is its own, if it brings one.

        Raises TimeoutError.
        """
        self.pushed += 1
        self._time = time
        ready = self._push(self.pushed, raw)
        if self._is_open:
            self.held_bytes = len(raw) + 1 + (self.held_bytes if self._record_number < self.pushed else 0)
        return ready

    def ended_by(self, raw: bytes) -> list[Ready]:
        """The record under way, if the next line ends it; that line has still to be pushed, or left out."""
        in_packet = self._packets is not None and self._packets.busy
        if not self._is_open or in_packet or not self.begins_record(self._decode(raw)):
            return []
        self.by_header += 1
        return self._close_record()

    def skip(self, line: str) -> None:
        """A line goes by in which nothing counts."""
        self.pushed += 1
        self._tampered += self._accuses(line)

    def release(self, idle: float) -> list[Ready]:
        """Nothing has come for `idle` seconds, and the log ends here: what is whole by now."""
        if self._is_open and idle >= (FOLDED_SETTLES if self._is_folded or self._number else RECORD_SETTLES):
            self.at_end += 1
            ready = self._close_record()
        else:
            ready = []
        if self._packets is None or idle < FOLDED_SETTLES or not self._packets.waits:
            return ready
        held = self._packets.release()
        for line in held:
            ready += [one for passed in self._packets.push(line) for one in self._unscreened(passed)]
        return ready

    def _push(self, number: int, raw: bytes) -> list[Ready]:
        text = self._decode(raw).rstrip("\r")
        packets = self._packets
        if packets is not None and packets.busy:
            return [one for line in packets.push((number, raw, text)) for one in self._unscreened(line)]
        if self._is_of_event(text):
            return self._go_on(text)
        place = self._cut_at(raw, text)
        if place:
            # What the server has cut off is gone: behind the cut stands what it wrote next, nobody's text.
            self._tampered += self._accuses(text)
            before = self._in_records(number, self._decode(raw[:place]) + _CUT)
            return before + self._push(number, raw[place:])
        if packets is None:
            return self._unscreened((number, raw, text))
        return [one for line in packets.push((number, raw, text)) for one in self._unscreened(line)]

    def _cut_at(self, raw: bytes, text: str) -> int:
        """Where in the line the server has cut its record, and the next one begins; 0 where it has not."""
        rule = self.rule
        if not rule.cut or len(raw) <= rule.cut or rule.cut_from is None:
            return 0
        match = rule.cut_from.search(text[: rule.cut], SEARCH_LIMIT)
        if match is None:
            return 0
        place = len(text[: match.end()].encode("utf-8", "replace")) + rule.cut
        if len(raw) <= place:
            return 0
        behind = self._decode(raw[place:])
        return place if not rule.has_records or rule.begins(behind) or self.opens_packet(behind) else 0

    def _is_of_event(self, line: str) -> bool:
        """Whether the line belongs to the record under way, whatever it looks like, as its thread has not begun another."""
        return bool(self._number) and self._thread is not None and self._thread.number(line) != self._number

    def _go_on(self, line: str) -> list[Ready]:
        """A further line of a record whose thread is known: it ends where its server can have put no more of a caller's."""
        assert self._thread is not None  # noqa: S101 - told apart by the caller
        self._record.append(line)
        self._is_folded = True
        hung = self._thread.hung(line, self._number)
        self._last = [hung.texts[-1]] if hung is not None else [*self._last, line]
        few = len(self._last) < _MOST_LINES and len(self._record) < 4 * _MOST_LINES
        # Joined by one character, as long as the line feed that was there.
        return [] if few and self.rule.may_go_on("\r".join(self._last)) else self._close_record()

    def _unscreened(self, line: Numbered) -> list[Ready]:
        number, _, text = line
        rule = self.rule
        if rule.json and text.startswith("{"):
            return self._in_json(number, text)
        if rule.mixed is not None and not self.is_mixed:
            self.is_mixed = rule.mixed.found(text, SEARCH_LIMIT)
        return self._in_records(number, text)

    def _in_json(self, number: int, line: str) -> list[Ready]:
        text = from_json(self.rule.json, line)
        if text is not None:
            return [self._ready(text, number)]
        self._tampered += read_json(line) is None
        return []

    def _in_records(self, number: int, line: str) -> list[Ready]:
        if not self.rule.has_records:
            return self._whole(self._ready(line, number), "")
        if self.rule.begins(line) or (self._is_open and self.opens_packet(line)):
            self.by_header += self._is_open
            before = self._close_record()
            thread = self._thread.number(line) if self._thread is not None else ""
            hung = self._thread.hung(line, thread) if self._thread is not None else None
            last = hung.texts[-1] if hung is not None else line
            if self.rule.may_go_on(last):
                self._last = [last]
                self._record, self._record_size, self._record_number = [line], len(line), number
                self._record_time, self._number = self._time, thread
                self._is_open, self._is_folded = True, False
                return before
            return [*before, *self._whole(self._ready(line, number), thread)]
        if self._is_open and not self.rule.goes_on(line):
            self.by_header += 1
            return self._close_record()
        if self._is_open:
            self._is_folded = True
            line = self.rule.without_prefix(line)
            self._record.append(line)
            self._record_size += len(line) + len(_NEWLINE)
            if self._record_size > 2 * _RECORD:
                self._shorten()
        return []

    def _shorten(self) -> None:
        """Leave out the middle of a record that is longer than any of the server's own."""
        joined = _NEWLINE.join(self._record)
        kept = joined[: _RECORD // 2] + _CUT + joined[-_RECORD // 2 :]
        self._record, self._record_size = [kept], len(kept)
        self._tampered += 1

    def _close_record(self) -> list[Ready]:
        """The record under way has no more lines."""
        if not self._is_open:
            return []
        record, self._record, self._is_open = _NEWLINE.join(self._record), [], False
        thread, self._number, self.held_bytes = self._number, "", 0
        return self._whole(self._ready(record, self._record_number)._replace(time=self._record_time), thread)

    def _whole(self, one: Ready, thread: str) -> list[Ready]:
        """A record that is complete, or hangs in its line on one that was cut."""
        hanging, other = self.rule.hanging, self.rule.hanging_other
        if hanging is None or not hanging.found(one.text, SEARCH_LIMIT):
            return [one]
        doubted = self.is_mixed or self.first_mixed is not None or self._seen < _KNOWN
        if doubted and other is not None and other.found(one.text, SEARCH_LIMIT):
            self._tampered += 1
            return []
        hung = self._thread.hung(one.text, thread) if self._thread is not None else None
        if hung is None:
            return [one]
        self._tampered += 1
        return [one._replace(text=hung.texts[-1]) if hung.is_foreign else one._replace(hung=tuple(hung.texts))]

    def _ready(self, line: str, number: int) -> Ready:
        return Ready(line, number, not self.is_mixed, self._time)
