"""Reads pcap and pcapng files (draft-ietf-opsawg-pcap, draft-ietf-opsawg-pcapng) as they come, also from a pipe."""

from __future__ import annotations

from struct import Struct
from typing import TYPE_CHECKING, BinaryIO, NamedTuple

from sipguard.errors import SipguardError

if TYPE_CHECKING:
    from collections.abc import Iterator

BEGINNINGS = (b"\xd4\xc3\xb2\xa1", b"\xa1\xb2\xc3\xd4", b"\x4d\x3c\xb2\xa1", b"\xa1\xb2\x3c\x4d", b"\x0a\x0d\x0d\x0a")
"""The first four bytes of the files that are captures."""
_NANOSECONDS = (b"\x4d\x3c\xb2\xa1", b"\xa1\xb2\x3c\x4d")
_LARGEST = 1 << 20
"""Bytes of one packet or block; what claims more is damaged."""
_SECTION, _INTERFACE, _SIMPLE, _PACKET = 0x0A0D0D0A, 1, 3, 6
_RESOLUTION = 9
"""The option of an interface that gives the unit of its times."""


class CapturedFrame(NamedTuple):
    """One recorded packet."""

    time: float
    link: int
    """The kind of its link layer: a LINKTYPE_ number."""
    data: bytes
    length: int
    """Its length on the wire: more than is in `data` when it was cut."""


def is_capture(beginning: bytes) -> bool:
    """Whether a file that begins so is a capture."""
    return beginning[:4] in BEGINNINGS


def frames(file: BinaryIO, name: str) -> Iterator[CapturedFrame]:
    """The packets of a capture. Raises `SipguardError` when it is damaged, after what came before."""
    beginning = file.read(4)
    if beginning == b"\x0a\x0d\x0d\x0a":
        yield from _pcapng(file, name)
    elif beginning in BEGINNINGS:
        yield from _pcap(file, name, beginning)
    else:
        raise SipguardError(f"{name}: not a capture; expected a pcap or pcapng file, as tcpdump -w writes it")


def _pcap(file: BinaryIO, name: str, magic: bytes) -> Iterator[CapturedFrame]:
    order = "<" if magic in {b"\xd4\xc3\xb2\xa1", b"\x4d\x3c\xb2\xa1"} else ">"
    unit = 1e-9 if magic in _NANOSECONDS else 1e-6
    header = _read(file, 20, name)
    link = Struct(order + "I").unpack_from(header, 16)[0] & 0x0FFFFFFF
    record = Struct(order + "IIII")
    while head := file.read(record.size):
        if len(head) < record.size:
            raise _cut(name)
        seconds, part, kept, length = record.unpack(head)
        yield CapturedFrame(seconds + part * unit, link, _read(file, kept, name), length)


def _pcapng(file: BinaryIO, name: str) -> Iterator[CapturedFrame]:
    """Several sections may follow each other, each with its own byte order and interfaces."""
    kind, order = _SECTION, "<"
    interfaces: list[tuple[int, float]] = []
    while True:
        size_bytes = _read(file, 4, name)
        if kind == _SECTION:
            magic = _read(file, 4, name)
            order = "<" if magic == b"\x4d\x3c\x2b\x1a" else ">"
            interfaces = []
        size = Struct(order + "I").unpack(size_bytes)[0]
        read_already = 12 if kind == _SECTION else 8
        if size < read_already + 4 or size % 4:
            raise SipguardError(f"{name}: damaged: a block of {size} bytes")
        body = _read(file, size - read_already, name)[:-4]
        if kind == _INTERFACE and len(body) >= 8:
            interfaces.append((Struct(order + "H").unpack_from(body)[0], _unit(body[8:], order)))
        elif kind == _PACKET:
            yield from _enhanced(body, order, interfaces)
        next_kind = file.read(4)
        if not next_kind:
            return
        if len(next_kind) < 4:
            raise _cut(name)
        kind = Struct(order + "I").unpack(next_kind)[0]


def _enhanced(body: bytes, order: str, interfaces: list[tuple[int, float]]) -> Iterator[CapturedFrame]:
    layout = Struct(order + "IIIII")
    if len(body) < layout.size:
        return
    interface, high, low, kept, length = layout.unpack_from(body)
    if interface < len(interfaces):
        link, unit = interfaces[interface]
        data = body[layout.size : layout.size + kept]
        yield CapturedFrame((high << 32 | low) * unit, link, data, length)


def _unit(options: bytes, order: str) -> float:
    """Seconds of one tick of an interface's clock: microseconds unless it says otherwise."""
    layout = Struct(order + "HH")
    while len(options) >= layout.size:
        code, length = layout.unpack_from(options)
        if code == _RESOLUTION and length >= 1 and len(options) > layout.size:
            value = options[layout.size]
            return 2.0 ** -(value & 0x7F) if value & 0x80 else 10.0**-value
        if code == 0:
            break
        options = options[layout.size + (length + 3) // 4 * 4 :]
    return 1e-6


def _read(file: BinaryIO, size: int, name: str) -> bytes:
    if size > _LARGEST:
        raise SipguardError(f"{name}: damaged: a packet of {size} bytes")
    data = file.read(size)
    if len(data) < size:
        raise _cut(name)
    return data


def _cut(name: str) -> SipguardError:
    return SipguardError(f"{name}: ends in the middle of a packet; was it copied while tcpdump wrote it?")
