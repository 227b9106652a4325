"""What Fail2ban's commands need of the program behind the socket: its jails with their options, its bans, its log.

The daemon implements `Host`; the commands know nothing else of it.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Protocol

from sipguard.model import Ban


@dataclass(frozen=True, slots=True)
class Options:
    """A jail's options under Fail2ban's names, with the values that `get JAIL …` answers. Times are seconds."""

    failregex: tuple[str, ...] = ()
    """Tags not expanded; `<HOST>` is `<ADDR>` where `usedns` was `no` when it was added. So are the other regexes."""
    ignoreregex: tuple[str, ...] = ()
    prefregex: str = ""
    datepattern: str | None = None
    maxlines: int = 1
    journal: bool = False
    """It reads the journal, not logs."""
    journalmatch: tuple[tuple[str, ...], ...] = ()
    logpath: tuple[str, ...] = ()
    """As written: paths, or patterns."""
    logencoding: str = "utf-8"
    logtimezone: str | None = None
    usedns: str = "warn"
    ignoreself: bool = True
    ignoreip: tuple[str, ...] = ()
    ignorecommand: str | bool = False
    ignorecache: tuple[Any, ...] | None = None
    findtime: float = 600
    maxretry: int = 5
    maxmatches: int = 5
    bantime: int = 600
    """-1 is for good."""
    bantime_extra: Mapping[str, Any] = field(default_factory=dict)
    """The options `bantime.…` that were given, by the name behind the dot."""
    idle: bool = False
    actions: Mapping[str, Mapping[str, Any]] = field(default_factory=dict)
    """Action → its properties."""


@dataclass(frozen=True, slots=True)
class Counts:
    """What `status JAIL` counts."""

    failed: int
    """Addresses with attempts that still count."""
    total_failed: int
    banned: int
    total_banned: int


class Host(Protocol):
    """Methods that take a jail's name raise `UnknownJailError`; any may raise `SipguardError`, told to the asker."""

    def names(self) -> list[str]:
        """The jails, in the order of the configuration."""

    def options(self, jail: str) -> Options:
        """What the jail runs with now."""

    def change(self, jail: str, **changes: Any) -> None:
        """Run the jail with other `Options` from now on. Raises, changing nothing, when it cannot."""

    def counts(self, jail: str) -> Counts:
        """Its counters."""

    def logs(self, jail: str) -> list[str]:
        """The logs that it follows."""

    def backend(self, jail: str) -> str:
        """How it follows them: `pyinotify`, `polling`, `systemd`."""

    def bans(self, jail: str) -> list[Ban]:
        """Its live bans, those being made included, in the order of banning."""

    async def ban(self, jail: str, addresses: Sequence[str]) -> int:
        """Ban for the jail's bantime; how many are new. Raises `ValueError` for what is no address."""

    async def unban(self, jail: str | None, addresses: Collection[str] | None) -> int:
        """End bans (None: all) in a jail (None: all), clear counts and history; how many there were."""

    async def attempt(self, jail: str, address: str, lines: Sequence[str]) -> None:
        """Count failures (at least one) of an address, as if they had been read."""

    async def add(self, jail: str, backend: str) -> None:
        """Make an empty jail. Raises `DuplicateJailError`, `ValueError` for an unknown backend."""

    async def start(self, jail: str) -> None:
        """Let a jail that was added begin; one that runs leaves its idle state."""

    async def stop(self, jail: str) -> None:
        """End a jail with its bans."""

    async def reload(self) -> None:
        """Read the configuration again."""

    def quit(self) -> None:
        """End the program, when this answer has been sent."""

    def setting(self, name: str) -> Any:
        """`loglevel`, `logtarget`, `syslogsocket`, `dbfile`, `dbpurgeage`, `dbmaxmatches`; None where there is no database."""

    def set(self, name: str, value: Any) -> None:
        """Change one of these. Raises where it cannot be."""

    def flush_logs(self) -> bool:
        """Open the log file anew; False when the log is no file."""
