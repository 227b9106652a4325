"""The connection to Redis or Valkey: every command that sipguard sends there. redis-py is imported here alone.

Every method raises `LinkError`. A command that takes longer than `PATIENCE` has failed.
"""

from __future__ import annotations

import asyncio
import contextlib
import time
from collections.abc import AsyncIterator, Iterable, Iterator, Mapping, Sequence
from typing import Any, NamedTuple

from sipguard.errors import FleetError
from sipguard.fleet.messages import CLASSES, LONGEST_BEAT, NAME, NODES, Beat, Event, key
from sipguard.model import Clock, Fleet
from sipguard.text import printable

SETS = (*(f"bans:{name}" for name in CLASSES), "unbans", "pardons")
"""The sorted sets of a node."""
PATIENCE = 5.0
"""Seconds that Redis may take for an answer."""
BLOCK = 1.0
"""Longest wait for an event in one read of the streams, in seconds; a new node's stream is read only after it."""
PAGE = 500
"""Elements of a set, and events of a stream, in one answer."""
STREAM = 20_000
"""Approximate length of a stream; a node that has missed more events reads the sets."""
KEEP_BEAT = 7 * 86_400
"""A silent node is forgotten after this many seconds."""
NAMES = 4 * PAGE
"""Names of nodes that are read at a time."""
_CHUNK = 200
"""Events in one transaction."""


class LinkError(FleetError):
    """Redis is out of reach, refuses a command, or gives an unexpected answer."""


class WrongTypeError(LinkError):
    """A key has the wrong type: somebody with write access has replaced it."""


class UnwritableError(LinkError):
    """Redis answers but accepts no writes: its memory or disk is full, or it is a replica without its primary."""


class Read(NamedTuple):
    """One event of a stream, not validated yet."""

    node: str
    id: str
    fields: Mapping[bytes, bytes]


