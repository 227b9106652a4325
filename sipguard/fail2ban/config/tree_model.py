"""Dataclasses for a Fail2ban tree, resolved and typed: all that it says, so that nothing in it is lost."""

from __future__ import annotations

from dataclasses import dataclass, field, fields
from typing import TYPE_CHECKING

from sipguard.model import Action, Jail

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path

    from sipguard.errors import ConfigError


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
class Fail2banJail(Jail):
    """One enabled jail with all its options: a `Jail`, and what Fail2ban's client says of one beside that."""

    actions: tuple[Action, ...] = ()
    skip_if_nologs: bool = False
    """Whether to skip the jail if none of its logs exists."""
    systemd_if_nologs: bool = False
    """Whether to read the journal if none of the logs exists."""
    backend: str = "auto"
    """`auto`, `polling`, `systemd` …, without options."""
    backend_options: Mapping[str, str] = field(default_factory=dict)
    logencoding: str = "auto"
    logtimezone: str | None = None
    sent: Mapping[str, str | int | bool] = field(default_factory=dict)
    """Option → value as Fail2ban's client would send it to the server, for `get` commands and for comparison."""
    notes: tuple[str, ...] = ()
    """Warnings for the operator."""

    def as_jail(self) -> Jail:
        """The jail as sipguard runs it."""
        given = {one.name: getattr(self, one.name) for one in fields(Jail)}
        given |= {
            "polling": self.backend == "polling",
            "encoding": "utf-8" if self.logencoding == "auto" else self.logencoding,
            "timezone": self.logtimezone,
            "journal": self.backend == "systemd",
            "journal_options": self.backend_options if self.backend == "systemd" else {},
            "lag": "now",
        }
        return Jail(**given)


@dataclass(frozen=True, slots=True)
class Fail2banTree:
    """A configuration directory: its settings, valid jails and errors."""

    directory: Path
    settings: TreeSettings
    jails: tuple[Fail2banJail, ...] = ()
    errors: tuple[ConfigError, ...] = ()
    """One per enabled jail that is invalid."""
    notes: tuple[str, ...] = ()
