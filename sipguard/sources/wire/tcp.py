"""Follows TCP connections and gives the SIP messages in them.

State is made by a packet of the server alone (its SYN-ACK), so that a flood of SYN costs nothing. What a client has sent is read
once the server has acknowledged it: nobody can put words into another's connection without its sequence numbers.
"""

from __future__ import annotations

from collections import OrderedDict
from typing import TYPE_CHECKING

from sipguard.sources.wire.framing import Stream
from sipguard.wire_model import Packet

if TYPE_CHECKING:
    from sipguard.sources.wire.ip import Segment

_SYN, _RST, _ACK = 2, 4, 16
_MOST_FLOWS = 20_000
_MOST_WAITING = 64 << 10
"""Bytes of one direction that wait for earlier ones, or to be acknowledged."""
_MOST_PIECES = 512
_MOST_IN_ALL = 16 << 20
_HALF = 1 << 31

Ends = tuple[str, int, str, int]


class _Half:
    """What one side sends."""

    __slots__ = ("next", "pieces", "stream", "waiting")

    def __init__(self, sequence: int) -> None:
        self.next = sequence
        """The sequence number that is read next."""
        self.pieces: dict[int, bytes] = {}
        self.waiting = 0
        self.stream = Stream()

    def keep(self, sequence: int, data: bytes) -> bool:
        """Keep a segment until it can be read; the first of several for one place counts. False when it is too much."""
        ahead = (sequence - self.next) % (2 * _HALF)
        if ahead >= _HALF:
            old = 2 * _HALF - ahead
            if old >= len(data):
                return True  # read already
            sequence, data = self.next, data[old:]
        known = self.pieces.get(sequence, b"")
        if len(data) <= len(known):
            return True
        self.pieces[sequence] = known + data[len(known) :]
        self.waiting += len(data) - len(known)
        return self.waiting <= _MOST_WAITING and len(self.pieces) <= _MOST_PIECES

    def read(self, until: int | None = None) -> bytes:
        """What follows without gap, up to a sequence number."""
        found = []
        while self.pieces:
            at = self.next if self.next in self.pieces else self._overlapping()
            if at is None:
                break
            data = self.pieces.pop(at)
            self.waiting -= len(data)
            data = data[(self.next - at) % (2 * _HALF) :]
            if until is not None:
                room = (until - self.next) % (2 * _HALF)
                if room >= _HALF:
                    room = 0
                if len(data) > room:
                    self.pieces[(self.next + room) % (2 * _HALF)] = data[room:]
                    self.waiting += len(data) - room
                    data = data[:room]
            if not data:
                break
            self.next = (self.next + len(data)) % (2 * _HALF)
            found.append(data)
        return b"".join(found)

    def _overlapping(self) -> int | None:
        for at in list(self.pieces):
            behind = (self.next - at) % (2 * _HALF)
            if behind < _HALF:
                if behind < len(self.pieces[at]):
                    return at
                self.waiting -= len(self.pieces.pop(at))
        return None


class _Flow:
    """One connection, from its client's side."""

    __slots__ = ("client", "confirmed", "server")

    def __init__(self, client: int, server: int) -> None:
        self.client = _Half(client)
        self.server = _Half(server)
        self.confirmed = False
        """The client has acknowledged the server's sequence number: it is where it says."""


class Connections:
    """The open connections: bounded in number and bytes; the oldest go first."""

    def __init__(self) -> None:
        self._flows: OrderedDict[Ends, _Flow] = OrderedDict()
        self.lost = 0
        """Connections that could not be followed any further: too many, too large, no SIP."""
        self._bytes = 0

    def __len__(self) -> int:
        return len(self._flows)

    def feed(self, segment: Segment, time: float, *, inbound: bool | None = None) -> list[Packet]:
        """The SIP messages that this segment completes."""
        ends = (segment.source, segment.source_port, segment.destination, segment.destination_port)
        back = (*ends[2:], *ends[:2])
        if segment.flags & _SYN:
            if segment.flags & _ACK and inbound is not True:  # what comes in is no answer of ours
                self._open(back, segment)
            return []
        if back in self._flows:
            found = self._from_server(self._flows[back], back, segment, time, inbound)
            ends = back
        elif ends in self._flows:
            self._from_client(self._flows[ends], ends, segment)
            found = []
        else:
            return []
        if segment.flags & _RST:
            self._close(ends)
        return found

    def _open(self, ends: Ends, segment: Segment) -> None:
        known = self._flows.get(ends)
        server = (segment.sequence + 1) % (2 * _HALF)
        if known is not None and not known.confirmed and known.server.next == server:
            return  # sent again
        self._close(ends)
        self._flows[ends] = _Flow(segment.acknowledged, server)
        while len(self._flows) > _MOST_FLOWS:
            self._close(next(iter(self._flows)))
            self.lost += 1

    def _close(self, ends: Ends) -> None:
        flow = self._flows.pop(ends, None)
        if flow is not None:
            self._bytes -= _size(flow)

    def _from_client(self, flow: _Flow, ends: Ends, segment: Segment) -> None:
        if segment.flags & _ACK and not flow.confirmed:
            flow.confirmed = segment.acknowledged == flow.server.next
        if not segment.payload or flow.client.stream.lost:
            return
        before = _size(flow)
        fits = flow.client.keep(segment.sequence, segment.payload)
        self._account(ends, flow, before, fits=fits)

    def _from_server(
        self, flow: _Flow, ends: Ends, segment: Segment, time: float, inbound: bool | None
    ) -> list[Packet]:
        before = _size(flow)
        found = []
        if segment.flags & _ACK and flow.confirmed:
            seen = None if inbound is None else not inbound
            for message in flow.client.stream.add(flow.client.read(segment.acknowledged)):
                found.append(_packet(time, ends, message, flow, seen))
        fits = True
        if segment.payload and flow.confirmed and not flow.server.stream.lost:
            fits = flow.server.keep(segment.sequence, segment.payload)
            for message in flow.server.stream.add(flow.server.read()):
                found.append(_packet(time, (*ends[2:], *ends[:2]), message, flow, inbound))
        self._account(ends, flow, before, fits=fits)
        return found

    def _account(self, ends: Ends, flow: _Flow, before: int, *, fits: bool) -> None:
        self._bytes += _size(flow) - before
        if not fits or (flow.client.stream.lost and flow.server.stream.lost):
            self._close(ends)
            self.lost += 1
        while self._bytes > _MOST_IN_ALL and self._flows:
            self._close(next(iter(self._flows)))
            self.lost += 1


def _size(flow: _Flow) -> int:
    return flow.client.waiting + flow.server.waiting + len(flow.client.stream) + len(flow.server.stream)


def _packet(time: float, ends: Ends, message: bytes, flow: _Flow, inbound: bool | None) -> Packet:
    transport = "ws" if flow.client.stream.is_websocket else "tcp"
    return Packet(time, *ends, transport, message, inbound)  # type: ignore[arg-type]
