"""`set JAIL …` that changes an option: parsed here, and run by the host from then on. The answer is the new value."""

from __future__ import annotations

import codecs
import errno
import glob
import os
import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

from sipguard.addresses import canonical
from sipguard.daemon.compat.commands import actions, jail_get, regexes
from sipguard.daemon.compat.host import Host
from sipguard.durations import seconds
from sipguard.fail2ban.protocol.messages import InvalidCommandError
from sipguard.formula import Formula
from sipguard.model import FOREVER, BanGrowth, IgnoreCache, Jail, LogPath, UseDns
from sipguard.text import printable

LONGEST_SPAN = 1000 * 31_557_600
"""Seconds."""

Words = Sequence[Any]
Setter = Callable[[Jail, Words], Jail]
"""Current jail, and the words behind the key → changed jail."""

_CACHE_OPTION = re.compile(r"""\s*([\w.-]+)=(?:"([^"]*)"|'([^']*)'|([^,]*))\s*(?:,|$)""")
_USE_DNS: Mapping[str, UseDns] = {"yes": "yes", "warn": "warn", "no": "no", "raw": "raw"}


def change(host: Host, jail: str, key: str, words: Words, *, multiple: bool = False) -> Any:
    """Carry out one `set`, or with `multiple` one of `multi-set`, which brings several values at once.

    Raises `IndexError` where a word is missing, and whatever Fail2ban raises for a value that it does not take.
    """
    if key == "action":
        return actions.change(host, jail, words, multiple=multiple)
    if other := _OTHERS.get(key):
        return other(host, jail, words)
    if multiple and key in ("addfailregex", "addignoreregex"):
        for pattern in words[0]:
            change(host, jail, key, [pattern])
        return True
    setter = _growth(key) if key.startswith("bantime.") else _SETTERS.get(key)
    if setter is None:
        shown = printable(key)
        raise InvalidCommandError(f"Invalid command {shown!r} (no set action or not yet implemented)")
    words[0]  # a missing word is told of before an unknown jail is
    old = host.jail(jail)
    new = setter(old, words)
    if new != old:
        host.change(new)
    answer = _ANSWERS.get(key, key)
    return answer(new, words) if callable(answer) else jail_get.get(host, jail, [answer])


def wake(host: Host, jail: str) -> None:
    """`start JAIL`: let a jail that was added begin; one that runs leaves its idle state."""
    if host.jail(jail).idle:
        host.change(replace(host.jail(jail), idle=False))


def _idle(host: Host, jail: str, words: Words) -> bool:
    if words[0] not in ("on", "off"):
        raise InvalidCommandError("Invalid idle option, must be 'on' or 'off'")
    host.change(replace(host.jail(jail), idle=words[0] == "on"))
    return host.jail(jail).idle


def truth(value: Any) -> bool:
    """Fail2ban's reading of a switch: `1`, `on`, `true` and `yes` are true, everything else is false."""
    return value.lower() in ("1", "on", "true", "yes") if isinstance(value, str) else bool(value)


def _add_ignored(jail: Jail, words: Words) -> Jail:
    entries = [_ignored(str(word)) for word in words if word != ""]
    return replace(jail, ignoreip=tuple(dict.fromkeys((*jail_get.ignored(jail), *entries))))


def _ignored(entry: str) -> str:
    try:
        return canonical(entry)
    except ValueError:
        if "/" in entry and not entry.startswith("file:"):
            raise ValueError(f"{entry!r} is not an address, a network or a name") from None
        return entry


def _delete_ignored(jail: Jail, words: Words) -> Jail:
    entry, kept = _ignored(str(words[0])), jail_get.ignored(jail)
    if entry not in kept:
        raise ValueError("list.remove(x): x not in list")
    return replace(jail, ignoreip=tuple(one for one in kept if one != entry))


def _ignore_cache(jail: Jail, words: Words) -> Jail:
    found = {
        m[1]: next(one for one in m.groups()[1:] if one is not None).strip()
        for m in _CACHE_OPTION.finditer(str(words[0]))
    }
    if not found:
        return replace(jail, ignorecache=None)
    cache = IgnoreCache(found["key"], int(found.get("max-count", 100)), float(seconds(found.get("max-time", 300))))
    return replace(jail, ignorecache=cache)


