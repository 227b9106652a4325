"""Converts a Fail2ban tree into the commands that configure its server: what `-d` prints and `reload` sends."""

from __future__ import annotations

import glob
import json
import shlex
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from sipguard.config.ini import layer_files, read_ini
from sipguard.errors import ConfigError
from sipguard.fail2ban.config.tree import jail_names, read_tree
from sipguard.fail2ban.config.tree_model import Fail2banJail, Fail2banTree
from sipguard.fail2ban.protocol.messages import SPOKEN_VERSION
from sipguard.model import Action, LogPath

Command = list[Any]

_GENERAL: Mapping[str, Any] = {
    "syslogsocket": "auto",
    "loglevel": "INFO",
    "logtarget": "STDERR",
    "allowipv6": "auto",
    "dbfile": "/var/lib/fail2ban/fail2ban.sqlite3",
    "dbmaxmatches": None,
    "dbpurgeage": "1d",
}
_ACTION_KEYS = (
    *("actionstart", "actionstart_on_demand", "actionstop", "actionflush", "actionreload", "actioncheck"),
    *(
        "actionrepair",
        "actionrepair_on_unban",
        "actionban",
        "actionprolong",
        "actionreban",
        "actionunban",
        "norestored",
    ),
)


def read(directory: Path, jail: str | None = None) -> tuple[list[Command], Fail2banTree]:
    """The commands for a tree, or for one jail of it; `config-error` for an invalid jail. Raises `ConfigError`."""
    tree = read_tree(directory, version=SPOKEN_VERSION)
    jails = [one for one in tree.jails if jail in (None, one.name)]
    if jail is not None and jail not in {*(one.name for one in jails), *(error.jail for error in tree.errors)}:
        raise ConfigError(f"No section: {jail!r}")
    commands = list(_general(directory))
    by_name = {one.name: one for one in jails}
    wrong = {error.jail: error for error in tree.errors if jail in (None, error.jail)}
    for name in jail_names(read_ini(layer_files(directory, "jail"))):
        if name in wrong:
            reason = wrong[name].what.removeprefix(f"jail {name}: ")
            commands.append(["config-error", f"Jail {name!r} skipped, because of wrong configuration: {reason}"])
        elif name in by_name:
            commands += _jail(by_name[name])
    return commands + [["start", one.name] for one in jails], tree


def without_logs(tree: Fail2banTree) -> list[str]:
    """The jails whose `logpath` currently matches no file: Fail2ban refuses those."""
    return [jail.name for jail in tree.jails if jail.logpath and not any(map(_found, jail.logpath))]


def _found(log: LogPath) -> list[str]:
    return glob.glob(log.pattern)  # noqa: PTH207 - an absolute pattern


def _general(directory: Path) -> Iterator[Command]:
    ini = read_ini(layer_files(directory, "fail2ban"))
    if (size := ini.get("Thread", "stacksize")) is not None:
        yield ["set", "thread", {"stacksize": int(size)}]
    for name, default in _GENERAL.items():
        text = ini.get("Definition", name)
        value = default if text is None else int(text) if name == "dbmaxmatches" else text
        if value is not None:
            yield ["set", name, value]


def _jail(jail: Fail2banJail) -> Iterator[Command]:
    yield ["add", jail.name, _backend(jail)]
    yield from _filter(jail)
    for key, value in jail.sent.items():
        if key == "ignorecache" and jail.ignoreip:
            yield ["set", jail.name, "addignoreip", *jail.ignoreip]
        if value is not None:
            yield ["set", jail.name, key, value]
        if key == "ignoreself" and jail.ignoreip and "ignorecache" not in jail.sent:
            yield ["set", jail.name, "addignoreip", *jail.ignoreip]
    if jail.ignoreip and not {"ignoreself", "ignorecache"} & set(jail.sent):
        yield ["set", jail.name, "addignoreip", *jail.ignoreip]
    for log in jail.logpath:
        for path in _found(log):
            yield ["set", jail.name, "addlogpath", path, "tail" if log.tail else "head"]
    for action in jail.actions:
        yield from _action(jail.name, action)


def _backend(jail: Fail2banJail) -> str:
    options = ",".join(f"{key}={value}" for key, value in jail.backend_options.items())
    return f"{jail.backend}[{options}]" if options else jail.backend


def _filter(jail: Fail2banJail) -> Iterator[Command]:
    found = jail.filter
    if "usedns" in found.options or jail.usedns != "warn":
        yield ["set", jail.name, "usedns", found.options.get("usedns", jail.usedns)]
    if found.prefregex:
        yield ["set", jail.name, "prefregex", found.prefregex]
    if found.maxlines != 1 or "maxlines" in found.lines:
        yield ["set", jail.name, "maxlines", found.maxlines]
    for key, patterns in (("addignoreregex", found.ignoreregex), ("addfailregex", found.failregex)):
        if len(patterns) > 1:
            yield ["multi-set", jail.name, key, list(patterns)]
        elif patterns:
            yield ["set", jail.name, key, patterns[0]]
    if found.datepattern:
        yield ["set", jail.name, "datepattern", found.datepattern]
    for match in found.journalmatch:
        yield ["set", jail.name, "addjournalmatch", *shlex.split(match)]


def _action(jail: str, action: Action) -> Iterator[Command]:
    if action.python:
        yield ["set", jail, "addaction", action.name, action.python, json.dumps(dict(action.properties))]
        return
    yield ["set", jail, "addaction", action.name]
    values: dict[str, Any] = {**action.commands, **action.flags}
    pairs = [[key, values[key]] for key in _ACTION_KEYS if key in values]
    pairs += [[key, value] for key, value in action.properties.items()]
    if len(pairs) > 1:
        yield ["multi-set", jail, "action", action.name, pairs]
    elif pairs:
        yield ["set", jail, "action", action.name, *pairs[0]]