class Link:
    """One node's connections. `open` first."""

    def __init__(self, settings: Fleet, *, clock: Clock) -> None:
        self._settings = settings
        self._name = settings.name
        self._clock = clock
        self._redis: Any = None
        self.offset = 0.0
        """Redis's clock minus this machine's, in seconds."""
        self._cursor = 0
        """Cursor in the set of names."""

    async def open(self) -> None:
        """Connect, and compare the clocks."""
        import redis  # noqa: PLC0415 - eight megabytes, for those who have a fleet
        from redis.asyncio import Redis  # noqa: PLC0415
        from redis.asyncio.retry import Retry  # noqa: PLC0415
        from redis.backoff import NoBackoff  # noqa: PLC0415

        options: dict[str, Any] = {"password": self._settings.password} if self._settings.password else {}
        if redis.VERSION >= (5,):
            options["protocol"] = (
                2  # the answers of XREAD have another form in version 3, which older libraries do not speak
            )
        if self._settings.ca_file:
            options["ssl_ca_certs"] = self._settings.ca_file
        with self._told():
            self._redis = Redis.from_url(
                self._settings.url,
                socket_timeout=PATIENCE,
                socket_connect_timeout=PATIENCE,
                retry=Retry(NoBackoff(), 0),
                **options,
            )
        await self.compare_clocks()

    async def close(self) -> None:
        """Close the connections."""
        if self._redis is not None:
            redis, self._redis = self._redis, None
            with contextlib.suppress(Exception):  # it is gone either way
                await getattr(redis, "aclose", redis.close)()  # the name before redis-py 5.0.1

    async def compare_clocks(self) -> None:
        """Measure `offset`; its error is at most half of the round trip."""
        begin = time.monotonic()
        with self._told():
            seconds, micros = await self._redis.time()
        self.offset = int(seconds) + int(micros) / 1e6 + (time.monotonic() - begin) / 2 - self._clock()

    def now(self) -> float:
        """Redis's time, by the last measurement."""
        return self._clock() + self.offset

    async def write(self, events: Sequence[Event]) -> None:
        """Write events to the sets and the stream in batches; each batch is one transaction."""
        for begin in range(0, len(events), _CHUNK):
            with self._told():
                async with self._redis.pipeline(transaction=True) as pipe:
                    for event in events[begin : begin + _CHUNK]:
                        what = f"bans:{event.evidence}" if event.kind == "ban" else f"{event.kind}s"
                        pipe.zadd(key(self._name, what), {event.network: round(event.until, 3)}, gt=True)
                        pipe.xadd(key(self._name, "stream"), event.fields(), maxlen=STREAM, approximate=True)
                    await pipe.execute()

    async def tell(self, beat: Beat) -> None:
        """Write the beat, and remove from this node's sets what has ended."""
        with self._told():
            async with self._redis.pipeline(transaction=False) as pipe:
                pipe.sadd(NODES, self._name)
                pipe.set(key(self._name, "node"), beat.text(), ex=KEEP_BEAT)
                for what in SETS:
                    pipe.zremrangebyscore(key(self._name, what), 0, self.now() - 60)
                named, *answers = await pipe.execute(raise_on_error=False)
            for answer in (*answers, None if _is_wrong_type(named) else named):
                if isinstance(answer, Exception):
                    raise answer

    async def names(self) -> set[str]:
        """The names in the set of nodes; of a very large set, the next page at each call; none if the key has the wrong type."""
        found: set[str] = set()
        try:
            for _ in range(NAMES // PAGE):
                with self._told():
                    self._cursor, page = await self._redis.sscan(NODES, self._cursor, count=PAGE)
                found |= {name for one in page if NAME.fullmatch(name := _text(one))}
                if not int(self._cursor):
                    break
        except WrongTypeError:
            self._cursor = 0
        return found

    async def beats(self, names: Iterable[str]) -> dict[str, bytes]:
        """Node → its beat, of those that have one."""
        names = sorted(names)
        with self._told():
            async with self._redis.pipeline(transaction=False) as pipe:
                for name in names:
                    pipe.getrange(key(name, "node"), 0, LONGEST_BEAT - 1)
                answers = await pipe.execute(raise_on_error=False) if names else []
            for answer in answers:
                if isinstance(answer, Exception) and not _is_wrong_type(answer):
                    raise answer
        # What is no string there is no beat either: `read_beat` refuses it.
        told = zip(names, answers, strict=True)
        return {name: b"" if isinstance(one, Exception) else one for name, one in told if one != b""}

    async def sizes(self, node: str, sets: Iterable[str]) -> int:
        """Total number of elements in these sets of a node."""
        with self._told():
            async with self._redis.pipeline(transaction=False) as pipe:
                for what in sets:
                    pipe.zcard(key(node, what))
                return sum(await pipe.execute())

    async def pages(self, node: str, what: str) -> AsyncIterator[list[tuple[bytes, float]]]:
        """A set of a node (`bans:CLASS`, `unbans`, `pardons`) as a whole, page by page."""
        cursor = 0
        while True:
            with self._told():
                cursor, page = await self._redis.zscan(key(node, what), cursor, count=PAGE)
            yield page
            if not int(cursor):
                return

    async def last(self, node: str) -> Read:
        """The last event in a node's stream; one without fields if there is none."""
        with self._told():
            entries = await self._redis.xrevrange(key(node, "stream"), count=1)
        return Read(node, _text(entries[0][0]), entries[0][1]) if entries else Read(node, "0-0", {})

    async def read(self, streams: Mapping[str, str]) -> list[Read]:
        """Node → the ID after which to read; waits up to `BLOCK` seconds for an event."""
        if not streams:
            await asyncio.sleep(BLOCK / 4)
            return []
        keys = {key(node, "stream"): last for node, last in streams.items()}
        with self._told():
            answer = await self._redis.xread(keys, count=PAGE, block=int(BLOCK * 1000))
        found = []
        for name, entries in answer or ():
            node = _text(name).split(":")[1]
            found += [Read(node, _text(entry_id), fields or {}) for entry_id, fields in entries]
        return found

    async def ends(self, nodes: Iterable[str], network: str) -> float:
        """The latest end of a network's bans, of whatever class, on any of these nodes; 0 if none bans it."""
        with self._told():
            async with self._redis.pipeline(transaction=False) as pipe:
                for node in nodes:
                    for name in CLASSES:
                        pipe.zscore(key(node, f"bans:{name}"), network)
                return max((float(score) for score in await pipe.execute() if score), default=0.0)

    @contextlib.contextmanager
    def _told(self) -> Iterator[None]:
        """Convert the library's errors to `LinkError`, without the password."""
        from redis.exceptions import RedisError  # noqa: PLC0415 - imported already

        try:
            yield
        except (RedisError, OSError, TimeoutError, ValueError, AttributeError) as error:
            text = _answer(error) or type(error).__name__
            secret = self._settings.password
            problem = printable(text.replace(secret, "***") if secret else text, 200)
            kind = WrongTypeError if _is_wrong_type(error) else UnwritableError if _is_unwritable(error) else LinkError
        else:
            return
        raise kind(problem)


def _answer(error: object) -> str:
    """Redis's own message, without redis-py's prefix, which contains the command and so text from strangers."""
    return str(error).rpartition("caused error: ")[2].strip("('\",)")


def _is_wrong_type(answer: object) -> bool:
    return isinstance(answer, Exception) and _answer(answer).startswith("WRONGTYPE")


def _is_unwritable(error: Exception) -> bool:
    # redis-py takes the first word of some answers away and makes a class of it, more of them in newer versions.
    named = type(error).__name__ in ("OutOfMemoryError", "ReadOnlyError")
    return named or _answer(error).startswith(("OOM ", "READONLY ", "MISCONF ", "NOREPLICAS "))


def _text(data: bytes | str) -> str:
    return data if isinstance(data, str) else data[:200].decode("utf-8", "replace")
