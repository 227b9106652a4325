"""`set JAIL …` that changes an option: parsed here, and run by the host from then on. The answer is the new value."""

from __future__ import annotations

import codecs
import errno
import glob
import os
import re
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

from sipguard.addresses import canonical
from sipguard.daemon.compat.commands import actions, jail_get, regexes
from sipguard.daemon.compat.host import Host, Options
from sipguard.durations import seconds
from sipguard.fail2ban.protocol.messages import InvalidCommandError
from sipguard.text import printable

LONGEST_SPAN = 1000 * 31_557_600
"""Seconds."""

Changes = dict[str, Any]
Words = Sequence[Any]
Setter = Callable[[Options, Words], Changes]
"""The options as they are, and the words behind the key → the fields that change."""

_CACHE_OPTION = re.compile(r"""\s*([\w.-]+)=(?:"([^"]*)"|'([^']*)'|([^,]*))\s*(?:,|$)""")


def change(host: Host, jail: str, key: str, words: Words, *, multiple: bool = False) -> Any:
    """Carry out one `set`, or with `multiple` one of `multi-set`, which brings several values at once.

    Raises `IndexError` where a word is missing, and whatever Fail2ban raises for a value that it does not take.
    """
    if key == "idle":
        return _idle(host, jail, words)
    if key == "addaction":
        return actions.add(host, jail, words)
    if key == "delaction":
        return actions.delete(host, jail, words)
    if key == "action":
        return actions.change(host, jail, words, multiple=multiple)
    if multiple and key in ("addfailregex", "addignoreregex"):
        for pattern in words[0]:
            change(host, jail, key, [pattern])
        return True
    setter = _bantime_extra(key) if key.startswith("bantime.") else _SETTERS.get(key)
    if setter is None:
        shown = printable(key)
        raise InvalidCommandError(f"Invalid command {shown!r} (no set action or not yet implemented)")
    words[0]  # a missing word is told of before an unknown jail is
    changes = setter(host.options(jail), words)
    if changes:
        host.change(jail, **changes)
    return jail_get.option(host, jail, _ANSWERS.get(key, key))


def _idle(host: Host, jail: str, words: Words) -> bool:
    if words[0] not in ("on", "off"):
        raise InvalidCommandError("Invalid idle option, must be 'on' or 'off'")
    host.change(jail, idle=words[0] == "on")
    return host.options(jail).idle


def truth(value: Any) -> bool:
    """Fail2ban's reading of a switch: `1`, `on`, `true` and `yes` are true, everything else is false."""
    return value.lower() in ("1", "on", "true", "yes") if isinstance(value, str) else bool(value)


def _add_ignored(options: Options, words: Words) -> Changes:
    entries = [_ignored(str(word)) for word in words if word != ""]
    return {"ignoreip": tuple(dict.fromkeys((*options.ignoreip, *entries)))}


def _ignored(entry: str) -> str:
    try:
        return canonical(entry)
    except ValueError:
        if "/" in entry and not entry.startswith("file:"):
            raise ValueError(f"{entry!r} is not an address, a network or a name") from None
        return entry


def _delete_ignored(options: Options, words: Words) -> Changes:
    entry = _ignored(str(words[0]))
    if entry not in options.ignoreip:
        raise ValueError("list.remove(x): x not in list")
    return {"ignoreip": tuple(one for one in options.ignoreip if one != entry)}


def _ignore_cache(_options: Options, words: Words) -> Changes:
    found = {
        m[1]: next(one for one in m.groups()[1:] if one is not None).strip()
        for m in _CACHE_OPTION.finditer(str(words[0]))
    }
    if not found:
        return {"ignorecache": None}
    return {
        "ignorecache": (found["key"], int(found.get("max-count", 100)), seconds(found.get("max-time", 300))),
    }


def _add_log(options: Options, words: Words) -> Changes:
    path = str(words[0])
    if len(words) > 2:
        raise ValueError("Only one file can be added at a time")
    place = str(words[1]).lower() if len(words) == 2 else "head"
    if place not in ("head", "tail"):
        raise ValueError("File option must be 'head' or 'tail'")
    if not glob.has_magic(path) and not Path(path).exists():
        raise FileNotFoundError(errno.ENOENT, os.strerror(errno.ENOENT), path)
    if path in map(bare, options.logpath):
        return {}
    return {"logpath": (*options.logpath, f"{path} tail" if place == "tail" else path)}


def _delete_log(options: Options, words: Words) -> Changes:
    kept = tuple(one for one in options.logpath if bare(one) != words[0])
    return {} if kept == options.logpath else {"logpath": kept}


def bare(entry: str) -> str:
    """A logpath without the ` head` or ` tail` behind it."""
    return entry.removesuffix(" tail").removesuffix(" head")


def _encoding(_options: Options, words: Words) -> Changes:
    name = "UTF-8" if words[0].lower() == "auto" else words[0]
    codecs.lookup(name)
    return {"logencoding": name}


