"""`sipguard replay` of captures: the attempts in them, in the order of their times."""

from __future__ import annotations

import heapq
import math
import zlib
from operator import attrgetter
from typing import TYPE_CHECKING

from sipguard.cli.open_files import Files, open_file
from sipguard.detection.sip.replies import PATIENCE
from sipguard.detection.sip.tracker import Tracker
from sipguard.policy.ignore import own_addresses
from sipguard.policy.sight import OffWire, Presence
from sipguard.policy.wire import event_of
from sipguard.sources.captures.files import is_capture
from sipguard.sources.captures.reader import Capture

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from sipguard.model import LogEvent
    from sipguard.wire_model import Attempt

_EDGE = 2.5
"""Seconds around a capture in which lines are still about it: one that begins or ends with an attempt has no time to spare."""
_MISSING = "packets are missing from the capture"
_MOST_ADDRESSES = 1_000_000
_PATIENCE = 3600.0
"""Seconds after the end in which what was not answered becomes known to be so."""


class Captures:
    """Several captures, read as one by the times in them."""

    def __init__(self, names: Sequence[str]) -> None:
        self.captures = [Capture(name) for name in names]
        self.tracker = Tracker(own=frozenset(own_addresses()), patience=PATIENCE)
        self.off_wire: OffWire | None = None
        """Of the log that they are held against."""
        self._present = Presence(most=_MOST_ADDRESSES)
        self.unanswered = 0
        """Requests with credentials of which no answer was recorded."""

    @property
    def packets(self) -> int:
        """How many were read."""
        return sum(one.packets for one in self.captures)

    @property
    def spans(self) -> tuple[float | None, float | None]:
        """The times of the first and the last packet."""
        return (
            min((one.first for one in self.captures if one.first is not None), default=None),
            max((one.last for one in self.captures if one.last is not None), default=None),
        )

    def events(self, files: Files) -> list[LogEvent]:
        """The failures and logins in them, by time. Raises `SipguardError`."""
        events = [event_of(one) for one in self.attempts(files)]
        return [event for event in events if event is not None]

    def attempts(self, files: Files) -> list[Attempt]:
        """All attempts in them, by time. Raises `SipguardError`."""
        attempts = sorted(self._attempts(files), key=attrgetter("time"))
        self.unanswered = sum(one.verdict == "seen" for one in attempts)
        # Which addresses are servers is known at the end. They are never accused: they have failed at others' servers.
        servers = self.tracker.servers
        blind = _MISSING if self.tracker.unpaired else ""
        return [one._replace(blind=one.blind or blind) for one in attempts if one.address not in servers]

    def unable(self, address: str, line: str) -> str:
        """Why the captures can know nothing of what a line is about."""
        if self.off_wire is not None and self.off_wire.tells(line):
            return "it is not about SIP"
        return "a server's own address" if address in self.tracker.servers else ""

    def blindness(self, since: float, until: float, address: str) -> str:
        """Why packets between these times may be missing."""
        first, last = self.spans
        if first is None or last is None or since < first - _EDGE or until > last + _EDGE:
            return "the capture does not reach that far"
        if any(one.cut for one in self.captures) or self.tracker.unpaired:
            return _MISSING
        return self.tracker.blindness(since, until, address) or (
            "a table was full" if self._present.lost_until >= since else ""
        )

    @property
    def read_until(self) -> float:
        """A capture is known as a whole."""
        return math.inf

    def heard_from(self, address: str) -> bool:
        """Whether the address has sent anything."""
        return address in self._present

    def waiting(self, address: str) -> list[Attempt]:  # noqa: ARG002 - as a live wire is asked
        """Nothing: at the end of a capture all that was not answered is known to be so."""
        return []

    def unmetered(self, *, seen: bool) -> str:  # noqa: ARG002
        """Nothing: what the jail would have done is asked, where the meter works."""
        return ""

    def session(self, address: str, since: float, until: float) -> bool:  # noqa: ARG002
        """Nothing: encrypted connections are not looked for in captures."""
        return False

    def notes(self) -> list[str]:
        """What the captures lack, for people."""
        notes = []
        cut, unpaired = sum(one.cut for one in self.captures), self.tracker.unpaired
        if cut:
            notes.append(f"{cut} packets are incomplete, what is in them was not read: record with tcpdump -s 0")
        if self.unanswered or unpaired:
            notes.append(
                f"{self.unanswered} requests without their answer, {unpaired} refusals without their request: "
                "packets are missing, and with them proof"
            )
        for name, link in sorted((one.name, link) for one in self.captures for link in one.unknown_links):
            notes.append(f"{name}: packets of link type {link} cannot be read")
        return notes

    def _attempts(self, files: Files) -> Iterator[Attempt]:
        streams = [one.messages(files.open(one.name)) for one in self.captures]
        last = 0.0
        for packet in heapq.merge(*streams, key=attrgetter("time")) if len(streams) > 1 else streams[0]:
            last = packet.time
            self._present.saw((packet.source,), 0.0)  # whenever it was: a capture is known as a whole
            yield from self.tracker.feed(packet)
        yield from self.tracker.expire(last + _PATIENCE)


def captures_among(names: Sequence[str]) -> list[str]:
    """Which of these files are captures, by their first bytes; standard input (`-`) is a log. Raises `SipguardError`."""
    return [name for name in names if name != "-" and _is_capture(name)]


def _is_capture(name: str) -> bool:
    with open_file(name) as file:
        try:
            return is_capture(file.read(4))
        except (OSError, EOFError, zlib.error):
            return False  # whoever reads it says what is wrong
