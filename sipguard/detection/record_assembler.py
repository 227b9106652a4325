"""From the lines of one log to the records that its server meant: `record_rule` has the rule, this is its exact way.

Everything here is bounded: what is held back, and for how long.
"""

from __future__ import annotations

from functools import partial
from math import inf
from typing import TYPE_CHECKING

from sipguard.detection.cuts import Cuts
from sipguard.detection.hanging import HangingHeads
from sipguard.detection.json_lines import from_json, read_json
from sipguard.detection.long_fields import LongFields
from sipguard.detection.own_thread import OwnThread
from sipguard.detection.packets import PACKET, Packets
from sipguard.detection.record_rule import DOUBT_SETTLES, FOLDED_SETTLES, RECORD_SETTLES, RecordRule, span_in
from sipguard.detection.results import Counts, Ready
from sipguard.detection.session_tail import BYTES, SessionTail

if TYPE_CHECKING:
    from collections.abc import Callable

    from sipguard.model import Filter

_RECORD = 3 * PACKET
"""Characters of a record that are kept: of a longer one its beginning, and half as much of its end."""
_MOST_TRIES = 20
"""Matches over several lines, which are none, after which every line is read instead."""
_MOST_LINES = 40
"""Lines of a record whose thread is known: a caller's field that may have line feeds is shorter."""
_NEWLINE = "#012"
_CUT = "…"
"""Stands behind what was cut: no address in it can be told from one that its writer wrote behind it."""


