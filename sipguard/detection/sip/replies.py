"""Final answers to credentials: what they tell, and those that cannot be judged yet.

A server of several processes copies its messages out of order (Kamailio's siptrace: one in ten on a busy machine): the copy of
a challenge may come after that of the answer to its credentials, and the copy of an acceptance after that of the refusal of the
same nonce, used again. So answers to nonces that are not known, or that another request waits with, are kept for a moment before
they are judged.
"""

from __future__ import annotations

from collections import defaultdict
from typing import TYPE_CHECKING, NamedTuple

from sipguard.detection.sip import messages
from sipguard.detection.sip.nonces import kind_of
from sipguard.wire_model import without_payload

if TYPE_CHECKING:
    from collections.abc import Iterable

    from sipguard.detection.sip.transactions import Pending
    from sipguard.wire_model import Packet

PATIENCE = 1.0
"""Seconds that a challenge may come late."""
MOST = 10_000
MOST_OF_ONE = 5
"""Answers to one address that may wait: a fast guesser on invented nonces is not to gain a second."""
_OF_ASTERISK = frozenset({"pjsip", "chan_sip"})
"""It judges the password on an invented nonce too, and `stale=true` says that it was right."""


class Reply(NamedTuple):
    """What a final answer says of the credentials."""

    packet: Packet
    status: int
    stale: bool = False
    of_asterisk: bool = False
    call_failed: bool = False
    """Of a 403: it is about the call, not about the credentials."""


def reply_of(packet: Packet, status: int) -> Reply:
    """Read the answer."""
    payload = packet.payload
    if status in {401, 407}:
        text = messages.challenge(payload)
        return Reply(packet, status, messages.is_stale(text), kind_of(messages.nonces_in(text)[1]) in _OF_ASTERISK)
    return Reply(packet, status, False, False, status == 403 and messages.headers(payload).call_failed)


class Held:
    """Answers that wait for a copy that comes late: of the challenge, or of what another request with the same nonce was told.

    For `patience` seconds of the packets' time, `MOST` at once; what they wait for releases them before.
    """

    def __init__(self, patience: float, most_of_one: int = MOST_OF_ONE) -> None:
        self._patience = patience
        self._most_of_one = most_of_one
        self._number = 0
        self._waiting: dict[int, tuple[Pending, Reply]] = {}
        """In the order of coming."""
        self._of_one: defaultdict[str, dict[int, tuple[Pending, Reply]]] = defaultdict(dict)
        self._by_nonce: defaultdict[int, dict[int, None]] = defaultdict(dict)

    def __len__(self) -> int:
        return len(self._waiting)

    def keep(self, pending: Pending, reply: Reply) -> bool:
        """Whether there is room to let it wait."""
        address = pending.packet.source
        if not self._patience or len(self._waiting) >= MOST or len(self._of_one.get(address, ())) >= self._most_of_one:
            return False
        self._number += 1
        held = pending, reply._replace(packet=without_payload(reply.packet))
        self._waiting[self._number] = self._of_one[address][self._number] = held
        for nonce in pending.request.nonces:
            self._by_nonce[nonce][self._number] = None
        return True

    def due(self, now: float) -> list[tuple[Pending, Reply]]:
        """Those that have waited long enough; all whose time is not that of `now`, where clocks differ or were set."""
        numbers = []
        for number, (_, reply) in self._waiting.items():
            if -1 < now - reply.packet.time < self._patience:
                break
            numbers.append(number)
        return [self._release(number) for number in numbers]

    def of(self, address: str, nonces: Iterable[int]) -> list[tuple[Pending, Reply]]:
        """Those of this address that carry one of these nonces: another that carries it has been judged."""
        wanted = set(nonces)
        of_one = self._of_one.get(address, {})
        numbers = [number for number, (pending, _) in of_one.items() if not wanted.isdisjoint(pending.request.nonces)]
        return [self._release(number) for number in numbers]

    def with_nonces(self, nonces: Iterable[int]) -> list[tuple[Pending, Reply]]:
        """Those of anybody that carry one of these nonces: their challenge has come. It may have been lent."""
        numbers = {number: None for nonce in nonces for number in self._by_nonce.get(nonce, ())}
        return [self._release(number) for number in numbers]

    def all_of(self, address: str) -> list[tuple[Pending, Reply]]:
        """All of this address, whatever they wait for."""
        return [self._release(number) for number in list(self._of_one.get(address, ()))]

    def _release(self, number: int) -> tuple[Pending, Reply]:
        pending, reply = self._waiting.pop(number)
        address = pending.packet.source
        del self._of_one[address][number]
        if not self._of_one[address]:
            del self._of_one[address]
        for nonce in pending.request.nonces:
            del self._by_nonce[nonce][number]
            if not self._by_nonce[nonce]:
                del self._by_nonce[nonce]
        return pending, reply
