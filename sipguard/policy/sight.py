"""What is remembered of the wire beside its attempts: who has sent anything, and which lines it cannot know of."""

from __future__ import annotations

import re
from collections import deque
from typing import TYPE_CHECKING

from sipguard.errors import ConfigError
from sipguard.policy.pairing import MEMORY

if TYPE_CHECKING:
    from collections.abc import Iterable

    from sipguard.model import Filter

MOST = 100_000
"""Addresses remembered in each of two halves."""
_LONGEST_LINE = 2000
_SPANS_OF_ONE = 8
_JOINED = 2.0
"""Seconds between two times of an address that make one span: who goes on and on needs no more room, however late his log is."""


class Presence:
    """The addresses that have sent anything within `MEMORY` at least, and twice that at most."""

    def __init__(self, most: int = MOST) -> None:
        self._young: set[str] = set()
        self._old: set[str] = set()
        self._turned: float | None = None
        self._most = most
        self.lost_until = 0.0
        """Of before this time an address may be missing: more have sent than can be remembered."""

    def __contains__(self, address: str) -> bool:
        return address in self._young or address in self._old

    def saw(self, addresses: Iterable[str], now: float) -> None:
        """These have sent something."""
        if self._turned is None or now < self._turned or now - self._turned >= MEMORY:
            self._turn(now)
        self._young.update(addresses)
        if len(self._young) > self._most:
            self.lost_until = now
            self._turn(now)

    def _turn(self, now: float) -> None:
        self._turned = now
        self._old, self._young = self._young, set()


class EncryptedSessions:
    """Encrypted connections that have carried the server's payload: address → the latest spans of time in which they did."""

    def __init__(self, most: int = MOST) -> None:
        self._of: dict[str, deque[tuple[float, float]]] = {}
        self._most = most

    def saw(self, address: str, time: float) -> None:
        """The server has sent payload to this address on an encrypted connection."""
        spans = self._of.pop(address, None) or deque(maxlen=_SPANS_OF_ONE)
        if spans and spans[-1][0] - _JOINED <= time <= spans[-1][1] + _JOINED:
            spans[-1] = min(spans[-1][0], time), max(spans[-1][1], time)
        else:
            spans.append((time, time))
        self._of[address] = spans
        if len(self._of) > self._most:
            del self._of[next(iter(self._of))]

    def within(self, address: str, since: float, until: float) -> bool:
        """Whether one did between these times."""
        return any(since <= end and begin <= until for begin, end in self._of.get(address, ()))


class OffWire:
    """The lines of a log that the wire cannot know of: keys of a filter, each a regex a line.

    off_wire    about what is not SIP: the manager interface, the event socket, IAX2
    off_hep     about SIP that a server does not copy into HEP packets
    """

    KEYS = ("off_wire", "off_hep")

    def __init__(self, filter: Filter, *, packets: bool, known: Iterable[Filter] = ()) -> None:  # noqa: A002 - the noun of the field
        """`packets`: the machine's own packets are watched, not HEP alone. Raises `ConfigError`.

        `known` are the filters that say it for one that does not: Fail2ban's have no such keys.
        """
        keys = self.KEYS[:1] if packets else self.KEYS
        says = (filter,) if any(key in filter.options for key in self.KEYS) else (filter, *known)
        texts = [text for one in says for key in keys for text in one.options.get(key, "").split("\n") if text]
        try:
            self._regex = re.compile("|".join(texts)) if texts else None
        except re.error as error:
            raise ConfigError(f"off_wire: {error}", filter.origin) from None

    def tells(self, line: str) -> bool:
        """Whether the wire can know nothing of what this line is about."""
        return self._regex is not None and self._regex.search(line[:_LONGEST_LINE]) is not None