class RecordAssembler:
    """The stage before the regexes for one log. Feed it every line, in order, except where it says that it need not be."""

    def __init__(
        self,
        filter: Filter,  # noqa: A002
        counts: Counts,
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
        self._packets = Packets(filter, begin, counts) if begin is not None else None
        self._thread = OwnThread.of_filter(filter)
        self._long = LongFields.of_filter(filter, self._may_be_of_event)
        self._heads = HangingHeads(filter, self._may_be_of_event)
        self._cuts = Cuts(self.rule, self._thread, self._heads, decode)
        self._doubted: list[tuple[Ready, str]] = []
        """Records, and their threads' numbers, that wait until it is known what the log has."""
        self.tail = SessionTail(self.rule.session) if self.rule.session is not None else None
        self.may_have_strangers = self._thread is not None
        """Whether a line of the chunk at hand may belong to a stranger's text that begins before it. If not, `is_strangers` and
        `end_chunk` need not be called."""
        self._decode = decode
        self.is_mixed = False
        """Whether others than the server could have written lines of this log as a whole: none is trusted from now on."""
        self.first_mixed: tuple[int, int] | None = None
        """Where in the data that `can_skip` was asked about the line lies from which on nothing is trusted."""
        self._counts = counts
        self.pushed = self._held_bytes = 0  # lines that have gone by; of the record under way
        self._record: list[str] = []
        self._record_size = self._record_number = 0
        self._record_time: float | None = None
        self._is_open = self._is_folded = False
        self._chunk, self._before = b"", list[str]()
        """The chunk at hand, and what had come of the record under way when it began."""
        self._time: float | None = None
        self._number = ""
        """Of the thread that has begun the record under way; empty if that is not known."""
        self._last: list[str] = []
        """Of that record, what hangs on another in it, or all."""
        self._hangs = self._hangs_at = 0
        """The number of the last line in which a record hangs on a stranger's text, and where in it."""

    @property
    def busy(self) -> bool:
        """Whether the next line matters whatever it holds: a record or a packet is under way."""
        must_judge = bool(self._doubted) and self._heads.is_known
        return self._is_open or must_judge or (self._packets is not None and self._packets.busy)

    @property
    def held(self) -> int | None:
        """How many bytes before the end the record begins that `release` gives when nothing more comes; None for no record."""
        waits = self._is_open or (bool(self._doubted) and self._heads.can_settle)
        waits = waits or (self._packets is not None and self._packets.budget > 0)
        waits = waits or (self._long is not None and self._long.carried is not None)
        return self._held_bytes if waits else None

    def can_skip(self, data: bytes) -> bool:
        """Whether lines of `data` that hold nothing of interest may be left out while not `busy`."""
        self.first_mixed = None
        if self.rule.mixed is None or self.is_mixed:
            return True
        begin = 0
        try:
            for _ in range(_MOST_TRIES):
                match = span_in(self.rule.mixed, data, begin)
                if match is None:
                    return True
                start = data.rfind(b"\n", 0, match[0]) + 1
                end = (data.find(b"\n", start) + 1 or len(data) + 1) - 1
                if self._may_be_of_event(data, start) or (self._long is not None and self._long.reaches):
                    return False
                if match[1] <= end:
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
        lines: list[str] = []
        while start and len(lines) < _MOST_LINES:
            begin = data.rfind(b"\n", 0, start - 1) + 1
            lines.insert(0, self._decode(data[begin : start - 1]))
            if number := self._thread.number(lines[0]):
                return self.rule.may_go_on("\r".join(self._thread.last(lines, number)))
            start = begin
        # What is left is in the chunk before.
        before = self._before if not start and data is self._chunk else []
        return bool(before) and self.rule.may_go_on("\r".join([*before, *lines]))

    def strangers(self, data: bytes) -> Callable[[int], bool] | None:
        """`is_strangers` for the chunk at hand; None where it holds for no line of it."""
        if self.tail is not None:
            return partial(self.tail.covers, data) if self.may_have_strangers else None
        return partial(self.is_strangers, data) if self._long is not None and self._long.reaches else None

    def is_strangers(self, data: bytes, begin: int) -> bool:
        """Whether the line at `begin` of the chunk at hand may be a caller's, as a part of the message before it.

        That is the unmarked rest of a message of a session, or a line in a field that may hold any.
        """
        if self.tail is not None:
            return self.may_have_strangers and self.tail.covers(data, begin)
        if self._long is None:
            return False
        try:
            return self._long.covers(begin, only_records=self._heads.is_known and not self.is_mixed)
        except TimeoutError:
            return True

    def behind_tail(self, data: bytes, begin: int, end: int) -> int:
        """Where in a stranger's line, which goes by, the server goes on, as it has cut what is before that; else -1."""
        place = self.tail.cut_in(data, begin, end) if self.tail is not None else 0
        if place and self.rule.may_hang(self._decode(data[begin:place]), self._decode(data[place:end])):
            self._hangs, self._hangs_at = self.pushed + 1, place - begin
            self._counts.tampered += 1
            return place
        self.skip(self._decode(data[begin:end]))
        return -1

    def begin_chunk(self, data: bytes) -> None:
        """Lines of `data` come next."""
        if self.rule.left_to_learn > 0:
            self.rule.learn(data)
        if (tail := self.tail) is not None:
            if tail.is_new:
                tail.begin(data)
            is_needed = tail.before or len(data) > BYTES or tail.find(data) is not None
            self.may_have_strangers = self._thread is not None or bool(is_needed)
        if self._long is not None:
            self._long.begin(data, self._number)
        if self._thread is not None:
            self._chunk, self._before = data, list(self._last) if self._number else []
        if self._thread is not None or self.rule.hanging is not None:
            self._heads.note(data)

    def end_chunk(self, data: bytes) -> None:
        """All of `data` was fed, or left out."""
        self._chunk = b""
        if self.tail is not None:
            self.tail.end(data)
        if self._long is not None:
            try:
                self._long.end(data)
            except TimeoutError:
                self._long.settle()

    @property
    def settled(self) -> int:
        """The number of the last line before which nothing is held back."""
        first = self._packets.first_held if self._packets is not None else None
        held = [first] if first is not None else []
        held += [self._record_number] if self._is_open else []
        held += [one.number for one, _ in self._doubted[:1]]
        return min(held) - 1 if held else self.pushed

    def begins_record(self, line: str) -> bool:
        """Whether the line ends the record before it."""
        try:
            if self._number:
                return not self._is_of_event(line)
            return self.rule.begins(line) or self.rule.opens_packet(line) or not self.rule.goes_on(line)
        except TimeoutError:
            return False

    def push(self, raw: bytes, time: float | None = None) -> list[Ready]:
        """The records that are ready now, of this line (without its LF) or others; `time` is its own, if it brings one."""
        self.pushed += 1
        self._time = time
        packets, rest, is_cut = self._packets, raw, True
        try:
            ready = self._judged() if self._doubted and self._heads.is_known else []
            while is_cut:  # as one line after the other
                text = self._decode(rest).rstrip("\r")
                in_packet = packets is not None and packets.busy
                goes_on = bool(self._number) and not in_packet and self._is_of_event(text)
                may_be_cut = 0 < self.rule.cut < len(rest) and not in_packet and not goes_on
                place = self._cuts.place(rest, text) if may_be_cut else 0
                if is_cut := place > 0:
                    # What the server has cut off is gone: behind the cut stands what it wrote next, nobody's text.
                    self._counts.tampered += self._accuses(text)
                    ready += self._in_records(self.pushed, self._decode(rest[:place]) + _CUT)
                    rest = rest[place:]
                elif goes_on:
                    ready += self._go_on(text)
                elif packets is None or not (in_packet or packets.begin.holds in text):
                    ready += self._in_records(self.pushed, text)
                else:
                    for number, _, outside in packets.push((self.pushed, rest, text)):
                        ready += self._in_records(number, outside)
        except TimeoutError:
            self._counts.timed_out += 1
            return []
        if self._is_open:
            before = self._hangs_at if self.pushed == self._hangs else 0
            self._held_bytes = before + len(raw) + 1 + (self._held_bytes if self._record_number < self.pushed else 0)
        return ready

    def ended_by(self, raw: bytes) -> list[Ready]:
        """The record under way, if the next line ends it; that line has still to be pushed, or left out."""
        in_packet = self._packets is not None and self._packets.busy
        ends = self._is_open and not in_packet and self.begins_record(self._decode(raw))
        return self._close_before_another() if ends else []

    def skip(self, line: str) -> None:
        """A line goes by in which nothing counts."""
        self.pushed += 1
        self._counts.tampered += self._accuses(line)

    def break_off(self, line: str) -> None:
        """The file ends within this line. It counts for nobody, nor does a record that it may be a part of."""
        self.skip(line)
        if self._is_open and not self.begins_record(line):
            self.close_record(tampered=True)

    def release(self, idle: float) -> list[Ready]:
        """Nothing has come for `idle` seconds, and the log ends here: what is whole by now."""
        ready: list[Ready] = []
        try:
            if self._is_open and idle >= (FOLDED_SETTLES if self._is_folded or self._number else RECORD_SETTLES):
                self._counts.at_end += 1
                ready = self.close_record()
            if self._long is not None and idle >= FOLDED_SETTLES:
                self._long.settle()
            if idle >= DOUBT_SETTLES:
                self._heads.settle()
            if idle == inf or self._heads.is_known:
                ready += self._judged()
            if self._packets is not None and idle >= FOLDED_SETTLES and self._packets.budget > 0:
                passed = [one for line in self._packets.release() for one in self._packets.push(line)]
                for number, _, text in passed:
                    ready += self._in_records(number, text)
        except TimeoutError:
            self._counts.timed_out += 1
            return []
        return ready

    def _is_of_event(self, line: str) -> bool:
        """Whether the line belongs to the record under way, whatever it looks like, as its thread has not begun another."""
        if self._thread is None:
            return False
        ended = self.rule.ended
        has_ended = ended is not None and ended.found("\r".join(self._last))
        return not has_ended or self._thread.number(line) != self._number

    def _go_on(self, line: str) -> list[Ready]:
        """A further line of a record whose thread is known: it ends where its server can have put no more of a caller's."""
        assert self._thread is not None  # noqa: S101 - told apart by the caller
        self._record.append(line)
        self._is_folded = True
        hung = self._thread.hung(line, self._number)
        self._last = [hung.texts[-1]] if hung is not None else [*self._last, line]
        few = len(self._last) < _MOST_LINES and len(self._record) < 4 * _MOST_LINES
        # Joined by one character, as long as the line feed that was there.
        return [] if few and self.rule.may_go_on("\r".join(self._last)) else self.close_record()

    def _in_json(self, number: int, line: str) -> list[Ready]:
        text = from_json(self.rule.json, line)
        if text is not None:
            return [Ready(text, number, not self.is_mixed, self._time)]
        self._counts.tampered += read_json(line) is None
        return []

    def _in_records(self, number: int, line: str) -> list[Ready]:
        """A line that stands in no packet."""
        rule = self.rule
        if rule.json and line.startswith("{"):
            return self._in_json(number, line)
        if rule.mixed is not None and not self.is_mixed:
            self.is_mixed = rule.mixed.found(line)
        alone = Ready(line, number, not self.is_mixed, self._time)
        if not rule.has_records:
            return self._whole(alone, "")
        if rule.begins(line) or (self._is_open and rule.opens_packet(line)):
            before = self._close_before_another() if self._is_open else []
            thread = self._thread.number(line) if self._thread is not None else ""
            last = self._thread.last([line], thread) if self._thread is not None else [line]
            if number == self._hangs or rule.may_go_on(last[0]):
                self._last = last
                self._record, self._record_size, self._record_number = [line], len(line), number
                self._record_time, self._number = self._time, thread
                self._is_open, self._is_folded = True, False
                return before
            return [*before, *self._whole(alone, thread)]
        if self._is_open and not rule.goes_on(line):
            return self._close_before_another()
        if self._is_open:
            self._is_folded = True
            line = rule.without_prefix(line)
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
        self._counts.tampered += 1

    def _close_before_another(self) -> list[Ready]:
        """Another record follows the one under way, at once."""
        self._counts.by_header += self._is_open
        unsure = self.rule.unsure
        is_unsure = self._is_open and bool(self._number) and unsure is not None and unsure.found("\r".join(self._last))
        return self.close_record(tampered=is_unsure)

    def close_record(self, *, tampered: bool = False) -> list[Ready]:
        """The record under way has no more lines. It counts for nobody if it may be `tampered` with."""
        if not self._is_open:
            return []
        record = Ready(_NEWLINE.join(self._record), self._record_number, not self.is_mixed, self._record_time)
        thread = self._number
        # What hangs on a caller's text may be a part of it, if that goes on.
        tampered = tampered or (self._is_folded and self._record_number == self._hangs)
        self._counts.tampered += tampered
        self._record, self._is_open, self._number, self._held_bytes = [], False, "", 0
        if tampered:
            return []
        return [record] if self.rule.hanging is None else self._whole(record, thread)

    def _whole(self, one: Ready, thread: str) -> list[Ready]:
        """A record that is complete, or hangs in its line on one that was cut."""
        hanging = self.rule.hanging
        if hanging is None or not hanging.found(one.text):
            return [one]
        if not self._heads.is_known and self._heads.heads(one.text):
            self._counts.tampered += 1
            self._doubted.append((one, thread))
            return []
        return self._read_in_doubt(one, thread)

    def _read_in_doubt(self, one: Ready, thread: str) -> list[Ready]:
        """A record in which others seem to hang, when no more is to be known of what the log has."""
        has_others = self.is_mixed or self.first_mixed is not None or not self._heads.is_known
        heads = self._heads.heads(one.text) if has_others else []
        self._counts.tampered += bool(heads)
        if heads and self._heads.may_hang(one.text, heads):
            return []
        hung = self._thread.hung(one.text, thread) if self._thread is not None else None
        if hung is None:
            return [one]
        self._counts.tampered += not heads
        return [one._replace(text=hung.texts[-1]) if hung.is_foreign else one._replace(hung=tuple(hung.texts))]

    def _judged(self) -> list[Ready]:
        """What becomes of the records that have waited: it is known now what the log has, or no more of it comes."""
        doubted, self._doubted = self._doubted, []
        return [ready for one, thread in doubted for ready in self._read_in_doubt(one, thread)]
