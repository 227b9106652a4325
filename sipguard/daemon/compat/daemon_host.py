"""The daemon as Fail2ban's commands want it: `sipguard.daemon.compat.host.Host` on guards, bans and logs."""

from __future__ import annotations

import fnmatch
import glob
import logging
import re
from collections.abc import Collection, Sequence
from dataclasses import replace
from typing import Any
from weakref import WeakKeyDictionary

from sipguard.addresses import canonical
from sipguard.daemon.compat.commands.jail_set import bare
from sipguard.daemon.compat.host import Counts, Options
from sipguard.daemon.compat.jail_options import options_of, run_by, whole
from sipguard.daemon.compat.log_settings import LogSettings
from sipguard.daemon.daemon import Daemon
from sipguard.daemon.jail_runner import JailRunner
from sipguard.fail2ban.database_view import SqliteView
from sipguard.fail2ban.protocol.messages import DuplicateJailError, UnknownJailError
from sipguard.model import Ban, Failure, Filter, Jail, Rule
from sipguard.policy.ignore import own_addresses

log = logging.getLogger("fail2ban.server")

_NAME = re.compile(r"[\w.-]{1,64}", re.ASCII)
BACKENDS = ["pyinotify", "gamin", "polling", "systemd"]


class DaemonHost:
    """A `Host`. What clients change lives with the guard, and ends with it: a reload brings the configuration back."""

    def __init__(self, daemon: Daemon, view: SqliteView | None) -> None:
        self._daemon = daemon
        self._view = view
        self._log = LogSettings(daemon)
        self._options: WeakKeyDictionary[JailRunner, Options] = WeakKeyDictionary()

    def names(self) -> list[str]:
        """The jails, in the order of the configuration."""
        return list(self._daemon.runners)

    def options(self, jail: str) -> Options:
        """What the jail runs with now."""
        runner = self._guard(jail)
        if runner not in self._options:
            self._options[runner] = options_of(runner.jail)
        return self._options[runner]

    def change(self, jail: str, **changes: Any) -> None:
        """Run the jail with other options from now on."""
        old = self.options(jail)
        new = replace(old, **changes)
        runner = self._guard(jail)
        run_by(runner, old, new, own_addresses, self._daemon.clock)
        self._options[runner] = new
        self._daemon.jails.lookups.forget_commands()
        if (new.logpath, new.idle) != (old.logpath, old.idle):
            self._daemon.follow_again()

    def counts(self, jail: str) -> Counts:
        """Its counters."""
        runner = self._guard(jail)
        totals = runner.totals
        return Counts(
            failed=len(runner.judge.window.counts(self._daemon.clock())),
            total_failed=totals.failures - totals.ignored - totals.old - totals.no_address,
            banned=len(self.bans(jail)),
            total_banned=totals.bans,
        )

    def logs(self, jail: str) -> list[str]:
        """The logs that it follows, or would if it were not idle."""
        options = self.options(jail)
        followed = list(self._daemon.logs.problems())
        found: list[str] = []
        for entry in map(bare, options.logpath):
            if options.idle:
                found += sorted(glob.glob(entry)) or [entry]  # noqa: PTH207 - entries are absolute patterns
            elif glob.has_magic(entry):
                found += [path for path in followed if path != entry and fnmatch.fnmatchcase(path, entry)]
            else:
                found.append(entry)
        return list(dict.fromkeys(found))

    def backend(self, jail: str) -> str:
        """How it follows them."""
        runner = self._guard(jail)
        if self.options(jail).journal:
            return "systemd"
        return "polling" if runner.jail.polling else "pyinotify"

    def bans(self, jail: str) -> list[Ban]:
        """Its live bans, in the order of banning."""
        self._guard(jail)
        return self._daemon.bans.live.of_jail(jail)

    async def ban(self, jail: str, addresses: Sequence[str]) -> int:
        """Ban for the jail's bantime; how many are new."""
        daemon, runner = self._daemon, self._guard(jail)
        wanted = [_address(one) for one in addresses]
        for address in wanted:
            if why := runner.judge.ignore.reason(address):
                raise ValueError(f"{address} is not banned: {why}")
        new = [address for address in dict.fromkeys(wanted) if address not in runner.banned]
        now = daemon.clock()
        for address in new:
            runner.banned[address] = now
            runner.totals.bans += 1
            daemon.bans.decide(Ban(address, jail, now, now + runner.jail.bantime, reason="by hand"))
        await self._daemon.bans.settle()
        again = [address for at, address in enumerate(wanted) if address not in new or address in wanted[:at]]
        for address in again:
            daemon.bans.prolong(jail, address, daemon.clock() + runner.jail.bantime)
        await self._daemon.bans.settle()
        return len(new)

    async def unban(self, jail: str | None, addresses: Collection[str] | None) -> int:
        """End bans, clear counts and history; how many there were."""
        daemon = self._daemon
        jails = [jail] if jail else self.names()
        addresses = None if addresses is None else set(addresses)
        bans = [ban for name in jails for ban in self.bans(name) if addresses is None or ban.address in addresses]
        for name in jails:
            for address in addresses or ():
                self._guard(name).judge.window.forget(address)
                daemon.store.changes.forgotten.add((name, address))
        daemon.bans.release(bans)
        await self._daemon.bans.settle()
        return len(bans)

    async def attempt(self, jail: str, address: str, lines: Sequence[str]) -> None:
        """Count failures of an address."""
        runner, changes = self._guard(jail), self._daemon.store.changes
        host, now = _address(address), self._daemon.clock()
        for number, line in enumerate(lines or ("",)):
            if number and host in runner.banned:
                break
            runner.weigh(Failure(host, now, lines=(line,) if line else ()), changes)
            runner.totals.failures -= (
                number > 0
            )  # one request is one failure in Fail2ban's total, however many it counts for
        self._daemon.store.touched()
        await self._daemon.bans.settle()

    async def add(self, jail: str, backend: str) -> None:
        """Make an empty jail; it ends with the next reload unless the configuration has it too."""
        daemon = self._daemon
        if jail in daemon.runners:
            raise DuplicateJailError(jail)
        if not _NAME.fullmatch(jail):
            raise ValueError(f"{jail!r} is no name for a jail: up to 64 letters, digits, dots, - and _")
        if backend not in (*BACKENDS, "auto"):
            raise ValueError(f"Unknown backend {backend}. Must be among {BACKENDS} or 'auto'")
        empty = Jail(jail, Filter(jail, ()), rule=Rule(jail), polling=backend == "polling", usedns="warn", maxretry=3)
        await daemon.jails.add(empty)

    async def start(self, jail: str) -> None:
        """Let a jail that was added begin; one that runs leaves its idle state."""
        if self.options(jail).idle:
            self.change(jail, idle=False)

    async def stop(self, jail: str) -> None:
        """End a jail with its bans."""
        daemon = self._daemon
        self._guard(jail)
        await daemon.jails.remove(jail)
        daemon.follow_again()
        await daemon.jails.open_firewall()

    async def reload(self) -> None:
        """Read the configuration again."""
        await self._daemon.reload()

    def quit(self) -> None:
        """End the daemon; bans stay in the kernel until their time."""
        self._daemon.stop()

    def setting(self, name: str) -> Any:
        """Of the log, or of the database file that is kept for others."""
        if name in ("loglevel", "logtarget", "syslogsocket"):
            return self._log.get(name)
        view = self._view
        if view is None:
            return None
        return {"dbfile": str(view.path), "dbpurgeage": whole(view.purge_age), "dbmaxmatches": view.max_matches}[name]

    def set(self, name: str, value: Any) -> None:
        """Change one of these."""
        if name in ("loglevel", "logtarget", "syslogsocket"):
            self._log.set(name, value)
        elif name == "dbfile":
            self._set_file(value)
        elif self._view is not None and name == "dbpurgeage":
            self._view.purge_age = value
        elif self._view is not None:
            self._view.max_matches = value

    def flush_logs(self) -> bool:
        """Open the log file anew; False when the log is no file."""
        return self._log.flush()

    def _set_file(self, value: str) -> None:
        same = value == self.setting("dbfile") or (self._view is None and value.lower() == "none")
        if not same:
            raise RuntimeError("Cannot change database when there are jails present")

    def _guard(self, name: str) -> JailRunner:
        try:
            return self._daemon.runners[name]
        except KeyError:
            raise UnknownJailError(name) from None


def _address(text: str) -> str:
    try:
        return canonical(text)
    except ValueError:
        raise ValueError(f"{text!r} is not an address; write e.g. 203.0.113.5 or 2001:db8::/64") from None
