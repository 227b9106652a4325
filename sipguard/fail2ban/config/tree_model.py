"""Dataclasses for a Fail2ban tree, resolved and typed.

They include what sipguard's own model lacks (Python's ban time formula, `ignorecommand`, actions), so that nothing in a
tree is lost. `as_jail` returns the part that sipguard's policy and detection use.
"""

from __future__ import annotations

from dataclasses import dataclass, field, fields
from typing import TYPE_CHECKING

from sipguard.model import Action, BanGrowth, Filter, IgnoreCache, Jail, LogPath, Rule, UseDns

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path

    from sipguard.errors import ConfigError

_EVERYTHING = Rule(jail="")
_STEADY = BanGrowth()


@dataclass(frozen=True, slots=True)
class TreeSettings:
    """`[Definition]` and `[Thread]` of fail2ban.conf(5), with the defaults of Fail2ban's client."""

    loglevel: str = "INFO"
    logtarget: str = "STDERR"
    syslogsocket: str = "auto"
    socket: str = "/var/run/fail2ban/fail2ban.sock"
    pidfile: str = "/var/run/fail2ban/fail2ban.pid"
    allowipv6: str = "auto"
    dbfile: str = "/var/lib/fail2ban/fail2ban.sqlite3"
    """`None` means no database, `:memory:` one that is not kept on disk."""
    dbmaxmatches: int | None = None
    dbpurgeage: float = 86_400.0
    """Seconds."""
    stacksize: int | None = None
    """KiB; ignored, since sipguard has no such threads."""


@dataclass(frozen=True, slots=True)
class Fail2banJail:
    """One enabled jail with all its options."""

    name: str
    filter: Filter
    logpath: tuple[LogPath, ...] = ()
    skip_if_nologs: bool = False
    """Whether to skip the jail if none of its logs exists."""
    systemd_if_nologs: bool = False
    """Whether to read the journal if none of the logs exists."""
    backend: str = "auto"
    """`auto`, `polling`, `systemd` …, without options."""
    backend_options: Mapping[str, str] = field(default_factory=dict)
    maxretry: int = 3
    maxmatches: int | None = None
    findtime: float = 600.0
    """Seconds."""
    bantime: float = 600.0
    """Seconds; FOREVER for -1."""
    growth: BanGrowth = _STEADY
    ignoreip: tuple[str, ...] = ()
    ignoreself: bool = True
    ignorecommand: str = ""
    ignorecache: IgnoreCache | None = None
    usedns: UseDns = "warn"
    logencoding: str = "auto"
    logtimezone: str | None = None
    rule: Rule = _EVERYTHING
    """Ports and protocols given to its firewall actions, else those of the jail."""
    actions: tuple[Action, ...] = ()
    enforced: bool = True
    """Whether the jail rejects addresses: one of its actions does, or it sets no action at all."""
    sent: Mapping[str, str | int | bool] = field(default_factory=dict)
    """Option → value as Fail2ban's client would send it to the server, for `get` commands and for comparison."""
    notes: tuple[str, ...] = ()
    """Warnings for the operator."""
    origin: str = ""
    """`file:line` of the jail's first key, for messages."""

    def as_jail(self) -> Jail:
        """The jail in sipguard's own model. Fields of one name are the same in both."""
        names = {one.name for one in fields(self)} & {one.name for one in fields(Jail)}
        return Jail(
            **{name: getattr(self, name) for name in names},
            polling=self.backend == "polling",
            encoding="utf-8" if self.logencoding == "auto" else self.logencoding,
            timezone=self.logtimezone,
            journal=self.backend == "systemd",
            journal_options=self.backend_options if self.backend == "systemd" else {},
            lag="now",
        )


@dataclass(frozen=True, slots=True)
class Fail2banTree:
    """A configuration directory: its settings, valid jails and errors."""

    directory: Path
    settings: TreeSettings
    jails: tuple[Fail2banJail, ...] = ()
    errors: tuple[ConfigError, ...] = ()
    """One per enabled jail that is invalid."""
    notes: tuple[str, ...] = ()
