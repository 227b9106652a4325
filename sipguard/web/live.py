"""What every viewer sees without asking: one poll of the daemon for all of them, sent on as server-sent events.

The daemon is asked every `EVERY` seconds while somebody looks, and once a minute while nobody does, for the timeline.
"""

from __future__ import annotations

import asyncio
import contextlib
import json
import time
from collections.abc import AsyncIterator, Callable
from functools import partial
from pathlib import Path
from typing import Any

from sipguard.errors import SipguardError
from sipguard.service_manager import starting
from sipguard.troubles import Trouble, troubles, unprotected
from sipguard.web.daemon_link import UnreachableError
from sipguard.web.networks import busiest
from sipguard.web.questions import Questions
from sipguard.web.timeline import MINUTE, Timeline

EVERY = 0.35
"""Seconds between two polls."""
SHARE = 0.01
"""Of the daemon's time that polls may take: where one takes long, there are fewer."""
SLOWER = 10.0
"""Seconds between two questions for feeds, fleet, and where bans come from."""
ALIVE = 15.0
"""Seconds after which a stream that had nothing to tell says so: proxies close silent ones."""
MOST_VIEWERS = 500
ATTACK_ATTEMPTS = 30
"""Attempts within the last minute or two that are an attack."""
ATTACK_BANS = 3
"""Bans within as long."""


class Live:
    """The shared view."""

    def __init__(self, questions: Questions, directory: Path, clock: Callable[[], float] = time.time) -> None:
        self._questions = questions
        self._clock = clock
        self.timeline = Timeline(directory)
        self.viewers = 0
        self.closing = False
        self._wanted = asyncio.Event()
        self._changed = asyncio.Condition()
        self._version = 0
        self._sent: dict[str, Any] = {}
        self._event = b""
        self._minute = 0
        self._timeline: tuple[int, bytes] = (0, b"")
        """The version with which the timeline was sent last, and that event."""
        self._overview: dict[str, Any] | None = None
        self._down: dict[str, Any] | None = None
        self._slow: dict[str, Any] = {"feeds": [], "others": None, "networks": []}
        self._slow_at = -SLOWER
        self._slower: asyncio.Future[None] | None = None
        self._saved = time.monotonic()

    async def run(self) -> None:
        """Poll until cancelled."""
        try:
            while True:
                await self._look()
                await self._publish()
                if time.monotonic() > self._saved + MINUTE:
                    self._saved = time.monotonic()
                    await asyncio.to_thread(self.timeline.save)
                await self._pause(max(EVERY, self._questions.poll_cost / SHARE))
        finally:
            if self._slower:
                self._slower.cancel()
            self.timeline.save()

    async def stop(self) -> None:
        """End every stream: the page is closing."""
        self.closing = True
        async with self._changed:
            self._changed.notify_all()

    async def _pause(self, seconds: float) -> None:
        if self.viewers:
            await asyncio.sleep(seconds)
            return
        self._wanted.clear()
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(MINUTE):
                await self._wanted.wait()

    async def _look(self) -> None:
        """Ask the daemon."""
        try:
            self._overview = await self._questions.poll()
        except SipguardError as error:
            mend = starting() if isinstance(error, UnreachableError) else ""
            before = self._down or {"since": self._clock()}
            self._down = {"since": before["since"], "why": str(error), "mend": mend}
            return
        self._down = None
        self.timeline.look(self._overview)
        if self.viewers and (self._slower is None or self._slower.done()) and time.monotonic() > self._slow_at + SLOWER:
            self._slow_at = time.monotonic()
            self._slower = asyncio.ensure_future(self._look_slowly())

    async def _look_slowly(self) -> None:
        """What takes longer and changes seldom; no ban is shown later for that."""
        with contextlib.suppress(SipguardError):
            feeds, others = await self._questions.ask("feeds"), await self._questions.ask("fleet")
            page = await self._questions.ask("bans", limit=1000, packets=False)
            addresses = [ban["address"] for ban in page["bans"]]
            networks = await asyncio.to_thread(busiest, addresses, page["geoip"])
            self._slow = {"feeds": feeds, "others": others, "networks": networks}

    def view(self) -> dict[str, Any]:
        """What is shown: the last that is known, and since when nothing new is."""
        overview = self._overview
        if overview is None:
            return {"down": self._down, "overview": None}
        # While the daemon is away its clock is ours.
        now = self._clock() if self._down else overview["now"]
        attempts, bans = self.timeline.recent(now, 1)
        hour, day = self.timeline.recent(now, 59), self.timeline.recent(now, 24 * 60 - 1)
        why = unprotected(overview)
        nobody = [Trouble(why.capitalize(), "sipguard check")] if why else []
        nodes = ((self._slow["others"] or {}).get("fleet") or {}).get("nodes", ())
        return {
            "down": self._down,
            "overview": {key: value for key, value in overview.items() if key != "now"},
            "attack": attempts >= ATTACK_ATTEMPTS or bans >= ATTACK_BANS,
            "lately": {"attempts": attempts, "bans": bans},
            "hour": {"attempts": hour[0], "bans": hour[1]},
            "day": {"attempts": day[0], "bans": day[1]},
            "health": [one._asdict() for one in nobody + troubles(overview, self._slow["feeds"], nodes)],
            "networks": self._slow["networks"],
            "minute": self.timeline.minutes(now, 1),
        }

    async def _publish(self) -> None:
        """Tell the viewers what is new, encoded once for all."""
        view = self.view()
        if view == self._sent:
            return
        self._sent = view
        async with self._changed:
            self._version += 1
            self._event = _event("view", view)
            if view["overview"] and view["minute"]["begin"] != self._minute:
                self._minute = view["minute"]["begin"]
                # A day of minutes: once a minute; the last of them comes with each view.
                self._timeline = self._version, _event("timeline", self.timeline.minutes(self._minute))
            self._changed.notify_all()

    def _news(self, seen: int) -> bool:
        return self.closing or seen != self._version

    async def events(self, goes_on: Callable[[], bool]) -> AsyncIterator[bytes]:
        """The stream of one viewer, for as long as its session goes on."""
        self.viewers += 1
        self._wanted.set()
        seen = 0
        try:
            yield b"retry: 1000\n\n"
            while not self.closing:
                if not goes_on():
                    yield b"event: expired\ndata: {}\n\n"
                    return
                if seen != self._version:
                    before, seen = seen, self._version
                    yield self._timeline[1] + self._event if before < self._timeline[0] else self._event
                else:
                    yield b": alive\n\n"
                with contextlib.suppress(TimeoutError):
                    async with asyncio.timeout(ALIVE), self._changed:
                        await self._changed.wait_for(partial(self._news, seen))
        finally:
            self.viewers -= 1


def _event(name: str, value: object) -> bytes:
    """One server-sent event (HTML, section 9.2.6)."""
    return f"event: {name}\ndata: {json.dumps(value)}\n\n".encode()
