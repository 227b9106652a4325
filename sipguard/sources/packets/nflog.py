"""One NFLOG group: a socket to which the kernel copies packets (linux/netfilter/nfnetlink_log.h). CAP_NET_ADMIN is enough."""

from __future__ import annotations

import contextlib
import errno
import os
import socket
import struct
import sys
from typing import NamedTuple

from sipguard import netlink

_ULOG = 4 << 8
_PACKET, _CONFIG = _ULOG | 0, _ULOG | 1
_COMMAND, _MODE, _BUFFER_SIZE, _TIMEOUT, _THRESHOLD, _FLAGS = 1, 2, 3, 4, 5, 6  # NFULA_CFG_…
_BIND = 1
_COPY_PACKET = 2
_WITH_SEQUENCE = 1
_PAYLOAD, _PREFIX, _SEQUENCE = 9, 10, 12  # NFULA_…
WHOLE = 65_531
"""Bytes that are copied of a packet: all. GSO makes TCP packets of dozens of KB, which hold many messages."""
_BATCH = 32 << 10
"""Bytes that the kernel collects before it wakes us up."""
_MOST_COLLECTED = 64
"""Packets that it collects at most."""
_LONGEST_WAIT = 1
"""Hundredths of a second for which it collects."""
COLLECTED_FOR = 0.02
"""Seconds after which a packet has come for certain: what the kernel waits, and a tick of its clock of 10 ms."""
_ROOM = 16 << 20
"""Bytes that the kernel keeps for us while we are busy."""
_SO_RCVBUFFORCE = 33
"""socket(7): beyond the host's limit. CAP_NET_ADMIN may."""
_RECEIVE = 128 << 10
_PATIENCE = 2.0
_NUMBER = struct.Struct(">I")
_HEADER, _ATTRIBUTE = struct.Struct("=IH"), struct.Struct("=HH")
_NETLINK_AND_FAMILY = 20
_FIRST = _NETLINK_AND_FAMILY + 8
"""Where the attributes begin that differ, behind the packet's header: the prefix, where it has one."""
_MOST_LAYOUTS = 64


Copy = tuple[bytes, bytes]
"""The prefix of the rule that copied a packet, and the packet from its IP header on."""


class TakenError(OSError):
    """Another program reads this group."""


class _Layout(NamedTuple):
    """How the attributes of some packets stand, behind the packet's header (`_FIRST`): the payload is the last."""

    payload_at: int
    heads: struct.Struct
    """Reads the head of each attribute."""
    expected: list[int]
    """These heads, but for the payload's: where they are the same, nothing that a sender wrote is taken for one."""
    prefix: bytes
    written: bytes
    """The prefix as an attribute, or nothing."""


class CopyReader:
    """Takes apart what the kernel has written. `lost` counts the packets that are missing by their numbers."""

    def __init__(self) -> None:
        self.lost = 0
        self._next: int | None = None
        self._layouts: dict[bytes, _Layout] = {}
        """By the head of the first of their attributes."""

    def take(self, data: bytes, found: list[Copy]) -> None:
        """Take apart what one recv(2) gave. By hand: this runs for every packet."""
        after, size = 0, len(data)
        unpack, layouts, number = _HEADER.unpack_from, self._layouts, _NUMBER.unpack_from
        while (place := after) + _NETLINK_AND_FAMILY <= size:
            length, kind = unpack(data, place)
            end = place + length
            if length < _NETLINK_AND_FAMILY or end > size:
                return
            after = end + (-length % 4)
            if kind != _PACKET:
                continue
            first = place + _FIRST
            layout = layouts.get(data[first : first + 4])
            if layout is not None and (last := first + layout.payload_at) + 4 <= end:
                *heads, long, name = layout.heads.unpack_from(data, first)
                if (
                    name == _PAYLOAD
                    and last + long <= end < last + long + 4
                    and heads == layout.expected
                    and data.startswith(layout.written, first)
                ):
                    # Nearly every packet: its attributes stand where its like had them.
                    (sequence,) = number(data, last - 4)
                    if sequence == self._next:
                        self._next = (sequence + 1) & 0xFFFFFFFF
                    else:
                        self._count(sequence)
                    found.append((layout.prefix, data[last + 4 : last + long]))
                    continue
            found.append(self._read(data, place, end))

    def _read(self, data: bytes, place: int, end: int) -> Copy:
        """A packet whose attributes stand in whatever order; remembers where they stood."""
        at, first = place + _NETLINK_AND_FAMILY, place + _FIRST
        prefix, written, payload = b"", b"", b""
        heads: list[int] = []
        form, name = "=", 0
        while at + 4 <= end:
            before, (long, name) = name, _ATTRIBUTE.unpack_from(data, at)
            if long < 4:
                break
            after = at + ((long + 3) & ~3)
            if name == _PAYLOAD:
                payload = data[at + 4 : at + long]
                if before == _SEQUENCE and after >= end and len(self._layouts) < _MOST_LAYOUTS:
                    layout = _Layout(at - first, struct.Struct(form + "HH"), heads[:], prefix, written)
                    self._layouts[data[first : first + 4]] = layout
            elif name == _PREFIX:
                prefix, written = data[at + 4 : at + long - 1], data[first:after]
            elif name == _SEQUENCE:
                self._count(int.from_bytes(data[at + 4 : at + 8], "big"))
            if at >= first:
                heads.append(int.from_bytes(data[at : at + 4], sys.byteorder))
                form += f"I{after - at - 4}x"
            at = after
        return prefix, payload

    def _count(self, sequence: int) -> None:
        if self._next is not None and sequence != self._next:
            self.lost += (sequence - self._next) & 0xFFFFFFFF
        self._next = (sequence + 1) & 0xFFFFFFFF


