"""Carries out actions beside everything else: each in its own lane, in order, in bounded memory, and never in the way.

A lane is one action of one jail. What a slow action cannot keep up with is dropped, the oldest first, and counted. An
action that keeps something of each ban, to be undone by its unban, loses none: there a ban and its unban that both still
wait cancel each other, so that never more wait than there are bans.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
from collections import OrderedDict
from collections.abc import Sequence

from sipguard.actions.base import ActionError, Notice, Worker

log = logging.getLogger("fail2ban.actions")

MOST_QUEUED = 500
"""Notices that wait in one lane at most."""
_NEVER_DROPPED = ("start", "flush", "reload", "stop")
# An action that always fails says so five times, and then at every hundredth time.
_TOLD = 5
_TOLD_AGAIN = 100


class ActionQueue:
    """The queue of one action. Its task lives only as long as there is something to do."""

    def __init__(self, title: str, worker: Worker, most: int = MOST_QUEUED) -> None:
        """`title` names jail and action in the log."""
        self.title = title
        self.worker = worker
        self.done = 0
        self.failed = 0
        self.dropped = 0
        self.problem = ""
        """Why the last notice failed; empty when it did not."""
        self._most = most
        self._queue: OrderedDict[int, Notice] = OrderedDict()
        self._number = 0
        self._waiting: dict[str, int] = {}
        self._task: asyncio.Task[None] | None = None
        self._in_a_row = 0
        self._missed: set[str] = set()
        self._hurry = asyncio.Event()

    @property
    def queued(self) -> int:
        """Notices that wait."""
        return len(self._queue)

    def put(self, notice: Notice) -> None:
        """Queue a notice. When the queue is full the oldest ban goes, and with it the unban that belongs to it."""
        address = notice.ticket.ban.address
        if notice.verb == "unban" and self._is_needless(address):
            return
        if len(self._queue) >= self._most and not self.worker.essential:
            self._drop()
        self._number += 1
        self._queue[self._number] = notice
        if notice.verb == "ban" and self.worker.essential:
            self._waiting[address] = self._number
        if self._task is None or self._task.done():
            self._task = asyncio.get_running_loop().create_task(self._run())

    def _is_needless(self, address: str) -> bool:
        """Whether the action does not know of the ban that ends: it was dropped, or still waits and goes too."""
        if address in self._missed:
            self._missed.discard(address)
            return True
        number = self._waiting.pop(address, None)
        return number is not None and self._queue.pop(number, None) is not None

    def _drop(self) -> None:
        for number, notice in self._queue.items():
            if notice.verb in _NEVER_DROPPED:
                continue
            del self._queue[number]
            if notice.verb == "ban":
                self._missed.add(notice.ticket.ban.address)
            self.dropped += 1
            if self.dropped == 1 or self.dropped % _TOLD_AGAIN == 0:
                log.warning("%s is too slow: %d notices dropped so far", self.title, self.dropped)
            return

    def _next(self) -> list[Notice]:
        notices: list[Notice] = []
        while self._queue and len(notices) < self.worker.batch:
            number, notice = self._queue.popitem(last=False)
            if self._waiting.get(notice.ticket.ban.address) == number:
                del self._waiting[notice.ticket.ban.address]
            notices.append(notice)
        return notices

    async def _run(self) -> None:
        while self._queue:
            if self.worker.linger and not self._hurry.is_set():
                # Not wait_for: until Python 3.12 it swallows a cancellation that comes together with the event.
                with contextlib.suppress(TimeoutError):
                    async with asyncio.timeout(self.worker.linger):
                        await self._hurry.wait()
            await self._handle(self._next())

    async def _handle(self, notices: Sequence[Notice]) -> None:
        try:
            async with asyncio.timeout(self.worker.longest):
                await self.worker.handle(notices)
        except ActionError as error:
            self._fail(str(error), len(notices))
        except TimeoutError:
            self._fail(f"cut after {self.worker.longest:g} s", len(notices))
        except Exception as error:  # a fault in one action, of whatever kind, must not end its lane
            log.debug("%s", self.title, exc_info=True)
            self._fail(f"{type(error).__name__}: {error}", len(notices))
        else:
            self.done += len(notices)
            self._in_a_row = 0
            self.problem = ""

    def _fail(self, problem: str, count: int) -> None:
        self.failed += count
        self._in_a_row += 1
        self.problem = problem
        if self._in_a_row <= _TOLD or self._in_a_row % _TOLD_AGAIN == 0:
            more = "; failing again and again" if self._in_a_row == _TOLD else ""
            log.error("%s: %s%s", self.title, problem, more)

    async def finish(self) -> None:
        """Wait until the queue is empty; nothing lingers any more."""
        self._hurry.set()
        if self._task is not None:
            await asyncio.wait([self._task])  # who waits may give up: that alone must not end the task

    async def close(self) -> None:
        """End what is running, forget what waits."""
        self._queue.clear()
        if self._task is not None:
            self._task.cancel()
            await asyncio.gather(self._task, return_exceptions=True)
        await self.worker.close()


async def finish(lanes: Sequence[ActionQueue], patience: float) -> bool:
    """Let lanes finish for `patience` seconds, then end them; whether all was done."""
    done = True
    try:
        async with asyncio.timeout(patience):
            await asyncio.gather(*(lane.finish() for lane in lanes))
    except TimeoutError:
        done = False
        late = [f"{lane.title} ({lane.queued} waiting)" for lane in lanes if lane.queued]
        log.warning("Actions cut short at the end: %s", ", ".join(late) or "one was still at work")
    await asyncio.gather(*(lane.close() for lane in lanes))
    return done
