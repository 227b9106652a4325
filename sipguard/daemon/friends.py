"""Whom others' bans never reject here: this machine, `ignoreip`, the other nodes, and addresses that logged in of late."""

from __future__ import annotations

from collections.abc import Iterable, Mapping

from sipguard.networks import BITS, parse
from sipguard.policy.ignore import IgnoreList

KEEP = 86_400.0
"""Seconds for which a login counts."""
MOST = 100_000
"""Addresses with a login that are remembered; those that logged in first go first."""


class Friends:
    """Answers for an address or network whether it holds a friend. Times are POSIX seconds."""

    def __init__(self, logins: Mapping[str, float] | None = None) -> None:
        self._never = IgnoreList([])
        self._names: frozenset[str] = frozenset()
        self._logins: dict[str, float] = {}
        self._masked: dict[tuple[int, int], dict[int, float]] = {}
        """(version, prefix length) → network → its latest login; of lengths that were asked for."""
        for address, time in sorted((logins or {}).items(), key=lambda item: item[1]):
            self.login(address, time)

    def set_never(self, networks: Iterable[str]) -> bool:
        """What never may be rejected, besides logins; whether that has changed."""
        names = frozenset(networks)
        if names == self._names:
            return False
        self._names, self._never = names, IgnoreList(names)
        return True

    def login(self, address: str, time: float) -> float:
        """Somebody has logged in from here; gives when that was so last, 0 if never."""
        before = self._logins.pop(address, 0.0)
        self._logins[address] = time
        if len(self._logins) > MOST:
            del self._logins[next(iter(self._logins))]
        version, first, _ = parse(address)
        for (of_version, length), masked in self._masked.items():
            if of_version == version:
                masked[first >> (BITS[version] - length)] = time
        return before

    def reason(self, network: str, now: float) -> str | None:
        """Why this network must not be rejected; None if it may."""
        if why := self._never.reason(network):
            return why
        since = now - KEEP
        if "/" not in network:
            return "it has logged in" if self._logins.get(network, 0.0) > since else None
        version, first, length = parse(network)
        found = self._of(version, length).get(first >> (BITS[version] - length), 0.0)
        return "an address in it has logged in" if found > since else None

    def _of(self, version: int, length: int) -> dict[int, float]:
        key = version, length
        if key not in self._masked:
            self._masked[key] = masked = {}
            for address, time in self._logins.items():
                of_version, first, _ = parse(address)
                if of_version == version:
                    masked[first >> (BITS[version] - length)] = time
        return self._masked[key]

    def shift(self, seconds: float) -> None:
        """The clock was set."""
        self._logins = {address: time + seconds for address, time in self._logins.items()}
        self._masked.clear()
