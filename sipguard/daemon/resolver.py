"""Host names → addresses, beside the event loop: for `usedns`, and for the names and lists in `ignoreip`.

Each look-up is a `getent ahosts` of its own: it asks whatever the host is set up to ask (nsswitch.conf(5)), and can be
ended when it takes too long, which a thread in getaddrinfo(3) cannot. Names may come from an attacker: answers are
remembered, as is that there is none, and only so many look-ups run at once.
"""

from __future__ import annotations

import asyncio
import contextlib
import errno
import logging
import os
import time
from collections import OrderedDict
from collections.abc import Awaitable, Callable, Iterable
from weakref import WeakKeyDictionary

from sipguard.addresses import canonical
from sipguard.files import open_regular
from sipguard.model import Clock
from sipguard.policy.ignore import FILE, IgnoreList
from sipguard.text import printable

log = logging.getLogger("fail2ban.ipdns")

Lookup = Callable[[str], Awaitable[Iterable[str]]]

TIME_LIMIT = 5.0
"""Seconds for one look-up."""
AT_ONCE = 8
FOUND_HOLDS = 300.0
"""Seconds for which an answer is believed; getent(1) does not tell the time that the name's owner gave it."""
NOTHING_HOLDS = 60.0
MOST_NAMES = 1000
"""Names remembered; beyond it the one asked for longest ago goes."""
LARGEST_LIST = 16 << 20
"""Bytes of a file of addresses."""
UNSETTLED = 2.0
"""Seconds after a change in which a file is read again: another change may have the same time."""
MOST_WAITING = 1000
"""Look-ups waiting their turn; beyond it a name counts as unknown."""


class Resolver:
    """Remembers who is who."""

    def __init__(self, *, clock: Clock, lookup: Lookup | None = None) -> None:
        self._clock = clock
        self._lookup = lookup or getent
        self._answers: OrderedDict[str, tuple[float, tuple[str, ...]]] = OrderedDict()
        self._running: dict[str, asyncio.Task[tuple[str, ...]]] = {}
        self._turns = asyncio.Semaphore(AT_ONCE)
        self._read: WeakKeyDictionary[IgnoreList, dict[str, tuple[int, ...]]] = WeakKeyDictionary()
        """What each ignore list was told of its files: which state of them."""
        self._unreadable: set[str] = set()
        self._unresolved: set[str] = set()

    async def addresses(self, name: str) -> tuple[str, ...]:
        """The addresses of a host, in canonical form; none if it has none, or nobody knows in time."""
        key = name.rstrip(".").lower()
        known = self._answers.get(key)
        if known and known[0] > self._clock():
            self._answers.move_to_end(key)
            return known[1]
        task = self._running.get(key)
        if task is None:
            if len(self._running) >= MOST_WAITING:
                return ()
            task = self._running[key] = asyncio.create_task(self._ask(key))
            task.add_done_callback(lambda _: self._running.pop(key, None))
        # One who no longer waits must not end the look-up for the others.
        return await asyncio.shield(task)

    async def _ask(self, name: str) -> tuple[str, ...]:
        async with self._turns:
            found: tuple[str, ...] = ()
            try:
                async with asyncio.timeout(TIME_LIMIT):
                    found = tuple(dict.fromkeys(_valid(await self._lookup(name))))
            except (TimeoutError, OSError) as error:
                log.debug("%s: no answer: %s", printable(name, 100), error or "too late")
        holds = FOUND_HOLDS if found else NOTHING_HOLDS
        self._answers[name] = (self._clock() + holds, found)
        while len(self._answers) > MOST_NAMES:
            self._answers.popitem(last=False)
        return found

    async def refresh(self, ignore: IgnoreList) -> None:
        """Tell an ignore list what its names and files stand for now; a name that cannot be resolved keeps what it had."""
        for entry in ignore.files:
            self._read_list(entry, ignore)
        found = await asyncio.gather(*(self.addresses(name) for name in ignore.names))
        for name, addresses in zip(ignore.names, found, strict=True):
            if addresses:
                ignore.learn(name, addresses)
                self._unresolved.discard(name)
            elif name not in self._unresolved:
                self._unresolved.add(name)
                log.warning(
                    "ignoreip %s: no address found for this name; only its earlier addresses are ignored",
                    printable(name, 100),
                )

    def _read_list(self, entry: str, ignore: IgnoreList) -> None:
        """`file:PATH`: addresses and networks, separated by blanks, commas or lines; `#` and `;` begin a comment."""
        read = self._read.setdefault(ignore, {})
        try:
            with open_regular(entry.removeprefix(FILE)) as file:
                status = os.fstat(file.fileno())
                state = (status.st_dev, status.st_ino, status.st_size, status.st_mtime_ns, status.st_ctime_ns)
                if read.get(entry) == state:
                    return
                content = file.read(LARGEST_LIST + 1)
            if len(content) > LARGEST_LIST:
                raise OSError(errno.EFBIG, f"has more than {LARGEST_LIST >> 20} MiB")
        except OSError as error:
            if entry not in self._unreadable:
                log.error("ignoreip %s: %s; nothing of it is ignored until it can be read", entry, error.strerror)
            self._unreadable.add(entry)
            return
        self._unreadable.discard(entry)
        if time.time() - status.st_mtime > UNSETTLED:
            read[entry] = state
        text = content.decode("utf-8", "replace")
        lines = (line.partition("#")[0].partition(";")[0] for line in text.split("\n"))
        words = [word for line in lines for word in line.replace(",", " ").split()]
        good = _valid(words)
        if len(good) < len(words):
            wrong = next(word for word in words if not _valid([word]))
            told = "ignoreip %s: %d of its %d entries are not addresses, and protect nobody; the first is %s"
            log.warning(told, entry, len(words) - len(good), len(words), printable(wrong, 60))
        ignore.learn(entry, good)

    async def stop(self) -> None:
        for task in list(self._running.values()):
            task.cancel()
        await asyncio.gather(*self._running.values(), return_exceptions=True)


def _valid(addresses: Iterable[str]) -> list[str]:
    found = []
    for one in addresses:
        with contextlib.suppress(ValueError):
            found.append(canonical(one))
    return found


async def getent(name: str) -> list[str]:
    """Ask the host's own resolver. Raises OSError: there is no getent(1)."""
    process = await asyncio.create_subprocess_exec(
        "getent",
        "ahosts",
        "--",
        name,
        stdin=asyncio.subprocess.DEVNULL,
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.DEVNULL,
    )
    try:
        output, _ = await process.communicate()
    finally:
        if process.returncode is None:
            process.kill()
            await process.wait()
    return [line.split()[0].decode() for line in output.splitlines() if line.split()]
