"""Which address each nonce was sent to: the proof that a packet came from where it says.

A nonce that this server sent to one address alone, and that nobody can predict, comes back in a packet only from whoever
receives packets at that address. Nonces are kept as hashes, their addresses for `LIFETIME` seconds at least.
"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, NamedTuple

from sipguard.detection.sip import messages
from sipguard.detection.sip.generations import Generations

if TYPE_CHECKING:
    from collections.abc import Iterable

LIFETIME = 600.0
"""Seconds; no server that we know accepts a nonce for longer."""
MOST = 200_000
_MOST_SERVERS = 1000
_LEARNT = 3
"""Different nonces to different addresses within one second, so many times: they do not depend on the time alone."""
_EDGE = 0.05
"""Near the turn of a second two nonces may differ because the server's second has changed."""
_CHANCE = 10_000
"""With more nonces than this in the table, two equal ones of 32 bits may be chance (chan_sip)."""

_KINDS = re.compile(
    rb"(?P<uuid>[0-9a-f]{8}(?:-[0-9a-f]{4}){3}-[0-9a-f]{12})|(?P<pjsip>\d{9,11}/[0-9a-f]{32})|(?P<chan_sip>[0-9a-f]{8})"
)


class Origin(NamedTuple):
    """What a challenge tells of its nonces: shared by many."""

    place: str
    """Address and port of the server that sent it."""
    port: int
    method: str
    """Of the request that was challenged."""
    unpredictable: bool
    """By its form. Otherwise it depends on what this server has shown."""


class Sent(NamedTuple):
    """Where a nonce was sent."""

    owner: str
    """The address; "" when there were several, or a proxy stands for them."""
    origin: Origin


class Nonces:
    """`spoilt`: servers that have given one nonce to two addresses; they prove nothing any more. Kept by the owner.

    A server is an address, "" for this machine; a place is a port of one, where a program listens.
    """

    def __init__(self, spoilt: Iterable[str] = (), *, lifetime: float = LIFETIME, most: int = MOST) -> None:
        self.spoilt = set(spoilt)
        self._sent: Generations[int, Sent] = Generations(lifetime, most)
        self._learning: dict[str, _Learning] = {}
        self._seen: dict[str, bool] = {}
        """Place → whether it has sent nonces that are unpredictable by their form."""
        self._origins: dict[tuple[str, int, str, str], Origin] = {}

    def __len__(self) -> int:
        return len(self._sent)

    @property
    def lost_until(self) -> float:
        """The table was full: a nonce sent before this time may be missing."""
        return self._sent.lost_until

    def record(
        self,
        server: str,
        port: int,
        method: str,
        owner: str,
        challenge: bytes,
        now: float,
        carried: tuple[int, ...] = (),
    ) -> None:
        """The server has sent this challenge to `owner`, "" for one that proves nobody.

        `carried`: nonces of the request that it answers. One of them that the server gives back, and that it is not known to
        have sent before, was not the server's to give: it may be invented.
        """
        nonces, first = messages.nonces_in(challenge)
        if not nonces:
            return
        kind = kind_of(first)
        origin = self._origin(server, port, method, kind)
        for nonce in nonces:
            key = hash((server, nonce))
            known = self._sent.get(key)
            if known is None:
                if nonce not in carried:
                    self._sent.put(key, Sent(owner, origin), now)
            elif known.owner != owner:
                self._sent.put(key, Sent("", origin), now)
                if known.owner and owner and (kind != "chan_sip" or len(self._sent) <= _CHANCE):
                    self._spoil(origin.place)
                    self._spoil(known.origin.place)
        if not kind and owner and nonces[0] not in carried:
            self._learn(origin.place, owner, nonces[0], now)

    def sent(self, server: str, nonce: int) -> Sent | None:
        """Where this server has sent a nonce; None for one that it has sent to nobody within the lifetime."""
        return self._sent.get(hash((server, nonce)))

    def proves(self, sent: Sent) -> bool:
        """Whether a nonce of this origin is proof: nobody can know it who has not received it."""
        place = sent.origin.place
        return place not in self.spoilt and (sent.origin.unpredictable or self._has_learnt(place))

    def trusts(self, server: str, port: int) -> bool:
        """Whether the nonces of the program there are proof, as far as they have been seen."""
        place = _place(server, port)
        return place not in self.spoilt and (self._seen.get(place, False) or self._has_learnt(place))

    def _has_learnt(self, place: str) -> bool:
        learning = self._learning.get(place)
        return learning is not None and learning.times >= _LEARNT

    def _origin(self, server: str, port: int, method: str, kind: str) -> Origin:
        key = (server, port, method, kind)
        origin = self._origins.get(key)
        if origin is None:
            if len(self._origins) >= _MOST_SERVERS:
                self._origins.clear()
            if len(self._seen) >= _MOST_SERVERS:
                self._seen.clear()
            origin = self._origins[key] = Origin(_place(server, port), port, method, bool(kind))
        if kind:
            self._seen[origin.place] = True
        return origin

    def _spoil(self, place: str) -> None:
        if len(self.spoilt) < _MOST_SERVERS:
            self.spoilt.add(place)

    def _learn(self, place: str, owner: str, nonce: int, now: float) -> None:
        second, part = divmod(now, 1.0)
        last = self._learning.get(place)
        if not _EDGE < part < 1 - _EDGE or (last is None and len(self._learning) >= _MOST_SERVERS):
            return
        times = last.times if last else 0
        if last and int(second) == last.second and owner != last.owner and nonce != last.nonce:
            times += 1
        self._learning[place] = _Learning(times, int(second), owner, nonce)


class _Learning(NamedTuple):
    """How often a program's nonces have differed where they need not have, and its last challenge."""

    times: int
    second: int
    owner: str
    nonce: int


def _place(server: str, port: int) -> str:
    return f"{server} {port}"


def kind_of(nonce: bytes) -> str:
    """The form of a nonce.

    FreeSWITCH's are UUIDs, those of PJSIP bound to second and address, chan_sip's random: unpredictable; "" for others.
    """
    match = _KINDS.fullmatch(nonce)
    return match.lastgroup or "" if match else ""
