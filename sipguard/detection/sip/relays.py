"""Finds addresses that relay for many users: proxies that `[wire] proxies` should name."""

from __future__ import annotations

USERS = 10
"""An address is a relay once this many users have logged in from it: a stranger cannot log in as them."""
_MOST = 1000


class Relays:
    """Bounded: the addresses that were noted last, each with its first `USERS` users."""

    def __init__(self) -> None:
        self._of: dict[str, set[str]] = {}

    def login(self, address: str, user: str, answer: bytes) -> None:
        """A proven login; `answer` repeats the Via of each that the request has passed (RFC 3261, 8.2.6.2)."""
        if answer.count(b"\nVia:") < 2:
            return
        users = self._of.pop(address, None) or set()
        self._of[address] = users
        if len(users) < USERS:
            users.add(user)
        if len(self._of) > _MOST:
            del self._of[next(iter(self._of))]

    def many(self) -> list[str]:
        """The addresses that relay for `USERS` users or more."""
        return sorted(address for address, users in self._of.items() if len(users) >= USERS)
