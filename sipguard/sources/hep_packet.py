"""Decodes HEP3, in which servers copy their SIP messages to a collector ("The Homer Encapsulation Protocol", version 3).

A packet is `HEP3`, its length, and chunks of vendor, type, length and value. Nothing here raises.
"""

from __future__ import annotations

import socket
from struct import Struct
from typing import TYPE_CHECKING, Literal

from sipguard.sources.wire.ip import text
from sipguard.wire_model import Packet

if TYPE_CHECKING:
    from sipguard.wire_model import Transport

MAGIC = b"HEP3"
_CHUNK = Struct(">HHH")
_FAMILY, _PROTOCOL, _SOURCE4, _DESTINATION4, _SOURCE6, _DESTINATION6, _SOURCE_PORT, _DESTINATION_PORT = range(1, 9)
_SECONDS, _MICROSECONDS, _KIND = 9, 10, 11
_KEY, _PAYLOAD = 14, 15
_MOST_CHUNKS = 32
_SIP = 1
_TRANSPORTS: dict[int, Transport] = {6: "tcp", 17: "udp", 22: "tls", 132: "sctp"}
_PLAUSIBLE = 300.0
"""Seconds by which a packet's time may differ from ours; otherwise ours is taken."""

Refusal = Literal["damaged", "not SIP", "wrong key", "impossible address"]
REFUSALS: tuple[Refusal, ...] = ("damaged", "not SIP", "wrong key", "impossible address")


def decode(data: bytes, *, key: str = "", now: float | None = None) -> Packet | Refusal:
    """The SIP message in a HEP packet, or why there is none. `key`: what the sender must know, compared in constant time.

    `now`: the time to take where the packet's own is not near it; None believes the packet.
    """
    chunks = _chunks(data)
    if chunks is None:
        return "damaged"
    if key and not _is_key(chunks.get(_KEY, b""), key):
        return "wrong key"
    if chunks.get(_KIND) != b"\x01":
        return "not SIP"
    ports = chunks.get(_SOURCE_PORT, b""), chunks.get(_DESTINATION_PORT, b"")
    seconds, part = chunks.get(_SECONDS, b""), chunks.get(_MICROSECONDS, b"")
    if [len(one) for one in (*ports, seconds, part)] != [2, 2, 4, 4] or _PAYLOAD not in chunks:
        return "damaged"
    addresses = _addresses(chunks)
    if isinstance(addresses, str):
        return addresses
    source, destination = addresses
    time = int.from_bytes(seconds, "big") + int.from_bytes(part, "big") / 1e6
    if now is not None and abs(time - now) > _PLAUSIBLE:
        time = now
    transport = _TRANSPORTS.get(int.from_bytes(chunks.get(_PROTOCOL, b""), "big"), "udp")
    return Packet(
        time,
        source,
        int.from_bytes(ports[0], "big"),
        destination,
        int.from_bytes(ports[1], "big"),
        transport,
        chunks[_PAYLOAD],
    )


def _chunks(data: bytes) -> dict[int, bytes] | None:
    """The chunks of the protocol itself; the first of each type counts."""
    if data[:4] != MAGIC or len(data) < 6:
        return None
    end = int.from_bytes(data[4:6], "big")
    if not 6 <= end <= len(data):
        return None
    chunks: dict[int, bytes] = {}
    at = 6
    while at < end:
        if len(chunks) >= _MOST_CHUNKS or at + _CHUNK.size > end:
            return None
        vendor, kind, length = _CHUNK.unpack_from(data, at)
        if length < _CHUNK.size or at + length > end:
            return None
        if vendor == 0:
            chunks.setdefault(kind, data[at + _CHUNK.size : at + length])
        at += length
    return chunks


def _addresses(chunks: dict[int, bytes]) -> tuple[str, str] | Refusal:
    """Source and destination. FreeSWITCH writes IPv6 addresses that never were: they are not believed."""
    if chunks.get(_FAMILY) == bytes([socket.AF_INET6]):
        source, destination, size = chunks.get(_SOURCE6, b""), chunks.get(_DESTINATION6, b""), 16
    else:
        source, destination, size = chunks.get(_SOURCE4, b""), chunks.get(_DESTINATION4, b""), 4
    if len(source) != size or len(destination) != size:
        return "damaged"
    if size == 16 and (source == destination or not any(source[:10]) or not any(destination[:10])):
        mapped = source[10:12] == destination[10:12] == b"\xff\xff"
        if not mapped or any(source[:10]) or any(destination[:10]) or source == destination:
            return "impossible address"
    return text(source), text(destination)


def _is_key(given: bytes, key: str) -> bool:
    """Whether the sender knows the key; in the same time whatever he has sent."""
    from hmac import compare_digest  # noqa: PLC0415 - it loads OpenSSL, which a daemon without a key does not need

    return compare_digest(given, key.encode())
