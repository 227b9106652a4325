"""`get JAIL …`."""

from __future__ import annotations

import ipaddress
from collections.abc import Callable, Mapping, Sequence
from typing import Any

from sipguard.daemon.compat.commands import actions, bans, regexes
from sipguard.daemon.compat.host import Host, Options
from sipguard.fail2ban.protocol.messages import InvalidCommandError


def get(host: Host, jail: str, words: Sequence[Any]) -> Any:
    """The answer. Raises `UnknownJailError`, `IndexError` where a word is missing."""
    key = str(words[0])
    rest = [str(one) for one in words[1:]]
    if key in _OPTIONS:
        return _OPTIONS[key](host.options(jail))
    if key in _OTHERS:
        return _OTHERS[key](host, jail, rest)
    if key.startswith("bantime."):
        return host.options(jail).bantime_extra.get(key.removeprefix("bantime."))
    raise InvalidCommandError("Invalid command (no get action or not yet implemented)")


def option(host: Host, jail: str, key: str) -> Any:
    """What `set` answers with: the option as it is now."""
    return get(host, jail, [key])


def _shown(patterns: Sequence[str]) -> list[str]:
    return [regexes.shown(one) for one in patterns]


def _ignored(options: Options) -> list[str]:
    """Networks and names first, single addresses behind them, as Fail2ban keeps them."""
    return sorted(options.ignoreip, key=is_single)


def is_single(entry: str) -> bool:
    """Whether an entry of `ignoreip` is one address: neither a network nor a name."""
    try:
        ipaddress.ip_address(entry)
    except ValueError:
        return False
    return True


_OPTIONS: Mapping[str, Callable[[Options], Any]] = {
    "logencoding": lambda o: o.logencoding,
    "journalmatch": lambda o: [list(one) for one in o.journalmatch],
    "ignoreself": lambda o: o.ignoreself,
    "ignoreip": _ignored,
    "ignorecommand": lambda o: o.ignorecommand,
    "ignorecache": lambda o: None if o.ignorecache is None else list(o.ignorecache),
    "prefregex": lambda o: regexes.shown(o.prefregex),
    "failregex": lambda o: _shown(o.failregex),
    "ignoreregex": lambda o: _shown(o.ignoreregex),
    "usedns": lambda o: o.usedns,
    "findtime": lambda o: o.findtime,
    "datepattern": lambda o: regexes.date_pattern(o.datepattern),
    "logtimezone": lambda o: o.logtimezone,
    "maxmatches": lambda o: o.maxmatches,
    "maxretry": lambda o: o.maxretry,
    "maxlines": lambda o: o.maxlines,
    "bantime": lambda o: o.bantime,
}

_OTHERS: Mapping[str, Callable[[Host, str, Sequence[str]], Any]] = {
    "logpath": lambda host, jail, _words: host.logs(jail),
    "banned": bans.banned_by,
    "banip": bans.ban_list,
    "actions": lambda host, jail, _words: list(host.options(jail).actions),
    "action": actions.get,
    "actionproperties": actions.properties,
    "actionmethods": actions.methods,
}
