"""From a capture to its SIP messages: those on the wire, or those that HEP packets carry."""

from __future__ import annotations

from typing import TYPE_CHECKING, BinaryIO

from sipguard.sources import hep_packet
from sipguard.sources.captures import files, link
from sipguard.sources.wire import ip
from sipguard.sources.wire.tcp import Connections
from sipguard.wire_model import Packet

if TYPE_CHECKING:
    from collections.abc import Iterator


class Capture:
    """One capture file. `packets` counts what was read; `cut` what was recorded in part, or could not be followed."""

    def __init__(self, name: str) -> None:
        self.name = name
        self.packets = 0
        self.first: float | None = None
        self.last: float | None = None
        self.unknown_links: set[int] = set()
        self._is_hep: bool | None = None
        self._cut = 0
        self._ip = ip.Reader()
        self._connections = Connections()

    @property
    def cut(self) -> int:
        """Packets and connections of which a part is missing: the evidence in them is too."""
        return self._cut + self._ip.cut + self._ip.fragments.dropped + self._connections.lost

    def messages(self, file: BinaryIO) -> Iterator[Packet]:
        """The SIP messages, in the order of the file. Raises `SipguardError` when it is damaged."""
        for frame in files.frames(file, self.name):
            self.packets += 1
            self.first = frame.time if self.first is None else min(self.first, frame.time)
            self.last = frame.time if self.last is None else max(self.last, frame.time)
            if frame.length > len(frame.data):
                self._cut += 1
            found = link.network(frame.link, frame.data)
            if found is None:
                if not link.knows(frame.link):
                    self.unknown_links.add(frame.link)
                continue
            segment = self._ip.read(found.packet, frame.time)
            if segment is not None:
                yield from self._messages(segment, frame.time, found.inbound)

    def _messages(self, segment: ip.Segment, time: float, inbound: bool | None) -> Iterator[Packet]:
        if segment.protocol == ip.TCP:
            yield from self._connections.feed(segment, time, inbound=inbound)
            return
        if self._is_hep is None and segment.payload:
            # Decided once: anybody can send a HEP packet to a SIP port, and write in it what he likes.
            self._is_hep = segment.payload.startswith(hep_packet.MAGIC)
        if not self._is_hep:
            source, destination = (segment.source, segment.source_port), (segment.destination, segment.destination_port)
            yield Packet(time, *source, *destination, "udp", segment.payload, inbound)
            return
        packet = hep_packet.decode(segment.payload)
        if isinstance(packet, Packet):
            yield packet
