"""A Fail2ban tree → the `Settings` that the daemon runs with: `sipguard run --fail2ban-dir`.

The jails and the program's own settings are the tree's. What Fail2ban has no word for (firewall backend, control
socket) is sipguard.toml's, where there is one; jails of its jails.d run beside those of the tree.
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
from sipguard.fail2ban.config.tree import read_tree
from sipguard.text import printable

if TYPE_CHECKING:
    from collections.abc import Iterable

    from sipguard.fail2ban.config import tree_model as nouns
    from sipguard.model import Jail

BanActions = Literal["firewall", "commands"]

_LEVELS = frozenset({"CRITICAL", "ERROR", "WARNING", "NOTICE", "INFO", "DEBUG", "TRACEDEBUG", "HEAVYDEBUG"})
# Fail2ban's words for where its log goes → ours. The journal reads what is sent to syslog.
_TARGETS = {"STDOUT": "STDOUT", "SYSOUT": "STDOUT", "STDERR": "STDERR", "SYSLOG": "SYSLOG", "SYSTEMD-JOURNAL": "SYSLOG"}
# gamin is no more; who still names it wants what `auto` gives.
_BACKENDS = ("auto", "pyinotify", "gamin", "polling", "systemd")
_NO_DATABASE = frozenset({"none", ":memory:"})


def load_tree(directory: Path, config_file: Path | None = None, *, banactions: BanActions = "firewall") -> Settings:
    """Read the tree of `directory`, and sipguard.toml (`config_file`, or the usual one if it is there).

    Raises ConfigError: there is no tree, or one of the files that speak for all jails is wrong.
    """
    own = load(config_file)
    tree = read_tree(directory)
    errors, warnings = [*tree.errors], [*tree.notes]
    jails = _jails(tree.jails, errors, warnings)
    if banactions == "commands":
        jails = [replace(jail, enforced=False) for jail in jails]
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


def _jails(given: Iterable[nouns.Fail2banJail], errors: list[ConfigError], warnings: list[str]) -> list[Jail]:
    """The jails that can run; what is wrong or odd goes into `errors` and `warnings`."""
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


def _jail(one: nouns.Fail2banJail) -> Jail:
    """The jail for sipguard's stages. Raises ConfigError: a backend, encoding or zone that does not exist."""
    if one.backend.lower() not in _BACKENDS:
        what = f"backend = {one.backend[:40]!a}: not allowed; write one of {', '.join(_BACKENDS)}"
        raise ConfigError(f"jail {one.name}: {what}", one.origin)
    try:
        encoding = read_encoding(one.logencoding)
        if (encoding, one.logencoding) == ("ascii", "auto"):
            encoding = "utf-8"  # the locale C, which says nothing of the log
    except (ValueError, TypeError):
        what = f"logencoding {one.logencoding!a} is not known; write e.g. utf-8 or latin-1"
        raise ConfigError(f"jail {one.name}: {what}", one.origin) from None
    try:
        zone = read_timezone(one.logtimezone or "")
    except (ValueError, TypeError):
        what = f"logtimezone {one.logtimezone!a} is not known; write e.g. UTC or UTC+0200"
        raise ConfigError(f"jail {one.name}: {what}", one.origin) from None
    return replace(one.as_jail(), encoding=encoding, timezone=zone)


def _missing_logs(jail: Jail) -> Iterable[str]:
    """Where Fail2ban would not start at all: sipguard waits for the log."""
    if not jail.logpath and not jail.journal:
        yield f"jail {jail.name}: no logpath; it reads nothing"
    for log in jail.logpath:
        if not exists(log.pattern):
            yield f"jail {jail.name}: {printable(log.pattern)} does not exist yet; sipguard waits for it"


def _logtarget(text: str, directory: Path) -> str:
    """`SYSLOG[facility=daemon]` without its options, which sipguard's log has not."""
    word = text.partition("[")[0].strip()
    if word.startswith("/"):
        return word
    if word.upper() not in _TARGETS:
        known = f"write a path or one of {', '.join(_TARGETS)}"
        raise ConfigError(f"logtarget = {text[:60]!a}: not allowed; {known}", str(directory / "fail2ban.conf"))
    return _TARGETS[word.upper()]


def _loglevel(text: str, directory: Path) -> str:
    if text.upper() not in _LEVELS:
        known = f"write one of {', '.join(sorted(_LEVELS))}"
        raise ConfigError(f"loglevel = {text[:60]!a}: not allowed; {known}", str(directory / "fail2ban.conf"))
    return text.upper()


def _state_dir(said: nouns.Settings) -> str:
    """Where sipguard's own database lies: beside Fail2ban's; beside the socket if that shall not last."""
    file = said.socket if said.dbfile.lower() in _NO_DATABASE else said.dbfile
    return str(Path(file).parent)
