"""What viewers ask the daemon for, bounded in what it costs the daemon, however many they are.

Each question is put once for all who ask it, and its answer is kept for a moment. Questions as a whole may keep the daemon busy
for a small share of the time: who asks more waits.
"""

from __future__ import annotations

import asyncio
import json
import time
from collections import OrderedDict, defaultdict, deque
from pathlib import Path
from typing import Any

from sipguard.errors import SipguardError
from sipguard.web.daemon_link import ask, ask_at_cost
from sipguard.web.shown import fit

SHARE = 0.004
"""Of the daemon's time that questions may take, beside the poll."""
BURST = 0.08
"""Seconds of the daemon's time that may be taken at once: one person who looks around waits for nothing."""
PATIENCE = 15.0
"""Seconds that a question may wait for its turn."""
AGAIN = 0.3
"""Seconds between two times that the same question is put: who asks within waits for the second."""
UNDISTURBED = 5
"""Questions of a kind whose cheapest tells what one costs: during the others the daemon had other work as well."""
MOST_KEPT = 200
"""Answers."""


class BusyError(SipguardError):
    """Too much is asked at once."""


class Questions:
    """All questions of one page to one daemon. Answers are fit to be shown."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self.moves: object = None
        """Of the last overview: while it stays, bans are the same."""
        self.poll_cost = 0.0
        """Seconds of a processor that an overview costs the daemon."""
        self._kept: OrderedDict[str, tuple[float, object, Any]] = OrderedDict()
        """Question → when it was put, what `moves` were then, the answer."""
        self._under_way: dict[str, asyncio.Task[Any]] = {}
        self._turn = asyncio.Lock()
        self._spent = 0.0
        """Seconds of the daemon's time that are not paid back yet."""
        self._counted = time.monotonic()
        self._cheapest: dict[str, deque[float]] = defaultdict(lambda: deque(maxlen=UNDISTURBED))

    async def ask(self, command: str, *, keep: float = 2.0, free: bool = False, **arguments: Any) -> Any:
        """The answer, not older than `keep` seconds and than the last change of a ban.

        `free`: it costs the daemon itself nothing, so it waits for no turn.

        Raises `SipguardError`.
        """
        key = json.dumps([command, arguments], sort_keys=True)
        known = self._kept.get(key)
        if known and known[0] + keep > time.monotonic() and (free or known[1] == self.moves):
            return known[2]
        task = self._under_way.get(key)
        if task is None:
            task = asyncio.create_task(self._put(key, command, arguments, free=free))
            self._under_way[key] = task
            task.add_done_callback(lambda _: self._under_way.pop(key, None))
        # Shielded: one viewer who goes away takes the answer from nobody else.
        return await asyncio.shield(task)

    async def poll(self) -> Any:
        """The overview, now."""
        told, took = await ask_at_cost(self._path, "overview")
        overview = fit(told)
        self.moves = overview["since"], overview["moves"]
        self.poll_cost = self._cost("overview", took)
        return overview

    def _cost(self, command: str, took: float) -> float:
        """What such a question costs the daemon, in seconds of a processor."""
        self._cheapest[command].append(took)
        return min(self._cheapest[command])

    def forget(self) -> None:
        """Something has been changed by hand: ask anew."""
        self._kept.clear()

    async def _put(self, key: str, command: str, arguments: dict[str, Any], *, free: bool) -> Any:
        if known := self._kept.get(key):
            await asyncio.sleep(known[0] + AGAIN - time.monotonic())
        moves = self.moves
        if free:
            answer = fit(await ask(self._path, command, **arguments))
        else:
            answer = await self._in_turn(command, arguments)
        self._kept[key] = time.monotonic(), moves, answer
        self._kept.move_to_end(key)
        while len(self._kept) > MOST_KEPT:
            self._kept.popitem(last=False)
        return answer

    async def _in_turn(self, command: str, arguments: dict[str, Any]) -> Any:
        try:
            async with asyncio.timeout(PATIENCE):
                await self._turn.acquire()
                try:
                    await self._afford()
                except BaseException:
                    self._turn.release()
                    raise
        except TimeoutError:
            raise BusyError("too many questions at once; try again in a moment") from None
        try:
            answer, took = await ask_at_cost(self._path, command, **arguments)
            self._spent += self._cost(command, took)
            return fit(answer)
        finally:
            self._turn.release()

    async def _afford(self) -> None:
        """Wait until there is time to spend."""
        while True:
            now = time.monotonic()
            self._spent = max(0.0, self._spent - SHARE * (now - self._counted))
            self._counted = now
            if self._spent <= BURST:
                return
            await asyncio.sleep((self._spent - BURST) / SHARE)
