"""The SIP messages of this machine's packets, in the order in which they were sent.

Requests, answers and TCP come in three groups: a flood of requests costs no answer. A failing answer comes at once and has
the kernel deliver all requests before it (`MARK_FLUSH`); other answers wait until the requests before them are here for certain.
"""

from __future__ import annotations

import asyncio
import math
import select
import time
from collections import Counter, deque
from typing import TYPE_CHECKING

from sipguard.sources.packets.nflog import COLLECTED_FOR, WHOLE, Copy, Group, free_groups
from sipguard.sources.wire import ip
from sipguard.sources.wire.tcp import Connections
from sipguard.wire_model import LIMITED_SOURCE, MARK_ALL, MARK_FAILED, MARK_SENT, MARK_SOURCE, Packet

if TYPE_CHECKING:
    from collections.abc import Callable

    from sipguard.model import Clock

_REST, _LONG_REST = 0.004, 0.03
"""Seconds between two looks while packets come all the time, and while there are many: a look costs as much as dozens of them."""
_MANY = 3000
"""Packets a second from which on they are many."""
_PROMPT, _PROMPTS = 30.0, 20.0
"""Looks per second, and in a row, that are taken at once."""
_MARGIN = 0.004
"""Seconds by which a loss may be older than the packet that shows it."""
_AT_ONCE = 1000
"""Packets read in one look, of each group: the loop has other work too."""
_LONGEST_HELD = 0.2
"""Seconds after which an answer is read even if requests before it may still be waiting."""
_FAILED, _SENT, _SOURCE, _ALL = (mark.encode() for mark in (MARK_FAILED, MARK_SENT, MARK_SOURCE, MARK_ALL))
_SMALLEST = 20
"""Bytes of an IP packet at least."""
_PUSH = 8
_new = tuple.__new__
"""Past the constructor of the named tuple, which takes twice as long."""
_TLS = frozenset(bytes((kind, 3)) for kind in range(20, 24))
"""How a record of TLS begins (RFC 8446, 5.1): its type, and the version's first byte."""

LOST = "packets were lost: more came than could be read"
LIMITED = "more SIP packets came than [wire] rate lets through"
LIMITED_STREAM = "this address sent more over TCP than is read of one"
CUT = "packets were damaged, or lacked parts"