def _add_log(jail: Jail, words: Words) -> Jail:
    path = str(words[0])
    if len(words) > 2:
        raise ValueError("Only one file can be added at a time")
    place = str(words[1]).lower() if len(words) == 2 else "head"
    if place not in ("head", "tail"):
        raise ValueError("File option must be 'head' or 'tail'")
    if not glob.has_magic(path) and not Path(path).exists():
        raise FileNotFoundError(errno.ENOENT, os.strerror(errno.ENOENT), path)
    if any(log.pattern == path for log in jail.logpath):
        return jail
    return replace(jail, logpath=(*jail.logpath, LogPath(path, tail=place == "tail")))


def _encoding(jail: Jail, words: Words) -> Jail:
    name = "UTF-8" if words[0].lower() == "auto" else words[0]
    codecs.lookup(name)
    return replace(jail, encoding=name)


def _journal_matches(words: Words) -> list[list[str]]:
    """Matches of journalctl(1), joined by `+`."""
    return [part.split() for part in " ".join(map(str, words)).split(" + ")]


def _add_journal(jail: Jail, words: Words) -> Jail:
    return _with_matches(jail, [*jail_get.journal_matches(jail), *_journal_matches(words)]) if jail.journal else jail


def _delete_journal(jail: Jail, words: Words) -> Jail:
    if not jail.journal:
        return jail
    gone, there = _journal_matches(words), jail_get.journal_matches(jail)
    missing = [one for one in gone if one not in there]
    if missing:
        raise ValueError(f"Match {' '.join(missing[0])!r} not found")
    return _with_matches(jail, [one for one in there if one not in gone])


def _with_matches(jail: Jail, matches: Sequence[Sequence[str]]) -> Jail:
    return replace(jail, filter=replace(jail.filter, journalmatch=tuple(map(" ".join, matches))))


def _prefregex(jail: Jail, words: Words) -> Jail:
    pattern = regexes.fixed(str(words[0]), jail.usedns)
    if pattern:
        regexes.check(pattern)
    return replace(jail, filter=replace(jail.filter, prefregex=pattern or None))


def _add_failregex(jail: Jail, words: Words) -> Jail:
    pattern = regexes.fixed(str(words[0]), jail.usedns)
    regexes.check_failregex(pattern, jail.filter.prefregex or "")
    return replace(jail, filter=replace(jail.filter, failregex=(*jail.filter.failregex, pattern)))


def _add_ignoreregex(jail: Jail, words: Words) -> Jail:
    pattern = regexes.fixed(str(words[0]), jail.usedns)
    regexes.check(pattern)
    return replace(jail, filter=replace(jail.filter, ignoreregex=(*jail.filter.ignoreregex, pattern)))


def _delete(key: str) -> Setter:
    def setter(jail: Jail, words: Words) -> Jail:
        patterns = list(getattr(jail.filter, key))
        index = int(words[0])
        if not -len(patterns) <= index < len(patterns):
            return jail
        del patterns[index]
        kept: dict[str, Any] = {key: tuple(patterns)}
        return replace(jail, filter=replace(jail.filter, **kept))

    return setter


def _use_dns(jail: Jail, words: Words) -> Jail:
    """Regexes stay as they were read: what `<HOST>` stands for is settled when one is added."""
    found = jail.filter
    kept = replace(
        found,
        failregex=tuple(regexes.fixed(one, jail.usedns) for one in found.failregex),
        ignoreregex=tuple(regexes.fixed(one, jail.usedns) for one in found.ignoreregex),
        prefregex=found.prefregex and regexes.fixed(found.prefregex, jail.usedns),
    )
    return replace(jail, filter=kept, usedns=_USE_DNS.get(str(words[0]).lower(), "no"))


