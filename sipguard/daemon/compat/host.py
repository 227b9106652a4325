"""The daemon as Fail2ban's commands ask for it: `Operations` with Fail2ban's errors, and what only its clients know of."""

from __future__ import annotations

import glob
import logging
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any
from weakref import WeakKeyDictionary

from sipguard.daemon.compat.commands import regexes
from sipguard.daemon.compat.log_settings import LogSettings
from sipguard.daemon.jail_runner import JailRunner
from sipguard.daemon.operations import NoSuchJailError, Operations, known
from sipguard.detection.detector import Detector
from sipguard.errors import ConfigError, SipguardError
from sipguard.fail2ban.database_view import DatabaseView
from sipguard.fail2ban.protocol.messages import DuplicateJailError, RegexError, UnknownJailError
from sipguard.model import Ban, Filter, Jail, Rule

log = logging.getLogger("fail2ban.server")

_NAME = re.compile(r"[\w.-]{1,64}", re.ASCII)
BACKENDS = ["pyinotify", "gamin", "polling", "systemd"]

Actions = Mapping[str, Mapping[str, Any]]
"""Name of an action → its properties."""


@dataclass(frozen=True, slots=True)
class JailCounts:
    """What `status JAIL` counts."""

    failed: int
    """Addresses with attempts that still count."""
    total_failed: int
    banned: int
    total_banned: int


