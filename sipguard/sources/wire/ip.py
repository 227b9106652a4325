"""Reads IPv4 and IPv6 packets down to UDP and TCP (RFC 791, 8200, 768, 9293). Nothing here raises."""

from __future__ import annotations

import socket
from functools import lru_cache
from struct import Struct
from typing import NamedTuple

from sipguard.sources.wire.fragments import Fragments

TCP = 6
UDP = 17
_HOP_BY_HOP, _ROUTING, _FRAGMENT, _AUTHENTICATION, _DESTINATION = 0, 43, 44, 51, 60
_MOST_EXTENSIONS = 8
_IPV4 = Struct(">BBHHHBBH4s4s")
_IPV6 = Struct(">IHBB16s16s")
_UDP = Struct(">HHHH")
_TCP = Struct(">HHIIBBHHH")


class Segment(NamedTuple):
    """A UDP datagram or a TCP segment."""

    protocol: int
    source: str
    source_port: int
    destination: str
    destination_port: int
    payload: bytes
    sequence: int = 0
    acknowledged: int = 0
    flags: int = 0


class Reader:
    """Keeps the fragments that wait for others. `cut` counts packets that were recorded in part."""

    def __init__(self) -> None:
        self.fragments = Fragments()
        self.cut = 0

    def read(self, packet: bytes, time: float) -> Segment | None:
        """The segment that this packet is, or completes; None for everything else."""
        if not packet:
            return None
        version = packet[0] >> 4
        if version == 4 and len(packet) >= _IPV4.size:
            return self._ipv4(packet, time)
        if version == 6 and len(packet) >= _IPV6.size:
            return self._ipv6(packet, time)
        return None

    def _ipv4(self, packet: bytes, time: float) -> Segment | None:
        first, _, length, ident, position, _, protocol, _, source, destination = _IPV4.unpack_from(packet)
        begin = (first & 15) * 4
        if begin < _IPV4.size or length < begin:
            # Offloaded packets larger than 64 KiB have the length 0 in captures.
            if length != 0 or begin < _IPV4.size:
                return None
            length = len(packet)
        if length > len(packet):
            self.cut += 1
            return None
        payload = packet[begin:length]
        if position & 0x3FFF:
            whole = self.fragments.add(
                (source, destination, ident, protocol), (position & 0x1FFF) * 8, bool(position & 0x2000), payload, time
            )
            if whole is None:
                return None
            payload = whole
        return _transport(protocol, text(source), text(destination), payload)

    def _ipv6(self, packet: bytes, time: float) -> Segment | None:
        _, length, header, _, source, destination = _IPV6.unpack_from(packet)
        end = _IPV6.size + length if length else len(packet)
        if end > len(packet):
            self.cut += 1
            return None
        payload = packet[_IPV6.size : end]
        for _ in range(_MOST_EXTENSIONS):
            if header in {TCP, UDP}:
                return _transport(header, text(source), text(destination), payload)
            if len(payload) < 8:
                return None
            if header in {_HOP_BY_HOP, _ROUTING, _DESTINATION}:
                header, payload = payload[0], payload[(payload[1] + 1) * 8 :]
            elif header == _AUTHENTICATION:
                header, payload = payload[0], payload[(payload[1] + 2) * 4 :]
            elif header == _FRAGMENT:
                position = int.from_bytes(payload[2:4], "big")
                key = (source, destination, int.from_bytes(payload[4:8], "big"), payload[0])
                whole = self.fragments.add(key, position & 0xFFF8, bool(position & 1), payload[8:], time)
                if whole is None:
                    return None
                header, payload = payload[0], whole
            else:
                return None
        return None


_PLAIN = Struct(">BxHxxHxB10xHHH")


def plain_udp(packet: bytes) -> tuple[str, int, str, int, bytes] | None:
    """Source, its port, destination, its port and payload of a whole IPv4 packet without options that is a UDP datagram.

    Nearly every packet is. None for any other: ask `Reader`.
    """
    if len(packet) < 28:
        return None
    first, length, position, protocol, source_port, destination_port, size = _PLAIN.unpack_from(packet)
    if first != 0x45 or position & 0x3FFF or protocol != UDP or length != len(packet) or size != length - 20:
        return None
    return text(packet[12:16]), source_port, text(packet[16:20]), destination_port, packet[28:]


def source(packet: bytes) -> str:
    """Where a packet comes from, of which the beginning is enough; empty when it is none."""
    if packet[:1] and packet[0] >> 4 == 4 and len(packet) >= _IPV4.size:
        return text(packet[12:16])
    return text(packet[8:24]) if packet[:1] and packet[0] >> 4 == 6 and len(packet) >= _IPV6.size else ""


@lru_cache(maxsize=8192)
def text(packed: bytes) -> str:
    """An address as sipguard writes it; an IPv4-mapped one as IPv4. The same text object for the same address."""
    if len(packed) == 4:
        return socket.inet_ntop(socket.AF_INET, packed)
    if packed[:12] == b"\0" * 10 + b"\xff\xff":
        return socket.inet_ntop(socket.AF_INET, packed[12:])
    return socket.inet_ntop(socket.AF_INET6, packed)


def _transport(protocol: int, source: str, destination: str, payload: bytes) -> Segment | None:
    if protocol == UDP and len(payload) >= _UDP.size:
        source_port, destination_port, length, _ = _UDP.unpack_from(payload)
        if length and not _UDP.size <= length <= len(payload):
            return None
        end = length or len(payload)
        return Segment(UDP, source, source_port, destination, destination_port, payload[_UDP.size : end])
    if protocol == TCP and len(payload) >= _TCP.size:
        source_port, destination_port, sequence, acknowledged, offset, flags, _, _, _ = _TCP.unpack_from(payload)
        begin = (offset >> 4) * 4
        if not _TCP.size <= begin <= len(payload):
            return None
        return Segment(
            TCP, source, source_port, destination, destination_port, payload[begin:], sequence, acknowledged, flags
        )
    return None
