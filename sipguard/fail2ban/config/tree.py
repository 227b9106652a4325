"""Reads a whole Fail2ban configuration directory.

jail.conf(5): `jail.conf`, `jail.d/*.conf`, `jail.local`, `jail.d/*.local`, each overriding those before it. An
invalid jail is one error and does not affect the others.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from sipguard.config.ini import DEFAULT, INCLUDES, KNOWN, Ini, layer_files, read_ini
from sipguard.config.interpolation import Value
from sipguard.errors import ConfigError, of_jail
from sipguard.fail2ban.config.jails import is_enabled, read_jail
from sipguard.fail2ban.config.settings import read_settings
from sipguard.fail2ban.config.tree_model import Fail2banJail, Fail2banTree

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path

    from sipguard.model import Jail

FAIL2BAN_VERSION = "1.1.0"
"""Default of `%(fail2ban_version)s`, which actions send to the services that they report to."""


def read_tree(directory: Path, *, version: str = FAIL2BAN_VERSION) -> Fail2banTree:
    """Read the tree in `directory`. Raises ConfigError if it is missing, or jail.conf or fail2ban.conf cannot be parsed."""
    ini = _jail_files(directory, version)
    jails: list[Fail2banJail] = []
    errors: list[ConfigError] = []
    for name in jail_names(ini):
        try:
            if is_enabled(ini, name):
                jails.append(read_jail(ini, name, directory))
        except ConfigError as error:
            errors.append(of_jail(name, error))
    notes = tuple(f"{where}: includes {path}, which does not exist" for path, where in ini.missing)
    return Fail2banTree(directory, read_settings(directory), tuple(jails), tuple(errors), notes)


def read_one(directory: Path, name: str, more: Mapping[str, str] | None = None) -> Jail:
    """Read the jail `name`, enabled or not. Raises ConfigError if there is no tree, no such jail, or the jail is invalid.

    Options in `more` override those of the jail and those that it passes to its filter.
    """
    ini = _jail_files(directory)
    known = jail_names(ini)
    if name not in known:
        raise ConfigError(f"there is no jail {name!a}; known jails: {', '.join(known) or 'none'}", str(directory))
    return read_jail(ini, name, directory, more).as_jail()


def _jail_files(directory: Path, version: str = FAIL2BAN_VERSION) -> Ini:
    """jail.conf and what overrides it, merged. Raises ConfigError."""
    paths = layer_files(directory, "jail")
    if not paths:
        raise ConfigError("no jail.conf or jail.local here; name the directory that contains it", str(directory))
    ini = read_ini(paths)
    ini.defaults["fail2ban_version"] = Value(version, "", 0)
    ini.defaults["fail2ban_confpath"] = Value(str(directory), "", 0)
    return ini


def jail_names(ini: Ini) -> list[str]:
    """Every jail defined in the merged files, enabled or not, in file order."""
    return [name for name in ini.sections if name not in (INCLUDES, DEFAULT) and not name.startswith(KNOWN)]