class Group:
    """Reads one group. Raises `OSError`, `TakenError`."""

    def __init__(self, number: int) -> None:
        self.number = number
        self.overrun = False
        """Packets have been lost, though it is not known how many yet; whoever reads this sets it back."""
        self.emptied = True
        """The last reading has left nothing."""
        self._buffer = memoryview(bytearray(_RECEIVE))
        self._reader = CopyReader()
        self._socket = socket.socket(
            socket.AF_NETLINK, socket.SOCK_RAW | socket.SOCK_CLOEXEC, netlink.NETLINK_NETFILTER
        )
        try:
            with contextlib.suppress(OSError):
                self._socket.setsockopt(socket.SOL_SOCKET, _SO_RCVBUFFORCE, _ROOM)
            self._socket.settimeout(_PATIENCE)
            self._configure()
            self._socket.setblocking(False)
        except BaseException:
            self._socket.close()
            raise

    @property
    def lost(self) -> int:
        """How many packets the kernel could not deliver, as far as is known."""
        return self._reader.lost

    def fileno(self) -> int:
        """For the event loop."""
        return self._socket.fileno()

    def close(self) -> None:
        """Let go of the group."""
        self._socket.close()

    def read(self, most: int) -> tuple[list[Copy], bool]:
        """About so many packets at most, and whether that was all that is here."""
        found: list[Copy] = []
        self.emptied = False
        while len(found) < most:
            try:
                size = self._socket.recv_into(self._buffer)
            except BlockingIOError:
                self.emptied = True
                break
            except OSError as error:
                if error.errno != errno.ENOBUFS:
                    raise
                self.overrun = True
                continue
            self._reader.take(bytes(self._buffer[:size]), found)
        return found, self.emptied

    def _configure(self) -> None:
        try:
            self._set(_COMMAND, struct.pack("=B", _BIND))
        except OSError as error:
            # Of a group that somebody reads the kernel says either; whoever lacks the right learns EPERM of all groups.
            if error.errno in (errno.EPERM, errno.EBUSY):
                raise TakenError(error.errno, os.strerror(error.errno)) from None
            raise
        self._set(_MODE, struct.pack(">IBx", WHOLE, _COPY_PACKET))
        self._set(_BUFFER_SIZE, struct.pack(">I", _BATCH))
        self._set(_TIMEOUT, struct.pack(">I", _LONGEST_WAIT))
        self._set(_THRESHOLD, struct.pack(">I", _MOST_COLLECTED))
        self._set(_FLAGS, struct.pack(">H", _WITH_SEQUENCE))

    def _set(self, kind: int, value: bytes) -> None:
        flags = netlink.NLM_F_REQUEST | netlink.NLM_F_ACK
        body = netlink.attribute(kind, value)
        self._socket.send(netlink.message(_CONFIG, flags, socket.AF_UNSPEC, body, resource=self.number))
        while True:
            data = self._socket.recv(_RECEIVE)
            if data[4:6] == b"\x02\0":  # NLMSG_ERROR: the answer; anything else is a packet that came meanwhile
                if number := netlink.error_of(data):
                    raise OSError(number, os.strerror(number))
                return


def free_groups(first: int, count: int, *, most: int = 64) -> list[Group]:
    """Bind the first `count` groups from `first` on that nobody else reads. Raises `OSError`."""
    groups: list[Group] = []
    problem: OSError | None = None
    try:
        for number in range(first, min(first + most, 65_536)):
            try:
                groups.append(Group(number))
            except TakenError as error:
                problem = error
            if len(groups) == count:
                return groups
    except BaseException:
        for group in groups:
            group.close()
        raise
    for group in groups:
        group.close()
    raise OSError(
        problem.errno if problem else errno.EBUSY,
        f"none of the NFLOG groups {first} to {first + most - 1} can be read: another program has them, "
        "or CAP_NET_ADMIN is missing",
    )
