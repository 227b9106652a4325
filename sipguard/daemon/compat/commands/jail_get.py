"""`get JAIL …`: a running jail's options under Fail2ban's names, with the values that its server answers. Times are seconds."""

from __future__ import annotations

import ipaddress
import math
from collections.abc import Callable, Mapping, Sequence
from typing import Any

from sipguard.daemon.compat.commands import actions, bans, regexes
from sipguard.daemon.compat.host import Host, whole
from sipguard.daemon.operations import known
from sipguard.detection.tags import expand
from sipguard.fail2ban.protocol.messages import InvalidCommandError
from sipguard.model import BanGrowth, Jail

_MAX_MATCHES = 5
"""Fail2ban's default."""
_STEADY = BanGrowth()


def get(host: Host, jail: str, words: Sequence[Any]) -> Any:
    """The answer. Raises `UnknownJailError`, `IndexError` where a word is missing."""
    key = str(words[0])
    rest = [str(one) for one in words[1:]]
    if key in _OPTIONS:
        return _OPTIONS[key](host.jail(jail))
    if key in _OTHERS:
        return _OTHERS[key](host, jail, rest)
    if key.startswith("bantime."):
        return growth_options(host.jail(jail).growth).get(key.removeprefix("bantime."))
    raise InvalidCommandError("Invalid command (no get action or not yet implemented)")


def growth_options(growth: BanGrowth) -> dict[str, Any]:
    """What of `bantime.…` differs from the default, as it would be written, by the name behind the dot."""
    found: dict[str, Any] = {"increment": True} if growth.increment else {}
    if growth.factor != _STEADY.factor:
        found["factor"] = str(whole(growth.factor))
    if growth.multipliers:
        found["multipliers"] = " ".join(map(str, growth.multipliers))
    given = {"formula": growth.formula, "maxtime": growth.maxtime, "rndtime": growth.rndtime}
    found |= {name: whole(value) for name, value in given.items() if value is not None}
    return found | ({"overalljails": True} if growth.overalljails else {})


def ignored(jail: Jail) -> list[str]:
    """`ignoreip` as Fail2ban keeps it: addresses canonical, networks and names first, single addresses behind them."""
    return sorted((known(entry) or entry for entry in jail.ignoreip), key=is_single)


def is_single(entry: str) -> bool:
    """Whether an entry of `ignoreip` is one address: neither a network nor a name."""
    try:
        ipaddress.ip_address(entry)
    except ValueError:
        return False
    return True


def journal_matches(jail: Jail) -> list[list[str]]:
    """Matches of journalctl(1), parted by lines or by `+`; none where the jail reads logs."""
    lines = jail.filter.journalmatch if jail.journal else ()
    return [part.split() for line in lines for part in line.split(" + ")]


def _shown(patterns: Sequence[str], jail: Jail) -> list[str]:
    return [expand(regexes.fixed(one, jail.usedns)) for one in patterns]


def _ignore_cache(jail: Jail) -> list[Any] | None:
    cache = jail.ignorecache
    return [cache.key, cache.max_count, whole(cache.max_time)] if cache else None


_OPTIONS: Mapping[str, Callable[[Jail], Any]] = {
    "logencoding": lambda jail: jail.encoding,
    "journalmatch": journal_matches,
    "ignoreself": lambda jail: jail.ignoreself,
    "ignoreip": ignored,
    "ignorecommand": lambda jail: jail.ignorecommand or False,
    "ignorecache": _ignore_cache,
    "prefregex": lambda jail: expand(regexes.fixed(jail.filter.prefregex or "", jail.usedns)),
    "failregex": lambda jail: _shown(jail.filter.failregex, jail),
    "ignoreregex": lambda jail: _shown(jail.filter.ignoreregex, jail),
    "usedns": lambda jail: jail.usedns,
    "findtime": lambda jail: whole(jail.findtime),
    "datepattern": lambda jail: regexes.date_pattern(jail.filter.datepattern),
    "logtimezone": lambda jail: jail.timezone,
    "maxmatches": lambda jail: _MAX_MATCHES if jail.maxmatches is None else jail.maxmatches,
    "maxretry": lambda jail: jail.maxretry,
    "maxlines": lambda jail: jail.filter.maxlines,
    "bantime": lambda jail: -1 if math.isinf(jail.bantime) else int(jail.bantime),
}

_OTHERS: Mapping[str, Callable[[Host, str, Sequence[str]], Any]] = {
    "logpath": lambda host, jail, _words: host.logs(jail),
    "banned": bans.banned_by,
    "banip": bans.ban_list,
    "actions": lambda host, jail, _words: list(actions.known(host, jail)),
    "action": actions.get,
    "actionproperties": actions.properties,
    "actionmethods": actions.methods,
}
