"""A connection to a server's events: made again with growing pauses, for whichever server."""

from __future__ import annotations

import asyncio
import contextlib
import os
import socket
from typing import TYPE_CHECKING

from sipguard.errors import SipguardError
from sipguard.sources.event_dialogue import EventCounts

if TYPE_CHECKING:
    from collections.abc import Callable

    from sipguard.sources.event_dialogue import Dialogue
    from sipguard.wire_model import ServerEvent

NOT_YET = "not connected yet"
FIRST_PAUSE, LONGEST_PAUSE = 0.5, 30.0
"""Seconds between two attempts to connect: doubled each time. A server that is back after a short while is found soon."""
_PATIENT_AFTER = 60.0
"""Seconds of attempts each `_EAGER` at most: what restarts is back within a minute."""
_EAGER = 4.0
_LASTS = 5.0
"""Seconds after which a connection has lasted: a server that hangs up at once, again and again, is not asked twice a second."""
WITHIN = 10.0
"""Seconds for connecting and for the login."""
_AT_ONCE = 262_144
_BUSY = 500
"""Events a second from which they are gathered: waking for each costs more than reading it."""
_GATHER = 0.1
"""Seconds for which they are."""


class EventConnection:
    """Keeps one connection. `changed` is told whenever `speaks` or `problem` is another than before."""

    def __init__(
        self,
        host: str,
        port: int,
        dialogue: Callable[[], Dialogue],
        *,
        deliver: Callable[[list[ServerEvent]], None],
        changed: Callable[[], None],
    ) -> None:
        """`dialogue` makes a new one for each connection, and may raise `SipguardError`."""
        self.speaks = False
        """Whether the server tells its events right now."""
        self.problem: str | None = NOT_YET
        self.connections = 0
        """How often the server has begun to tell."""
        self.counts = EventCounts()
        self._host, self._port = host, port
        self._dialogue = dialogue
        self._deliver = deliver
        self._changed = changed

    async def run(self) -> None:
        """Listen until cancelled."""
        pause, tried = FIRST_PAUSE, 0.0
        while True:
            before, begun = self.connections, asyncio.get_running_loop().time()
            await self._once()
            if self.connections > before and asyncio.get_running_loop().time() - begun >= _LASTS:
                pause, tried = FIRST_PAUSE, 0.0
            await asyncio.sleep(pause)
            tried += pause
            pause = min(pause * 2, LONGEST_PAUSE if tried > _PATIENT_AFTER else _EAGER)

    async def _once(self) -> None:
        """One connection, from the beginning to its end."""
        writer = dialogue = None
        try:
            dialogue = self._dialogue()
            self.counts = dialogue.counts
            async with asyncio.timeout(WITHIN):
                reader, writer = await asyncio.open_connection(self._host, self._port, limit=_AT_ONCE)
                _notice_death(writer)
                while not dialogue.ready:
                    await self._turn(dialogue, reader, writer)
            self.connections += 1
            self._became(speaks=True, problem=None)
            await self._listen(dialogue, reader, writer)
        except TimeoutError:
            meant = dialogue.silence if dialogue is not None else ""
            self._became(speaks=False, problem=meant or f"no answer within {WITHIN:g} s")
        except SipguardError as error:
            self._became(speaks=False, problem=str(error))
        except (OSError, EOFError) as error:
            self._became(speaks=False, problem=_why(error))
        except asyncio.CancelledError:
            if writer is not None and dialogue is not None:
                with contextlib.suppress(OSError):
                    writer.write(dialogue.farewell())
            raise
        finally:
            self.speaks = False
            if writer is not None:
                writer.close()

    async def _listen(self, dialogue: Dialogue, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        """Until the connection ends."""
        now = asyncio.get_running_loop().time
        since, before, busy = now(), dialogue.counts.events, False
        while True:
            read = await self._turn(dialogue, reader, writer)
            if (passed := now() - since) >= 1:
                told = dialogue.counts.events - before
                busy = told > _BUSY * passed
                since, before = now(), dialogue.counts.events
            if busy and read < _AT_ONCE:
                # The kernel gathers: a paused transport does not wake the loop for each segment.
                writer.transport.pause_reading()  # type: ignore[attr-defined]
                await asyncio.sleep(_GATHER)
                writer.transport.resume_reading()  # type: ignore[attr-defined]

    async def _turn(self, dialogue: Dialogue, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> int:
        """One read; gives its bytes."""
        data = await reader.read(_AT_ONCE)
        if not data:
            raise EOFError("the server has closed the connection")
        events, answer = dialogue.take(data)
        if answer:
            writer.write(answer)
            await writer.drain()
        if events:
            self._deliver(events)
        return len(data)

    def _became(self, *, speaks: bool, problem: str | None) -> None:
        new = (speaks, problem) != (self.speaks, self.problem)
        self.speaks, self.problem = speaks, problem
        if new:
            self._changed()


def _notice_death(writer: asyncio.StreamWriter) -> None:
    """A server that vanishes without a word is noticed within 5 s, tcp(7)."""
    sock: socket.socket | None = writer.get_extra_info("socket")
    if sock is not None:
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE, 1)
        for option, value in ((socket.TCP_KEEPIDLE, 2), (socket.TCP_KEEPINTVL, 1), (socket.TCP_KEEPCNT, 2)):
            sock.setsockopt(socket.IPPROTO_TCP, option, value)


def _why(error: OSError | EOFError) -> str:
    """What the system calls it: asyncio's own text for a refused connection is a Python tuple."""
    number = error.errno if isinstance(error, OSError) else None
    return os.strerror(number) if number and number > 0 else str(error) or "connection lost"
