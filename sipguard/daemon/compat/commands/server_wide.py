"""`get` and `set` of what belongs to no jail: log, database, threads."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from operator import methodcaller
from typing import Any

from sipguard.daemon.compat.host import Host
from sipguard.durations import seconds

_READ: dict[str, Callable[[Any], Any]] = {
    "loglevel": lambda value: str(value).upper(),
    "logtarget": str,
    "syslogsocket": str,
    "dbfile": str,
    "dbmaxmatches": int,
    "dbpurgeage": seconds,
}
"""Setting → how its value is read."""


def _set(name: str, host: Host, value: Any) -> Any:
    """Set it; returns the new value. Without a `dbfile`, the database's settings are None, as in Fail2ban."""
    if name in ("dbmaxmatches", "dbpurgeage") and host.setting("dbfile") is None:
        return None
    host.set(name, _READ[name](value))
    return host.setting(name)


def _threads(_host: Host, value: Any) -> None:
    """Accept thread options and ignore them: our threads have no stack size to set. Raises AttributeError if it is no table."""
    value.items()


GET: dict[str, Callable[[Host], Any]] = {
    **{name: methodcaller("setting", name) for name in _READ},
    "thread": lambda _host: {"stacksize": 0},
}
SET: dict[str, Callable[[Host, Any], Any]] = {
    **{name: partial(_set, name) for name in _READ},
    "allowipv6": lambda _host, value: value,  # sipguard always knows both families
    "thread": _threads,
}