def _journal_matches(words: Words) -> list[tuple[str, ...]]:
    """Matches of journalctl(1), joined by `+`."""
    return [tuple(part.split()) for part in " ".join(map(str, words)).split(" + ")]


def _add_journal(options: Options, words: Words) -> Changes:
    return {"journalmatch": (*options.journalmatch, *_journal_matches(words))} if options.journal else {}


def _delete_journal(options: Options, words: Words) -> Changes:
    if not options.journal:
        return {}
    gone = _journal_matches(words)
    missing = [one for one in gone if one not in options.journalmatch]
    if missing:
        raise ValueError(f"Match {' '.join(missing[0])!r} not found")
    return {"journalmatch": tuple(one for one in options.journalmatch if one not in gone)}


def _prefregex(options: Options, words: Words) -> Changes:
    pattern = regexes.fixed(str(words[0]), options.usedns)
    if pattern:
        regexes.check(pattern)
    return {"prefregex": pattern}


def _add_failregex(options: Options, words: Words) -> Changes:
    pattern = regexes.fixed(str(words[0]), options.usedns)
    regexes.check_failregex(pattern, options.prefregex)
    return {"failregex": (*options.failregex, pattern)}


def _add_ignoreregex(options: Options, words: Words) -> Changes:
    pattern = regexes.fixed(str(words[0]), options.usedns)
    regexes.check(pattern)
    return {"ignoreregex": (*options.ignoreregex, pattern)}


def _delete(field: str) -> Setter:
    def setter(options: Options, words: Words) -> Changes:
        patterns = list(getattr(options, field))
        index = int(words[0])
        if not -len(patterns) <= index < len(patterns):
            return {}
        del patterns[index]
        return {field: tuple(patterns)}

    return setter


def _use_dns(_options: Options, words: Words) -> Changes:
    value = str(words[0]).lower()
    return {"usedns": value if value in ("yes", "warn", "no", "raw") else "no"}


def _max_lines(_options: Options, words: Words) -> Changes:
    number = int(words[0])
    if number <= 0:
        raise ValueError("maxlines must be integer greater than zero")
    return {"maxlines": number}


def _span(value: Any) -> float:
    """Seconds that a clock can still show the end of."""
    span = seconds(value)
    if not abs(span) <= LONGEST_SPAN:  # also what is no number at all
        raise ValueError(f"{value} is longer than 1000 years; write -1 for ever")
    return span


def _number(field: str) -> Setter:
    return lambda _options, words: {field: int(words[0])}


def _bantime_extra(key: str) -> Setter:
    """`bantime.increment` and the like. A formula is kept as text: nothing that comes over a socket is executed."""
    name = key.removeprefix("bantime.")

    def setter(options: Options, words: Words) -> Changes:
        value: Any = words[0] if words[0] != "" else None
        if name == "increment":
            value = truth(value)
        elif value is not None and name in ("maxtime", "rndtime"):
            value = seconds(value)
        elif value is not None and name == "multipliers":
            [int(one) for one in value.split(" ")]
        kept = {one: old for one, old in options.bantime_extra.items() if one != name}
        return {"bantime_extra": kept if value is None else {**kept, name: value}}

    return setter


_SETTERS: Mapping[str, Setter] = {
    "ignoreself": lambda _options, words: {"ignoreself": truth(words[0])},
    "addignoreip": _add_ignored,
    "delignoreip": _delete_ignored,
    "ignorecommand": lambda _options, words: {"ignorecommand": words[0]},
    "ignorecache": _ignore_cache,
    "addlogpath": _add_log,
    "dellogpath": _delete_log,
    "logencoding": _encoding,
    "addjournalmatch": _add_journal,
    "deljournalmatch": _delete_journal,
    "prefregex": _prefregex,
    "addfailregex": _add_failregex,
    "delfailregex": _delete("failregex"),
    "addignoreregex": _add_ignoreregex,
    "delignoreregex": _delete("ignoreregex"),
    "usedns": _use_dns,
    "findtime": lambda _options, words: {"findtime": _span(words[0])},
    "datepattern": lambda _options, words: {"datepattern": str(words[0])},
    "logtimezone": lambda _options, words: {"logtimezone": str(words[0])},
    "maxmatches": _number("maxmatches"),
    "maxretry": _number("maxretry"),
    "maxlines": _max_lines,
    "bantime": lambda _options, words: {"bantime": int(_span(words[0]))},
}

_ANSWERS: Mapping[str, str] = {
    "addignoreip": "ignoreip",
    "delignoreip": "ignoreip",
    "addlogpath": "logpath",
    "dellogpath": "logpath",
    "addjournalmatch": "journalmatch",
    "deljournalmatch": "journalmatch",
    "addfailregex": "failregex",
    "delfailregex": "failregex",
    "addignoreregex": "ignoreregex",
    "delignoreregex": "ignoreregex",
}
"""Key → the key of `get` whose answer it gives, where that is another."""
