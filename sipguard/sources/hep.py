"""Receives HEP3 packets: SIP messages that servers copy to us, of this machine or of others.

Whoever can send to the listener could make messages up, so it listens on loopback, or knows its senders and their key.
"""

from __future__ import annotations

import asyncio
import contextlib
import ipaddress
import socket
import struct
import time
from collections import Counter
from typing import TYPE_CHECKING

from sipguard.sources.hep_packet import decode
from sipguard.wire_model import Packet

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable

    from sipguard.model import Clock

_LARGEST = 65_535
_AT_ONCE = 256
"""Packets read in one turn of the loop: more wait in the socket."""
_BUFFER = 8 << 20
"""Bytes that the kernel keeps for us."""
_SO_MEMINFO, _DROPS, _MEMINFO = 55, 8, struct.Struct("9I")
"""socket(7) has them not; <linux/sock_diag.h>: the ninth number is how many packets did not fit."""


class HepListener:
    """A socket for HEP packets. `received` counts them by what became of them: `taken`, or why not."""

    def __init__(
        self,
        listen: str,
        *,
        key: str,
        senders: Iterable[str],
        deliver: Callable[[list[Packet]], None],
        lost: Callable[[int], None] = lambda _: None,
        clock: Clock = time.time,
    ) -> None:
        """`senders`: addresses and networks that may send, all if there are none. `lost` is told of packets that did not fit."""
        self.listen = listen
        self.received: Counter[str] = Counter()
        self._key = key
        self._senders = [ipaddress.ip_network(one, strict=False) for one in senders]
        self._known: dict[str, bool] = {}
        self._deliver = deliver
        self._lost = lost
        self._clock = clock
        self._drops = 0
        self._socket: socket.socket | None = None
        self._loop: asyncio.AbstractEventLoop | None = None

    @property
    def port(self) -> int:
        """Where it listens; 0 when it does not."""
        return int(self._socket.getsockname()[1]) if self._socket else 0

    def start(self) -> None:
        """Listen. Raises OSError."""
        host, _, port = self.listen.rpartition(":")
        host = host.strip("[]")
        sock = socket.socket(
            socket.AF_INET6 if ":" in host else socket.AF_INET, socket.SOCK_DGRAM | socket.SOCK_NONBLOCK
        )
        try:
            sock.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, _BUFFER)
            with contextlib.suppress(OSError):  # past the system's limit, where we may
                sock.setsockopt(socket.SOL_SOCKET, 33, _BUFFER)  # SO_RCVBUFFORCE, socket(7)
            sock.bind((host, int(port)))
        except BaseException:
            sock.close()
            raise
        self._socket, self._drops = sock, 0
        self._loop = asyncio.get_running_loop()
        self._loop.add_reader(sock, self._read)

    def stop(self) -> None:
        """Listen no more."""
        if self._socket is not None and self._loop is not None:
            self._loop.remove_reader(self._socket)
            self._socket.close()
        self._socket = None

    def _read(self) -> None:
        """Take what has come, as much as one turn of the loop may."""
        packets = []
        sock = self._socket
        now = self._clock()
        for _ in range(_AT_ONCE):
            if sock is None:
                break
            try:
                data, sender = sock.recvfrom(_LARGEST)
            except OSError:  # nothing more
                break
            packet = decode(data, key=self._key, now=now) if self._may_send(sender[0]) else "unknown sender"
            if isinstance(packet, Packet):
                packets.append(packet)
            else:
                self.received[packet] += 1
        self._check_drops()
        if packets:
            self.received["taken"] += len(packets)
            self._deliver(packets)

    def _may_send(self, address: str) -> bool:
        if not self._senders:
            return True
        known = self._known.get(address)
        if known is None:
            if len(self._known) > 1000:
                self._known.clear()
            one = ipaddress.ip_address(address.partition("%")[0])
            one = getattr(one, "ipv4_mapped", None) or one
            known = self._known[address] = any(one in network for network in self._senders)
        return known

    def _check_drops(self) -> None:
        if self._socket is None:
            return
        with contextlib.suppress(OSError, struct.error):
            drops = _MEMINFO.unpack(self._socket.getsockopt(socket.SOL_SOCKET, _SO_MEMINFO, _MEMINFO.size))[_DROPS]
            if drops != self._drops:
                self.received["lost"] += drops - self._drops
                self._lost(drops - self._drops)
                self._drops = drops