class Host:
    """Methods that take a jail's name raise `UnknownJailError`; any may raise `SipguardError`, told to the asker.

    What clients change lives with the jail's runner, and ends with it: a reload brings the configuration back.
    """

    def __init__(self, operations: Operations, view: DatabaseView | None) -> None:
        self._operations = operations
        self._daemon = operations.daemon
        self._view = view
        self._log = LogSettings(self._daemon)
        self._actions: WeakKeyDictionary[JailRunner, Actions] = WeakKeyDictionary()

    def names(self) -> list[str]:
        """The jails, in the order of the configuration."""
        return self._operations.jails()

    def jail(self, name: str) -> Jail:
        return self._runner(name).jail

    def change(self, jail: Jail) -> None:
        """Run the jail by this definition from now on. Raises what Fail2ban raises, changing nothing, when that cannot be."""
        self._runner(jail.name)
        try:
            self._operations.change(jail)
        except ConfigError as error:
            raise self._refusal(jail, error) from None

    def _refusal(self, jail: Jail, error: ConfigError) -> Exception:
        """What a client is told of a definition that cannot run."""
        if error.what.startswith("timezone"):
            return ValueError(f"Unknown or unsupported time zone: {jail.timezone!r}")
        try:
            Detector(replace(jail.filter, datepattern=None), clock=self._daemon.clock, timezone=jail.timezone)
        except ConfigError as broken:
            return RegexError(str(broken))
        return ValueError(str(error))

    def actions(self, name: str) -> Actions | None:
        """The actions that clients have set for a jail; None as long as they have set none."""
        return self._actions.get(self._runner(name))

    def set_actions(self, name: str, actions: Actions) -> None:
        """Keep a jail's actions as clients have set them: sipguard runs its own."""
        self._actions[self._runner(name)] = actions

    def counts(self, jail: str) -> JailCounts:
        runner = self._runner(jail)
        totals = runner.totals
        return JailCounts(
            failed=runner.judge.window.counting(self._daemon.clock()),
            total_failed=totals.failures - totals.ignored - totals.old - totals.no_address,
            banned=len(self.bans(jail)),
            total_banned=totals.bans,
        )

    def logs(self, jail: str) -> list[str]:
        """The logs that it follows, or would if it were not idle."""
        found = self.jail(jail)
        followed = list(self._daemon.logs.problems())
        paths: list[str] = []
        for log in found.logpath:
            if found.idle:
                paths += sorted(glob.glob(log.pattern)) or [log.pattern]  # noqa: PTH207 - entries are absolute patterns
            elif glob.has_magic(log.pattern):
                paths += [path for path in followed if path != log.pattern and log.matches(path)]
            else:
                paths.append(log.pattern)
        return list(dict.fromkeys(paths))

    def backend(self, jail: str) -> str:
        """How it follows them: `pyinotify`, `polling`, `systemd`."""
        found = self.jail(jail)
        if found.journal:
            return "systemd"
        return "polling" if found.polling else "pyinotify"

    def bans(self, jail: str) -> list[Ban]:
        """Its live bans, in the order of banning."""
        self._runner(jail)
        return self._operations.bans(jail)

    async def ban(self, jail: str, addresses: Sequence[str]) -> int:
        """Ban for the jail's bantime; how many are new. Raises `ValueError` when none of them can be banned."""
        self._runner(jail)
        done = await self._operations.ban(jail, addresses)
        if done.refused and not done.bans:
            raise ValueError(done.refused[0])
        for refusal in done.refused:
            log.error("[%s] %s", jail, refusal)
        return done.new

    async def unban(self, jail: str | None, addresses: Sequence[str] | None) -> list[Ban]:
        """End bans (None: all) in a jail (None: all), clear counts and history. What is no address is banned by nobody."""
        if jail is not None:
            self._runner(jail)
        return await self._operations.unban(jail, addresses and list(filter(None, map(known, addresses))))

    async def attempt(self, jail: str, address: str, lines: Sequence[str]) -> None:
        """Count failures (at least one) of an address, as if they had been read. Raises `ValueError` for what is no address."""
        self._runner(jail)
        try:
            await self._operations.attempt(jail, address, lines)
        except SipguardError as error:
            raise ValueError(str(error)) from None

    async def add(self, jail: str, backend: str) -> None:
        """Make an empty jail. Raises `DuplicateJailError`, `ValueError` for an unknown backend."""
        if jail in self.names():
            raise DuplicateJailError(jail)
        if not _NAME.fullmatch(jail):
            raise ValueError(f"{jail!r} is not a name for a jail: write up to 64 letters, digits, dots, - and _")
        if backend not in (*BACKENDS, "auto"):
            raise ValueError(f"Unknown backend {backend}. Must be among {BACKENDS} or 'auto'")
        polling = backend == "polling"
        empty = Jail(jail, Filter(jail, ()), rule=Rule(jail), polling=polling, usedns="warn", maxretry=3, lag="now")
        await self._daemon.jails.add(empty)

    async def stop(self, jail: str) -> None:
        """End a jail with its bans."""
        self._runner(jail)
        await self._operations.remove_jail(jail)

    async def reload(self) -> None:
        """Read the configuration again. Raises `ValueError` when some of it is wrong; the rest runs.

        `RegexError`, in Fail2ban's words, for a regex that does not compile.
        """
        await self._operations.reload()
        broken = {error.jail for error in self._daemon.jails.errors}
        for jail in self._daemon.settings.jails:
            for pattern in (*jail.filter.ignoreregex, *jail.filter.failregex) if jail.name in broken else ():
                regexes.check(pattern)
        if self._daemon.errors:
            raise ValueError("; ".join(self._daemon.errors))

    def quit(self) -> None:
        """End the daemon, when this answer has been sent; bans stay in the kernel until their time."""
        self._daemon.stop()

    def setting(self, name: str) -> Any:
        """`loglevel`, `logtarget`, `syslogsocket`, `dbfile`, `dbpurgeage`, `dbmaxmatches`; None where there is no database."""
        if name in ("loglevel", "logtarget", "syslogsocket"):
            return self._log.get(name)
        view = self._view
        if view is None:
            return None
        return {"dbfile": str(view.path), "dbpurgeage": whole(view.purge_age), "dbmaxmatches": view.max_matches}[name]

    def set(self, name: str, value: Any) -> None:
        """Change one of these. Raises where it cannot be."""
        if name in ("loglevel", "logtarget", "syslogsocket"):
            self._log.set(name, value)
        elif name == "dbfile":
            same = value == self.setting("dbfile") or (self._view is None and value.lower() == "none")
            if not same:
                raise RuntimeError("Cannot change database when there are jails present")
        elif self._view is not None and name == "dbpurgeage":
            self._view.purge_age = value
        elif self._view is not None:
            self._view.max_matches = value

    def flush_logs(self) -> bool:
        """Open the log file anew; False when the log is no file."""
        return self._log.flush()

    def _runner(self, name: str) -> JailRunner:
        try:
            return self._operations.runner(name)
        except NoSuchJailError:
            raise UnknownJailError(name) from None


def whole(value: Any) -> Any:
    """Spans of the configuration are whole numbers to Fail2ban where they can be."""
    return int(value) if isinstance(value, float) and value.is_integer() else value
