"""jail.conf(5) `ignorecommand`: a program of the operator's decides whether an address may be banned.

Its tags are filled in so that nothing an attacker wrote is obeyed by the shell (`sipguard.shell`); it has a time limit,
and runs beside the event loop. `ignorecache` remembers its answers by a key made of tags.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
import os
import signal
from collections import OrderedDict
from collections.abc import Callable, Mapping

from sipguard.addresses import reverse_name
from sipguard.model import Clock, Failure, IgnoreCache, Jail
from sipguard.shell import captured_group, fill_command

log = logging.getLogger("fail2ban.filter")

TIME_LIMIT = 60.0
"""Seconds; Fail2ban's."""
_PATH = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"


class IgnoreCommand:
    def __init__(self, jail: Jail, *, clock: Clock, time_limit: float = TIME_LIMIT) -> None:
        self._jail = jail
        self._clock = clock
        self._limit = time_limit
        self._cache: OrderedDict[str, tuple[float, bool]] = OrderedDict()

    async def ignores(self, address: str, failure: Failure, name: str = "") -> bool:
        """Whether the command says that `address` must not be banned; not if it cannot be run. `name` is its host name."""
        cache = self._jail.ignorecache
        key = _plain(cache.key, address, failure, name) if cache else ""
        if cache:
            known = self._cache.get(key)
            if known and known[0] > self._clock():
                return known[1]
        command, environment = fill_command(self._jail.ignorecommand, lambda tag: tag_of(tag, address, failure, name))
        try:
            answer = await self._run(command, environment)
        except OSError as error:
            log.error("[%s] ignorecommand cannot be run: %s; not ignored", self._jail.name, error.strerror)
            answer = False
        if cache:
            self._remember(cache, key, answer)
        return answer

    def _remember(self, cache: IgnoreCache, key: str, answer: bool) -> None:
        self._cache[key] = (self._clock() + cache.max_time, answer)
        self._cache.move_to_end(key)
        while len(self._cache) > max(1, cache.max_count):
            self._cache.popitem(last=False)

    async def _run(self, command: str, environment: dict[str, str]) -> bool:
        process = await asyncio.create_subprocess_exec(
            "/bin/sh",
            "-c",
            command,
            stdin=asyncio.subprocess.DEVNULL,
            stdout=asyncio.subprocess.DEVNULL,
            stderr=asyncio.subprocess.DEVNULL,
            env={"PATH": os.environ.get("PATH", _PATH), **environment},
            start_new_session=True,
        )
        try:
            async with asyncio.timeout(self._limit):
                status = await process.wait()
        except TimeoutError:
            log.error("[%s] ignorecommand has no answer after %g s; not ignored", self._jail.name, self._limit)
            return False
        finally:
            if process.returncode is None:
                # The whole session: the shell's children hold on otherwise.
                with contextlib.suppress(ProcessLookupError):
                    os.killpg(process.pid, signal.SIGKILL)
                await process.wait()
        if status not in (0, 1):
            log.error("[%s] ignorecommand failed with exit status %d; not ignored", self._jail.name, status)
        return status == 0


def tag_of(tag: str, address: str, failure: Failure, name: str = "") -> str | None:
    """The text for a tag of jail.conf(5); None for what is none."""
    if group := captured_group(tag):
        return failure.tags.get(group, "")
    make = _TAGS.get(tag)
    return None if make is None else make(address, failure, name)


_TAGS: Mapping[str, Callable[[str, Failure, str], str]] = {
    "ip": lambda address, _failure, _name: address,
    "ip-host": lambda _address, _failure, name: name,
    "ip-rev": lambda address, _failure, _name: reverse_name(address),
    "family": lambda address, _failure, _name: "inet6" if ":" in address else "inet4",
    "fid": lambda _address, failure, _name: failure.host,
    "failures": lambda _address, failure, _name: str(failure.attempts),
    "time": lambda _address, failure, _name: "" if failure.time is None else f"{failure.time:.6f}",
    "matches": lambda _address, failure, _name: "\n".join(failure.lines),
}


def _plain(text: str, address: str, failure: Failure, name: str) -> str:
    """A key of the cache: no shell ever sees it."""
    filled, environment = fill_command(text, lambda tag: tag_of(tag, address, failure, name))
    return "\0".join([filled, *environment.values()])
