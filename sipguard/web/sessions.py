"""Who is logged in, for how long, and how often somebody may try. In memory: a restart of the page logs everybody out."""

from __future__ import annotations

import hmac
import secrets
from collections import OrderedDict
from collections.abc import Callable
from dataclasses import dataclass, field

MOST_SESSIONS = 1000
"""At once; for one more the one that was used longest ago ends."""
TRIES = 5
"""Wrong tokens from one address, within `WINDOW`; then it waits."""
ALL_TRIES = 100
"""Wrong tokens from all addresses together."""
WINDOW = 300.0
"""Seconds."""
MOST_ADDRESSES = 10_000
"""Whose wrong tokens are remembered."""


def _chance() -> str:
    return secrets.token_urlsafe(32)


@dataclass(slots=True)
class PageSession:
    """One browser that is logged in."""

    user: str
    generation: str
    """The token by which it came; empty for a user that a proxy has named."""
    begun: float
    used: float
    key: str = field(default_factory=_chance)
    """Its cookie."""
    csrf: str = field(default_factory=_chance)
    """What every request that changes something repeats, as no other site can."""

    def vouched(self, given: str) -> bool:
        """Whether a request that repeats this comes from our own page."""
        return hmac.compare_digest(self.csrf.encode(), given.encode("utf-8", "surrogatepass"))


class PageSessions:
    """All of them. `idle` and `longest` are seconds: without a request, and in all."""

    def __init__(self, *, idle: float, longest: float, clock: Callable[[], float]) -> None:
        self._idle = idle
        self._longest = longest
        self._clock = clock
        self._sessions: OrderedDict[str, PageSession] = OrderedDict()

    def begin(self, user: str, generation: str) -> PageSession:
        """Log somebody in."""
        now = self._clock()
        session = PageSession(user, generation, now, now)
        self._sessions[session.key] = session
        while len(self._sessions) > MOST_SESSIONS:
            self._sessions.popitem(last=False)
        return session

    def alive(self, session: PageSession, generation: str) -> bool:
        """Whether it goes on; one that does not is forgotten. `generation` is that of the token there is now."""
        now = self._clock()
        over = now - session.used > self._idle or now - session.begun > self._longest
        if over or (session.generation and session.generation != generation):
            self.end(session)
        return session.key in self._sessions

    def find(self, key: str, generation: str, *, use: bool = True) -> PageSession | None:
        """The session of a cookie; `use`: this keeps it from idling."""
        session = self._sessions.get(key)
        if session is None or not self.alive(session, generation):
            return None
        if use:
            session.used = self._clock()
            self._sessions.move_to_end(key)
        return session

    def end(self, session: PageSession) -> None:
        """Log out."""
        self._sessions.pop(session.key, None)


class WrongTokens:
    """Wrong tokens, by the address that sent them."""

    def __init__(self, clock: Callable[[], float]) -> None:
        self._clock = clock
        self._wrong: OrderedDict[str, list[float]] = OrderedDict()
        self._all: list[float] = []

    def wait(self, address: str) -> float:
        """Seconds until this address may try again; 0 at once."""
        since = self._clock() - WINDOW
        self._all = [when for when in self._all if when > since]
        own = [when for when in self._wrong.get(address, ()) if when > since]
        ends = [own[-TRIES]] if len(own) >= TRIES else []
        ends += [self._all[-ALL_TRIES]] if len(self._all) >= ALL_TRIES else []
        return max((when - since for when in ends), default=0.0)

    def failed(self, address: str) -> None:
        """A wrong token has come from there."""
        now = self._clock()
        self._all = [*self._all[1 - ALL_TRIES :], now]
        self._wrong[address] = [*self._wrong.get(address, ())[1 - TRIES :], now]
        self._wrong.move_to_end(address)
        while len(self._wrong) > MOST_ADDRESSES:
            self._wrong.popitem(last=False)

    def succeeded(self, address: str) -> None:
        """The right one has."""
        self._wrong.pop(address, None)