def _max_lines(jail: Jail, words: Words) -> Jail:
    number = int(words[0])
    if number <= 0:
        raise ValueError("maxlines must be integer greater than zero")
    return replace(jail, filter=replace(jail.filter, maxlines=number))


def _span(value: Any) -> float:
    """A time span in seconds. Raises ValueError beyond 1000 years: no clock could show its end."""
    span = seconds(value)
    if not abs(span) <= LONGEST_SPAN:  # NaN too
        raise ValueError(f"{value} is longer than 1000 years; write -1 for ever")
    return span


def _bantime(jail: Jail, words: Words) -> Jail:
    span = int(_span(words[0]))
    return replace(jail, bantime=FOREVER if span < 0 else float(span))


def _growth(key: str) -> Setter:
    """`bantime.increment` and the like. A formula is kept as text: nothing that comes over a socket is executed."""
    name = key.removeprefix("bantime.")

    def setter(jail: Jail, words: Words) -> Jail:
        value: Any = words[0] if words[0] != "" else None
        read = _GROWTH.get(name)
        if read is None:
            return jail
        default = getattr(BanGrowth(), name)
        changes: dict[str, Any] = {name: default if value is None else read(value)}
        return replace(jail, growth=replace(jail.growth, **changes))

    return setter


def _formula(value: Any) -> str:
    Formula(str(value))
    return str(value)


_GROWTH: Mapping[str, Callable[[Any], Any]] = {
    "increment": truth,
    "factor": lambda value: float(seconds(value)),
    "formula": _formula,
    "multipliers": lambda value: tuple(int(one) for one in str(value).split(" ")),
    "maxtime": seconds,
    "rndtime": seconds,
    "overalljails": truth,
}
"""Behind `bantime.`: how the value is read. Raises `ValueError` for what cannot be reckoned with."""

_SETTERS: Mapping[str, Setter] = {
    "ignoreself": lambda jail, words: replace(jail, ignoreself=truth(words[0])),
    "addignoreip": _add_ignored,
    "delignoreip": _delete_ignored,
    "ignorecommand": lambda jail, words: replace(jail, ignorecommand=str(words[0] or "")),
    "ignorecache": _ignore_cache,
    "addlogpath": _add_log,
    "dellogpath": lambda jail, words: replace(jail, logpath=tuple(x for x in jail.logpath if x.pattern != words[0])),
    "logencoding": _encoding,
    "addjournalmatch": _add_journal,
    "deljournalmatch": _delete_journal,
    "prefregex": _prefregex,
    "addfailregex": _add_failregex,
    "delfailregex": _delete("failregex"),
    "addignoreregex": _add_ignoreregex,
    "delignoreregex": _delete("ignoreregex"),
    "usedns": _use_dns,
    "findtime": lambda jail, words: replace(jail, findtime=float(_span(words[0]))),
    "datepattern": lambda jail, words: replace(jail, filter=replace(jail.filter, datepattern=str(words[0]))),
    "logtimezone": lambda jail, words: replace(jail, timezone=str(words[0])),
    "maxmatches": lambda jail, words: replace(jail, maxmatches=int(words[0])),
    "maxretry": lambda jail, words: replace(jail, maxretry=int(words[0])),
    "maxlines": _max_lines,
    "bantime": _bantime,
}

_OTHERS: Mapping[str, Callable[[Host, str, Words], Any]] = {
    "idle": _idle,
    "addaction": actions.add,
    "delaction": actions.delete,
}
"""Keys of `set` that change no option of the jail → what they do."""

_LISTS = ("ignoreip", "logpath", "journalmatch", "failregex", "ignoreregex")
_ANSWERS: Mapping[str, str | Callable[[Jail, Words], Any]] = {
    # As it was given: `get` has whole seconds where it can.
    "findtime": lambda _jail, words: seconds(words[0]),
    "bantime.increment": lambda jail, _words: jail.growth.increment,
    "bantime.overalljails": lambda jail, _words: jail.growth.overalljails,
    **{f"{verb}{key}": key for verb in ("add", "del") for key in _LISTS},
}
"""Key → the key of `get` whose answer it gives, or the answer, where that is another."""
