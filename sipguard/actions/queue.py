"""One queue per action of a jail: notices are processed in order, in bounded memory, without delaying anything else.

If an action is too slow, its oldest notices are dropped and counted. An action that keeps state per ban loses none: a
waiting ban and its waiting unban cancel each other, so its queue never grows beyond the number of bans.
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
"""Most notices waiting in one queue."""
_NEVER_DROPPED = ("start", "flush", "reload", "stop")
# An action that always fails logs this five times, then every hundredth time.
_TOLD = 5
_TOLD_AGAIN = 100


class ActionQueue:
    """The queue of one action. Its task runs only while there is something to do."""

    def __init__(self, title: str, worker: Worker, most: int = MOST_QUEUED) -> None:
        """`title` names jail and action in the log."""
        self.title = title
        self.worker = worker
        self.done = 0
        self.failed = 0
        self.dropped = 0
        self.problem = ""
        """Why the last notice failed; empty if it succeeded."""
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
        return len(self._queue)

    def put(self, notice: Notice) -> None:
        """Queue a notice. If the queue is full, drop the oldest ban together with its unban."""
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
        """Whether this unban can be skipped: its ban was dropped, or still waits and is removed too."""
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
                log.warning("%s is too slow; notices dropped so far: %d", self.title, self.dropped)
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
                # Not wait_for: before Python 3.12 it loses a cancellation that arrives together with the event.
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
            self._fail(f"stopped after {self.worker.longest:g} s", len(notices))
        except Exception as error:  # no fault in an action may end its queue
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
            more = "; it keeps failing" if self._in_a_row == _TOLD else ""
            log.error("%s: %s%s", self.title, problem, more)

    async def finish(self) -> None:
        """Wait until the queue is empty. Batches no longer wait for more notices."""
        self._hurry.set()
        if self._task is not None:
            await asyncio.wait([self._task])  # if the waiter is cancelled, the task must go on

    async def close(self) -> None:
        """Cancel what is running and discard what waits."""
        self._queue.clear()
        if self._task is not None:
            self._task.cancel()
            await asyncio.gather(self._task, return_exceptions=True)
        await self.worker.close()


async def finish(queues: Sequence[ActionQueue], patience: float) -> bool:
    """Let queues finish for `patience` seconds, then close them. Returns whether all work was done."""
    done = True
    try:
        async with asyncio.timeout(patience):
            await asyncio.gather(*(queue.finish() for queue in queues))
    except TimeoutError:
        done = False
        late = [f"{queue.title} ({queue.queued} waiting)" for queue in queues if queue.queued]
        log.warning("Actions interrupted by the stop: %s", ", ".join(late) or "one was still running")
    await asyncio.gather(*(queue.close() for queue in queues))
    return done
