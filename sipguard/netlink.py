"""The few words of netlink that sipguard speaks itself (netlink(7), linux/netfilter/nfnetlink.h): messages and attributes."""

from __future__ import annotations

import os
import socket
import struct
from typing import TYPE_CHECKING, NamedTuple, Self

if TYPE_CHECKING:
    from collections.abc import Iterator

NETLINK_NETFILTER = 12
NLMSG_ERROR, NLMSG_DONE = 2, 3
NLM_F_REQUEST, NLM_F_ACK, NLM_F_DUMP = 1, 4, 0x300
_NESTED = 0x8000
_BUFFER = 1 << 17
_PATIENCE = 2.0
"""Seconds to wait for the kernel's answer."""
_SO_SNDBUFFORCE = 32
"""Beyond the host's limit: CAP_NET_ADMIN may."""
_HEADER = struct.Struct("=IHHII")
_ATTRIBUTE = struct.Struct("=HH")


class Message(NamedTuple):
    """One netlink message: its type, the address family of nfgenmsg, and the attributes behind that."""

    kind: int
    family: int
    body: bytes


def message(kind: int, flags: int, family: int, body: bytes = b"", sequence: int = 0, resource: int = 0) -> bytes:
    """Build a message to the subsystem in `kind`'s upper byte. The answer bears the same `sequence`."""
    # struct nfgenmsg: family, version (0), resource id in network order
    return _HEADER.pack(20 + len(body), kind, flags, sequence, 0) + struct.pack(">BBH", family, 0, resource) + body


def attribute(kind: int, value: bytes, *, nested: bool = False) -> bytes:
    """Build an attribute, padded to four bytes."""
    header = _ATTRIBUTE.pack(4 + len(value), kind | (_NESTED if nested else 0))
    return header + value + b"\0" * (-len(value) % 4)


def messages(data: bytes) -> Iterator[Message]:
    """Take apart what one recv(2) gave; a message that was cut ends it."""
    place = 0
    while place + 20 <= len(data):
        length, kind, _flags, _sequence, _port = _HEADER.unpack_from(data, place)
        if length < 16 or place + length > len(data):
            return
        yield Message(kind, data[place + 16], data[place + 20 : place + length])
        place += length + (-length % 4)


def error_of(data: bytes) -> int:
    """Give the errno of an NLMSG_ERROR message, 0 for an acknowledgement or any other."""
    length, kind, *_ = _HEADER.unpack_from(data)
    return -int(struct.unpack_from("=i", data, 16)[0]) if kind == NLMSG_ERROR and length >= 20 else 0


def attributes(body: bytes) -> Iterator[tuple[int, bytes]]:
    """Take attributes apart: (type, value)."""
    place = 0
    while place + 4 <= len(body):
        length, kind = _ATTRIBUTE.unpack_from(body, place)
        if length < 4 or place + length > len(body):
            return
        yield kind & 0x3FFF, body[place + 4 : place + length]
        place += length + (-length % 4)


def first(body: bytes, kind: int) -> bytes:
    """Give the first attribute of this type; empty when there is none."""
    return next((value for found, value in attributes(body) if found == kind), b"")


class Conversation:
    """One socket to netfilter, in the network namespace of the thread that opens it. Raises `OSError`."""

    def __enter__(self) -> Self:
        self._socket = socket.socket(socket.AF_NETLINK, socket.SOCK_RAW | socket.SOCK_CLOEXEC, NETLINK_NETFILTER)
        self._socket.settimeout(_PATIENCE)
        return self

    def __exit__(self, *_: object) -> None:
        self._socket.close()

    def dump(self, kind: int, family: int, body: bytes = b"") -> Iterator[Message]:
        """Ask for all of something, and give each answer."""
        self._socket.send(message(kind, NLM_F_REQUEST | NLM_F_DUMP, family, body))
        while True:
            data = self._socket.recv(_BUFFER)
            _raise(error_of(data))
            for answer in messages(data):
                if answer.kind == NLMSG_DONE:
                    return
                yield answer
            if data[4:6] in (b"\x03\0", b"\x02\0"):
                return

    def ask(self, kind: int, family: int, body: bytes = b"") -> Message:
        """Ask for one thing, that answers with one message."""
        self._socket.send(message(kind, NLM_F_REQUEST, family, body))
        data = self._socket.recv(_BUFFER)
        _raise(error_of(data))
        return next(messages(data))

    def tell(self, script: bytes) -> None:
        """Send messages of which the last asks for an acknowledgement (NLM_F_ACK), and wait for that."""
        if len(script) > _BUFFER:
            self._socket.setsockopt(socket.SOL_SOCKET, _SO_SNDBUFFORCE, len(script) + _BUFFER)
        self._socket.send(script)
        _raise(error_of(self._socket.recv(_BUFFER)))


def _raise(number: int) -> None:
    if number:
        raise OSError(number, os.strerror(number))
