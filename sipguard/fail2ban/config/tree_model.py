"""What a Fail2ban tree says, resolved and typed: the dataclasses that the readers of this package make.

They hold what Fail2ban has and sipguard's own model has not (Python's ban time formula, `ignorecommand`, actions), so
that whoever runs such a tree loses nothing. `as_jail` gives the part that sipguard's policy and detection work with.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from sipguard.model import Action, BanGrowth, Filter, IgnoreCache, Jail, LogPath, Rule, UseDns

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path

    from sipguard.errors import ConfigError

_EVERYTHING = Rule(jail="")
_STEADY = BanGrowth()


@dataclass(frozen=True, slots=True)
class Settings:
    """fail2ban.conf(5)'s `[Definition]` and `[Thread]`, with the defaults of its client."""

    loglevel: str = "INFO"
    logtarget: str = "STDERR"
    syslogsocket: str = "auto"
    socket: str = "/var/run/fail2ban/fail2ban.sock"
    pidfile: str = "/var/run/fail2ban/fail2ban.pid"
    allowipv6: str = "auto"
    dbfile: str = "/var/lib/fail2ban/fail2ban.sqlite3"
    """`None` and `:memory:` are Fail2ban's words for no database and one that does not last."""
    dbmaxmatches: int | None = None
    dbpurgeage: float = 86_400.0
    """Seconds."""
    stacksize: int | None = None
    """KiB; sipguard has no such threads and ignores it."""


@dataclass(frozen=True, slots=True)
class Fail2banJail:
    """One enabled jail with everything that it says."""

    name: str
    filter: Filter
    logpath: tuple[LogPath, ...] = ()
    skip_if_nologs: bool = False
    systemd_if_nologs: bool = False
    """Whether the journal is read where none of the logs exists."""
    """Do not run where none of its logs exists."""
    backend: str = "auto"
    """Without its options: `auto`, `polling`, `systemd` …"""
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
    """The ports and protocols that its firewall actions were given, or else those of the jail."""
    actions: tuple[Action, ...] = ()
    enforced: bool = True
    """Whether one of its actions is a firewall's; a jail that says nothing of actions bans as well."""
    sent: Mapping[str, str | int | bool] = field(default_factory=dict)
    """Option → value as Fail2ban's client would send it to the server: for `get` commands and for comparison."""
    notes: tuple[str, ...] = ()
    """For the operator: what is odd but no error."""
    origin: str = ""
    """`file:line` of the jail's first own key, for messages."""

    def as_jail(self) -> Jail:
        """The jail as sipguard's own stages know it."""
        return Jail(
            name=self.name,
            filter=self.filter,
            logpath=self.logpath,
            rule=self.rule,
            maxretry=self.maxretry,
            findtime=self.findtime,
            bantime=self.bantime,
            ignoreip=self.ignoreip,
            ignoreself=self.ignoreself,
            usedns=self.usedns,
            polling=self.backend == "polling",
            encoding="utf-8" if self.logencoding == "auto" else self.logencoding,
            timezone=self.logtimezone,
            origin=self.origin,
            growth=self.growth,
            ignorecommand=self.ignorecommand,
            ignorecache=self.ignorecache,
            maxmatches=self.maxmatches,
            journal=self.backend == "systemd",
            journal_options=self.backend_options if self.backend == "systemd" else {},
            actions=self.actions,
            enforced=self.enforced,
            lag="now",
        )


@dataclass(frozen=True, slots=True)
class Fail2banTree:
    """A configuration directory: what stands, and what does not."""

    directory: Path
    settings: Settings
    jails: tuple[Fail2banJail, ...] = ()
    errors: tuple[ConfigError, ...] = ()
    """One for each enabled jail that cannot be used."""
    notes: tuple[str, ...] = ()