class PacketListener:
    """Reads three NFLOG groups. `received` counts packets by what became of them."""

    def __init__(
        self,
        *,
        deliver: Callable[[list[Packet]], None],
        blind: Callable[[float, float, str, str], None],
        spoke: Callable[[str, float], None] = lambda *_: None,
        seen: Callable[[set[str], float], None] = lambda *_: None,
        wanted: Callable[[bytes], bool] = lambda _: True,
        clock: Clock = time.time,
    ) -> None:
        """`blind` is told from when to when packets may have gone unseen, why, and of which address (empty: of all).

        `spoke` is told whom the server has sent payload over TLS, `seen` who has sent anything at all; `wanted` says whether an
        incoming message is of interest.
        """
        self.received: Counter[str] = Counter()
        self.groups: tuple[int, ...] = ()
        """Numbers of the groups for requests, answers and streams; empty while nothing is read."""
        self._deliver = deliver
        self._blind = blind
        self._spoke = spoke
        self._seen = seen
        self._wanted = wanted
        self._clock = clock
        self._open: list[Group] = []
        self._lost: dict[int, int] = {}
        self._ip = ip.Reader()
        self._connections = Connections()
        self._pieces = 0
        self._sources: set[bytes] = set()
        """Who has sent something since the last look, packed."""
        self._answers: deque[tuple[float, Copy]] = deque()
        """Answers whose requests may not be here yet, with the times at which they came."""
        self._looked, self._many = 0.0, False
        """When the last look was, and whether it found many."""
        self._credit, self._credited = _PROMPTS, 0.0
        """Looks that may be taken at once, and when that was so."""
        self._last = 0.0
        """When packets were read last."""
        self.read_until = math.inf
        """All packets that came before this time have been read; without end while nothing is watched."""
        self._timer: asyncio.TimerHandle | None = None
        self._loop: asyncio.AbstractEventLoop | None = None

    def start(self, first: int) -> None:
        """Read the first three groups from this number on that nobody else reads. Raises `OSError`."""
        self._open = free_groups(first, 3)
        self.groups = tuple(group.number for group in self._open)
        # One descriptor for the loop instead of three: it is taken out and put back many times a second.
        self._ears = select.epoll()
        for group in self._open:
            self._ears.register(group.fileno(), select.EPOLLIN)
        self._loop = asyncio.get_running_loop()
        self._last = self.read_until = self._clock()
        self._listen()

    def stop(self) -> None:
        """Read no more."""
        self._rest()
        if self._timer is not None:
            self._timer.cancel()
        for group in self._open:
            group.close()
        if self._open:
            self._ears.close()
        self._open, self.groups, self._timer = [], (), None
        self._answers.clear()
        self.read_until = math.inf

    def _listen(self) -> None:
        if self._loop is not None and self._open:
            self._loop.add_reader(self._ears.fileno(), self._ready)

    def _rest(self) -> None:
        if self._loop is not None and self._open:
            self._loop.remove_reader(self._ears.fileno())

    def _ready(self) -> None:
        """Something has come: look at once, or, when that happens all the time, at all that comes in the next milliseconds."""
        now = time.monotonic()
        self._credit = min(_PROMPTS, self._credit + (now - self._credited) * _PROMPT)
        self._credited = now
        if self._credit >= 1.0 and not self._many:
            self._credit -= 1.0
            self.look()
        else:
            self._rest()
            self._after(_LONG_REST if self._many else _REST, self._wake)

    def _wake(self) -> None:
        self._timer = None
        self._listen()
        self.look()

    def _after(self, seconds: float, then: Callable[[], None]) -> None:
        if self._timer is not None:
            self._timer.cancel()
        if self._loop is not None:
            self._timer = self._loop.call_later(seconds, then)

    def look(self) -> None:
        """Read what is here: answers first, so that the requests before them are here when they are read."""
        if not self._open:
            return
        requests, answers, streams = self._open
        now = self._clock()
        replies, _ = answers.read(_AT_ONCE)
        asked, complete = requests.read(_AT_ONCE)
        said, _ = streams.read(_AT_ONCE)
        found: list[Packet] = []
        self._count(len(asked), len(replies), len(said))
        for prefix, payload in asked:
            if prefix:
                self._mark(prefix, payload, now, LIMITED_SOURCE)
            else:
                self._take(payload, now, found)
        self._answers.extend((now, copy) for copy in replies)
        self._release(now, found, complete=complete)
        for prefix, payload in said:
            self._take_stream(prefix, payload, now, found)
        if self._sources:
            self._seen(set(map(ip.text, self._sources)), now)
            self._sources.clear()
        self._watch_losses(now)
        if found:
            self._deliver(found)
        before, self._looked = self._looked, time.monotonic()
        emptied = all(group.emptied for group in self._open)
        self._many = emptied and len(asked) + len(replies) + len(said) > _MANY * (self._looked - before)
        if emptied:
            self.read_until = now - 2 * COLLECTED_FOR  # twice, as a busy kernel's clock may miss a tick
        if self._answers and self._timer is None:
            self._after(COLLECTED_FOR if complete else 0.0, self._settle)

    def _settle(self) -> None:
        self._timer = None
        self.look()

    def _release(self, now: float, found: list[Packet], *, complete: bool) -> None:
        """Read the answers whose requests have come: up to the last failing one, and those that have waited long enough.

        `complete`: all requests that the kernel had are read.
        """
        waiting = self._answers
        last = -1
        if complete:
            last = max((number for number, (_, copy) in enumerate(waiting) if copy[0] == _FAILED), default=-1)
        patience = COLLECTED_FOR if complete else _LONGEST_HELD
        while waiting and (last >= 0 or waiting[0][0] <= now - patience):
            last -= 1
            self._take_answer(*waiting.popleft()[1], now, found)

    def _count(self, requests: int, answers: int, streams: int) -> None:
        for name, number in (("requests", requests), ("answers", answers), ("streams", streams)):
            if number:
                self.received[name] += number

    def _take(self, packet: bytes, now: float, found: list[Packet]) -> None:
        """A packet that has come in over UDP."""
        wanted = self._wanted(packet)
        if len(packet) < _SMALLEST:
            return
        self._sources.add(packet[12:16] if packet[0] >> 4 == 4 else packet[8:24])
        if not wanted and len(packet) < WHOLE and _is_whole(packet):
            return  # nearly every packet
        if plain := ip.plain_udp(packet):
            source, port, destination, its_port, payload = plain
            found.append(_new(Packet, (now, source, port, destination, its_port, "udp", payload, True)))
            return
        segment = self._ip.read(packet, now)
        if segment is not None and segment.protocol == ip.UDP and self._wanted(segment.payload):
            found.append(Packet(now, *segment[1:5], "udp", segment.payload, True))

    def _take_answer(self, prefix: bytes, packet: bytes, now: float, found: list[Packet]) -> None:
        """A packet that has gone out over UDP."""
        if prefix and prefix != _FAILED:
            self._mark(prefix, packet, now, LIMITED_SOURCE)
        elif plain := ip.plain_udp(packet):
            source, port, destination, its_port, payload = plain
            found.append(_new(Packet, (now, source, port, destination, its_port, "udp", payload, False)))
        else:
            segment = self._ip.read(packet, now)
            if segment is not None and segment.protocol == ip.UDP:
                found.append(Packet(now, *segment[1:5], "udp", segment.payload, False))

    def _take_stream(self, prefix: bytes, packet: bytes, now: float, found: list[Packet]) -> None:
        """A TCP segment, of either side."""
        sent = prefix == _SENT
        if prefix and not sent:
            self._mark(prefix, packet, now, LIMITED_STREAM)
            return
        segment = self._ip.read(packet, now)
        if segment is None or segment.protocol != ip.TCP:
            return
        if not sent:
            self._sources.add(packet[12:16] if packet[0] >> 4 == 4 else packet[8:24])
        elif segment.payload[:2] in _TLS and segment.flags & _PUSH:
            self._spoke(segment.destination, now)
        found += self._connections.feed(segment, now, inbound=not sent)

    def _mark(self, mark: bytes, packet: bytes, now: float, reason: str) -> None:
        """What the kernel tells of its limits; `reason`: what it means of one address."""
        if mark == _ALL:
            self.received["over the limit"] += 1
            self._blind(self._last, now + 1.0, LIMITED, "")
        elif mark == _SOURCE and (address := ip.source(packet)):
            self.received["over the limit of an address"] += 1
            self._blind(self._last, now + 1.5, reason, address)

    def _watch_losses(self, now: float) -> None:
        for group in self._open:
            lost = group.lost - self._lost.get(group.number, 0)
            if lost or group.overrun:
                self._lost[group.number], group.overrun = group.lost, False
                self.received["lost"] += lost
                self._blind(self._last - _MARGIN, now, LOST, "")
        pieces = self._ip.cut + self._ip.fragments.crowded_out
        if pieces != self._pieces:
            self.received["damaged"] += pieces - self._pieces
            self._pieces = pieces
            self._blind(now - 30.0, now, CUT, "")
        self._last = now


def _is_whole(packet: bytes) -> bool:
    """Whether a packet is no fragment; of IPv6 this is said of those without extension headers alone."""
    if packet[0] >> 4 == 4:
        return not (packet[6] & 0x3F or packet[7])
    return packet[6] == ip.UDP
