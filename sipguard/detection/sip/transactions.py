"""Requests with credentials that wait for their answer (RFC 3261, 17).

An answer is found by the branch of its top Via, since it may go to a third address (`maddr`); of several requests with one
branch, the one that agrees in address, Call-ID, CSeq and user. A request that could be read in two ways is found by its Call-ID
as well. Copies agree in the response to the challenge too: five passwords in requests that are otherwise equal are five.
"""

from __future__ import annotations

from collections import defaultdict
from typing import TYPE_CHECKING

from sipguard.detection.sip import messages
from sipguard.wire_model import without_payload

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

    from sipguard.detection.sip.messages import Answer, Headers, Request
    from sipguard.wire_model import Packet

LIFETIME = 32.0
"""Seconds until a request counts as unanswered: timer F (RFC 3261, 17.1.2.2)."""
MOST = 50_000
_PER_KEY = 64
_PARTS = 3


class Pending:
    """One request with credentials."""

    __slots__ = ("answered", "judged", "packet", "request")

    def __init__(self, packet: Packet, request: Request) -> None:
        self.packet = packet
        """Without its payload."""
        self.request = request
        self.answered = False
        self.judged = False
        """What its answer means is known."""

    def is_copy(self, packet: Packet, request: Request) -> bool:
        """Whether this message is the same request again, sent because no answer has come."""
        mine, its = self.request, request
        return (
            mine.response == its.response
            and self.packet.source == packet.source
            and mine.nonces == its.nonces
            and mine.user == its.user
            and mine.headers.calls == its.headers.calls
            and mine.headers.cseqs == its.headers.cseqs
        )


class Transactions:
    """The open requests: `MOST` of them, those of one branch bounded too."""

    def __init__(self, *, lifetime: float = LIFETIME, most: int = MOST) -> None:
        self._span = lifetime / (_PARTS - 1)
        self._most = most // _PARTS
        self._parts: list[_Part] = [_Part() for _ in range(_PARTS)]
        self._turned: float | None = None
        self._odd = False
        """Some request is to be found by its Call-ID too."""
        self.lost_until = 0.0
        """The table was full: requests before this time may have gone unseen."""

    def __len__(self) -> int:
        return sum(len(part.requests) for part in self._parts)

    def add(self, packet: Packet, request: Request) -> list[Pending]:
        """Wait for an answer to this request, unless it is a copy. Gives the requests that nobody has answered in time."""
        gone = self.expire(packet.time)
        keys = _keys(request)
        for pending in self._under(keys):
            if pending.is_copy(packet, request):
                return gone
        part = self._parts[0]
        if len(part.requests) >= self._most:
            self.lost_until = packet.time
            gone += self._turn(packet.time)
            part = self._parts[0]
        part.add(keys, Pending(without_payload(packet), request))
        part.index([_use_key(packet.source, request.user, nonce) for nonce in request.nonces], part.requests[-1])
        part.odd = part.odd or len(keys) != 1
        self._odd = self._odd or part.odd
        return gone

    def answered(self, packet: Packet, answer: Answer, *, ours: bool) -> tuple[Pending | None, bool]:
        """The request that this answer is for, once; and whether the answer is for one that is known at all.

        `ours` says that the answer is known to come from this machine: otherwise it must at least come from where the
        request went, or go to where it came from.
        """
        found = self._under(answer.branches)
        headers = None
        if not found and self._odd:
            headers = messages.headers(packet.payload)
            found = [
                one
                for one in self._under(tuple(map(_call_key, headers.calls)))
                if one.packet.source == packet.destination
            ]
        open_ones = [one for one in found if not one.answered and _can_answer(packet, one.packet, ours=ours)]
        if not open_ones:
            return None, bool(found)
        if len(open_ones) > 1:
            headers = headers or messages.headers(packet.payload)
            open_ones.sort(key=lambda one: _agreement(one, packet, headers), reverse=True)
        best = open_ones[0]
        method = headers.method if headers else messages.method_of(packet.payload)
        if method and method != best.request.method and not _may_be(best.request.headers, method):
            return None, True
        best.answered = True
        return best, True

    def waits_with_nonce_of(self, pending: Pending) -> bool:
        """Whether another request of this address and user that carries the same nonce waits for its answer, or to be judged."""
        mine = pending.request
        for nonce in mine.nonces:
            for one in self._under((_use_key(pending.packet.source, mine.user, nonce),)):
                if one is not pending and not one.judged:
                    return True
        return False

    def open(self, address: str) -> Iterator[Pending]:
        """The requests of this address that wait for an answer."""
        for part in self._parts:
            for pending in part.requests:
                if pending.packet.source == address and not pending.answered:
                    yield pending

    def expire(self, now: float) -> list[Pending]:
        """Forget what is too old; gives the requests among it that nobody has answered."""
        if self._turned is None or now < self._turned:
            self._turned = now
        gone: list[Pending] = []
        if now - self._turned >= self._span:
            for _ in range(min(_PARTS, int((now - self._turned) / self._span))):
                gone += self._turn(now)
        return gone

    def _turn(self, now: float) -> list[Pending]:
        self._turned = now
        self._parts.insert(0, _Part())
        gone = self._parts.pop()
        self._odd = any(part.odd for part in self._parts)
        return [one for one in gone.requests if not one.answered]

    def _under(self, keys: tuple[int, ...]) -> list[Pending]:
        """The requests with one of these keys, each once, the youngest first."""
        found: list[Pending] = []
        for part in self._parts:
            for key in keys:
                under = part.by_key.get(key)
                if under is not None:
                    found += under
        return found if len(keys) == 1 else list({id(one): one for one in found}.values())


class _Part:
    """The requests of some seconds."""

    __slots__ = ("by_key", "odd", "requests")

    def __init__(self) -> None:
        self.requests: list[Pending] = []
        self.by_key: defaultdict[int, list[Pending]] = defaultdict(list)
        self.odd = False
        """Some are to be found by their Call-ID too."""

    def add(self, keys: tuple[int, ...], pending: Pending) -> None:
        self.requests.append(pending)
        self.index(keys, pending)

    def index(self, keys: Iterable[int], pending: Pending) -> None:
        """Let it be found by these keys."""
        for key in keys:
            under = self.by_key[key]
            if len(under) < _PER_KEY:
                under.append(pending)


def _keys(request: Request) -> tuple[int, ...]:
    headers = request.headers
    if request.plain:
        return headers.branches
    return (*headers.branches, *map(_call_key, headers.calls))


def _use_key(source: str, user: str, nonce: int) -> int:
    return hash((source, user, nonce))


def _call_key(call: bytes) -> int:
    return hash((b"Call-ID", call))


def _can_answer(answer: Packet, request: Packet, *, ours: bool) -> bool:
    if answer.destination == request.destination or answer.source == request.source:
        return False  # it goes the way that the request went: somebody has sent the server an answer
    return ours or answer.destination == request.source or answer.source == request.destination


def _agreement(pending: Pending, packet: Packet, headers: Headers) -> tuple[bool, ...]:
    mine = pending.request.headers
    return (
        not headers.method or headers.method == pending.request.method or _may_be(mine, headers.method),
        pending.packet.source == packet.destination,
        pending.packet.source_port == packet.destination_port,
        not set(mine.cseqs).isdisjoint(headers.cseqs),
        not set(mine.calls).isdisjoint(headers.calls),
        mine.to_user == headers.to_user,
    )


def _may_be(headers: Headers, method: str) -> bool:
    """Whether a request may be answered under this method: it names several."""
    return len(headers.cseqs) > 1 and any(cseq.upper().endswith(method.encode()) for cseq in headers.cseqs)
