"""`get` and `set` of what belongs to no jail: log, database, threads."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from sipguard.daemon.compat.host import Host
from sipguard.durations import seconds


def _setter(name: str, convert: Callable[[Any], Any] = str) -> Callable[[Host, Any], Any]:
    def change(host: Host, value: Any) -> Any:
        host.set(name, convert(value))
        return host.setting(name)

    return change


def _log_level(value: Any) -> str:
    return str(value).upper()


def _allow_ipv6(_host: Host, value: Any) -> Any:
    """sipguard always knows both families."""
    return value


def _database(name: str, convert: Callable[[Any], Any]) -> Callable[[Host, Any], Any]:
    def change(host: Host, value: Any) -> Any:
        if host.setting("dbfile") is None:
            return None
        return _setter(name, convert)(host, value)

    return change


def _threads(_host: Host, value: Any) -> None:
    """Nothing here has a stack size to be set; what is no table of options is refused as Fail2ban does."""
    value.items()


def _getter(name: str) -> Callable[[Host], Any]:
    return lambda host: host.setting(name)


GET: dict[str, Callable[[Host], Any]] = {
    **{
        name: _getter(name)
        for name in ("loglevel", "logtarget", "syslogsocket", "dbfile", "dbmaxmatches", "dbpurgeage")
    },
    "thread": lambda _host: {"stacksize": 0},
}
SET: dict[str, Callable[[Host, Any], Any]] = {
    "loglevel": _setter("loglevel", _log_level),
    "logtarget": _setter("logtarget"),
    "syslogsocket": _setter("syslogsocket"),
    "allowipv6": _allow_ipv6,
    "thread": _threads,
    "dbfile": _setter("dbfile"),
    "dbmaxmatches": _database("dbmaxmatches", int),
    "dbpurgeage": _database("dbpurgeage", seconds),
}
