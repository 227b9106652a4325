"""Reads fail2ban.conf, fail2ban.d/*.conf and their `.local` files into `TreeSettings`."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from sipguard.config.definition import DEFINITION
from sipguard.config.ini import Ini, layer_files, read_ini
from sipguard.errors import ConfigError
from sipguard.fail2ban.config.tree_model import TreeSettings
from sipguard.fail2ban.config.values import seconds

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

_CONVERTERS: dict[str, Callable[[str], Any]] = {
    **dict.fromkeys(("loglevel", "logtarget", "syslogsocket", "socket", "pidfile", "allowipv6", "dbfile"), str),
    "dbmaxmatches": int,
    "dbpurgeage": seconds,
}


def read_settings(directory: Path) -> TreeSettings:
    """Read Fail2ban's own settings, with its defaults for what is unset. Raises ConfigError."""
    ini = read_ini(layer_files(directory, "fail2ban"))
    values = {key: _value(ini, DEFINITION, key, convert) for key, convert in _CONVERTERS.items()}
    values["stacksize"] = _value(ini, "Thread", "stacksize", int)
    return TreeSettings(**{key: value for key, value in values.items() if value is not None})


def _value(ini: Ini, section: str, key: str, convert: Callable[[str], Any]) -> Any:
    text = ini.get(section, key)
    if text is None:
        return None
    try:
        return convert(text)
    except ValueError as error:
        reason = f"{text[:40]!a} is not a number" if convert is int else str(error)
        raise ConfigError(f"{key}: {reason}", ini.where(section, key)) from error
