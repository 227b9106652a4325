"""Converts a Fail2ban tree into the daemon's `Settings`: `sipguard run --fail2ban-dir`.

Jails and global settings come from the tree. Settings that Fail2ban does not have (firewall backend, control socket) come
from sipguard.toml if it exists. The jails of its jails.d run beside those of the tree.
"""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Literal

from sipguard.config.paths import exists
from sipguard.config.settings import Settings, load
from sipguard.config.validators import encoding as read_encoding
from sipguard.config.validators import timezone as read_timezone
from sipguard.errors import ConfigError
from sipguard.fail2ban.config.reach import forwards
from sipguard.fail2ban.config.role import role_of
from sipguard.fail2ban.config.tree import read_tree
from sipguard.model import Action
from sipguard.text import printable

if TYPE_CHECKING:
    from collections.abc import Iterable

    from sipguard.fail2ban.config import tree_model
    from sipguard.model import Jail

BanActions = Literal["firewall", "commands"]

_LEVELS = frozenset({"CRITICAL", "ERROR", "WARNING", "NOTICE", "INFO", "DEBUG", "TRACEDEBUG", "HEAVYDEBUG"})
# Fail2ban's log targets → ours. The journal reads what is sent to syslog.
_TARGETS = {"STDOUT": "STDOUT", "SYSOUT": "STDOUT", "STDERR": "STDERR", "SYSLOG": "SYSLOG", "SYSTEMD-JOURNAL": "SYSLOG"}
# gamin no longer exists; a jail that names it gets `auto`.
_BACKENDS = ("auto", "pyinotify", "gamin", "polling", "systemd")
_NO_DATABASE = frozenset({"none", ":memory:"})


def load_tree(directory: Path, config_file: Path | None = None, *, banactions: BanActions = "firewall") -> Settings:
    """Read the tree in `directory`, and sipguard.toml (`config_file`, or the default one if it exists).

    Raises ConfigError if there is no tree, or if a file that concerns all jails is invalid.
    """
    own = load(config_file)
    tree = read_tree(directory)
    errors, warnings = [*tree.errors], [*tree.notes]
    jails = _jails(tree.jails, errors, warnings)
    if banactions == "commands":
        jails = [replace(jail, enforced=False) for jail in jails]
    elif own.firewall != "nftables" and "FORWARD" not in own.hooks:
        warnings += _not_forwarded(jails)
    names = {jail.name for jail in jails}
    for jail in own.jails:
        if jail.name in names:
            warnings.append(f"{jail.origin}: jail {jail.name}: the tree's jail runs instead")
    warnings += [warning for warning in own.warnings if own.jails or "no jail is enabled" not in warning]
    said = tree.settings
    return replace(
        own,
        logtarget=_logtarget(said.logtarget, directory),
        loglevel=_loglevel(said.loglevel, directory),
        state_dir=_state_dir(said),
        jails=(*jails, *(jail for jail in own.jails if jail.name not in names)),
        errors=(*errors, *own.errors),
        warnings=tuple(warnings),
        fail2ban_dir=str(directory),
        fail2ban_socket=said.socket,
        fail2ban_dbfile="" if said.dbfile.lower() in _NO_DATABASE else said.dbfile,
        fail2ban_dbpurgeage=said.dbpurgeage,
        banactions=banactions,
        pidfile="" if said.pidfile.lower() == "none" else said.pidfile,
        keep_history=said.dbpurgeage,
    )


def _not_forwarded(jails: Iterable[Jail]) -> Iterable[str]:
    """The actions that also protect hosts behind this one, which two of the firewalls do only if they are told to."""
    for jail in jails:
        for action in jail.actions:
            if isinstance(action, Action) and role_of(action).replaced and forwards(action):
                mend = 'write backend = "nftables", or hooks = ["FORWARD"], below [firewall] in sipguard.toml'
                yield f"jail {jail.name}: {action.name} rejects forwarded packets too; ipset and iptables do not: {mend}"


def _jails(given: Iterable[tree_model.Fail2banJail], errors: list[ConfigError], warnings: list[str]) -> list[Jail]:
    """The jails that can run. Problems are added to `errors` and `warnings`."""
    jails: list[Jail] = []
    for one in given:
        warnings += [f"jail {one.name}: {note}" for note in one.notes]
        try:
            jail = _jail(one)
        except ConfigError as error:
            error.jail = one.name
            errors.append(error)
            continue
        missing = list(_missing_logs(jail))
        if one.systemd_if_nologs and len(missing) >= len(jail.logpath):
            warnings.append(f"jail {one.name}: none of its logs exists; it reads the journal")
            jails.append(replace(jail, journal=True, logpath=()))
            continue
        if one.skip_if_nologs and len(missing) == len(jail.logpath) and not jail.journal:
            warnings.append(f"jail {one.name}: none of its logs exists; not run, since skip_if_nologs is set")
            continue
        warnings += missing
        jails.append(jail)
    return jails


def _jail(one: tree_model.Fail2banJail) -> Jail:
    """Convert one jail. Raises ConfigError for an unknown backend, encoding or time zone."""
    if one.backend.lower() not in _BACKENDS:
        what = f"backend = {one.backend[:40]!a}: must be one of {', '.join(_BACKENDS)}"
        raise ConfigError(f"jail {one.name}: {what}", one.origin)
    try:
        encoding = read_encoding(one.logencoding)
        if (encoding, one.logencoding) == ("ascii", "auto"):
            encoding = "utf-8"  # the locale C, which says nothing about the log's encoding
    except (ValueError, TypeError):
        what = f"logencoding {one.logencoding!a}: unknown encoding; expected e.g. utf-8 or latin-1"
        raise ConfigError(f"jail {one.name}: {what}", one.origin) from None
    try:
        zone = read_timezone(one.logtimezone or "")
    except (ValueError, TypeError):
        what = f"logtimezone {one.logtimezone!a}: unknown time zone; expected e.g. UTC or UTC+0200"
        raise ConfigError(f"jail {one.name}: {what}", one.origin) from None
    return replace(one.as_jail(), encoding=encoding, timezone=zone)


def _missing_logs(jail: Jail) -> Iterable[str]:
    """Warnings about missing logs. Fail2ban would not start the jail; sipguard waits for the log."""
    if not jail.logpath and not jail.journal:
        yield f"jail {jail.name}: no logpath; it reads nothing"
    for log in jail.logpath:
        if not exists(log.pattern):
            yield f"jail {jail.name}: {printable(log.pattern)} does not exist yet; sipguard waits for it"


def _logtarget(text: str, directory: Path) -> str:
    """The log target without options such as `[facility=daemon]`, which sipguard does not have."""
    word = text.partition("[")[0].strip()
    if word.startswith("/"):
        return word
    if word.upper() not in _TARGETS:
        known = f"a path or one of {', '.join(_TARGETS)}"
        raise ConfigError(f"logtarget = {text[:60]!a}: must be {known}", str(directory / "fail2ban.conf"))
    return _TARGETS[word.upper()]


def _loglevel(text: str, directory: Path) -> str:
    if text.upper() not in _LEVELS:
        known = f"one of {', '.join(sorted(_LEVELS))}"
        raise ConfigError(f"loglevel = {text[:60]!a}: must be {known}", str(directory / "fail2ban.conf"))
    return text.upper()


def _state_dir(said: tree_model.TreeSettings) -> str:
    """Directory of sipguard's own database: beside Fail2ban's, or beside the socket if that one is not kept on disk."""
    file = said.socket if said.dbfile.lower() in _NO_DATABASE else said.dbfile
    return str(Path(file).parent)
