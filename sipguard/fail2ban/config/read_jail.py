"""Reads one jail of a Fail2ban tree, enabled or not: for `replay` and fail2ban-regex, which run before it is enabled."""

from __future__ import annotations

from typing import TYPE_CHECKING

from sipguard.config.ini import layer_files, read_ini
from sipguard.config.interpolation import Value
from sipguard.errors import ConfigError
from sipguard.fail2ban.config.jails import read_jail
from sipguard.fail2ban.config.tree import FAIL2BAN_VERSION, jail_names

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path

    from sipguard.model import Jail


def read_one(directory: Path, name: str, more: Mapping[str, str] | None = None) -> Jail:
    """Read the jail `name`. Raises ConfigError if there is no tree, no such jail, or the jail is invalid.

    Options in `more` override those of the jail and those that it passes to its filter.
    """
    files = layer_files(directory, "jail")
    if not files:
        raise ConfigError("no jail.conf or jail.local here; name the directory that contains it", str(directory))
    ini = read_ini(files)
    ini.defaults["fail2ban_version"] = Value(FAIL2BAN_VERSION, "", 0)
    ini.defaults["fail2ban_confpath"] = Value(str(directory), "", 0)
    known = jail_names(ini)
    if name not in known:
        raise ConfigError(f"there is no jail {name!a}; known jails: {', '.join(known) or 'none'}", str(directory))
    return read_jail(ini, name, directory, more).as_jail()
