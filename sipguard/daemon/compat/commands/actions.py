"""Actions of a jail: their names and properties.

sipguard's own firewall makes the bans, so that these are what other programs see and set, not what a ban is made by.
"""

from __future__ import annotations

import logging
from collections.abc import Mapping, Sequence
from typing import Any

from sipguard.daemon.compat.host import Actions, Host
from sipguard.model import Action, NativeAction

log = logging.getLogger("fail2ban.actions")

_COMMANDS = ("actionban", "actioncheck", "actionflush", "actionreban", "actionreload", "actionrepair")
_MORE_COMMANDS = ("actionstart", "actionstop", "actionunban")
NEW: Mapping[str, Any] = dict.fromkeys((*_COMMANDS, *_MORE_COMMANDS), "") | {"timeout": 60}
"""The properties of an action that was just added; `timeout` in seconds."""
_METHODS = (
    *("ban", "clearAllParams", "consistencyCheck", "escapeTag", "executeCmd", "flush", "invalidateBanEpoch", "prolong"),
    *("reban", "reload", "replaceDynamicTags", "replaceTag", "start", "stop", "unban"),
)
_CONSTANTS = ("ESCAPE_CRE", "ESCAPE_VN_CRE")
"""What Fail2ban lists beside the properties of an action."""


def get(host: Host, jail: str, words: Sequence[str]) -> Any:
    """`get JAIL action ACTION PROPERTY`."""
    name, key = words[0], words[1]
    found = _action(host, jail, name)
    if key not in found:
        raise AttributeError(f"'CommandAction' object has no attribute '{key}'")
    return found[key]


def properties(host: Host, jail: str, words: Sequence[str]) -> list[str]:
    """`get JAIL actionproperties ACTION`."""
    return sorted({*_action(host, jail, words[0]), *_CONSTANTS, "banEpoch"})


def methods(host: Host, jail: str, words: Sequence[str]) -> list[str]:
    """`get JAIL actionmethods ACTION`."""
    _action(host, jail, words[0])
    return list(_METHODS)


def add(host: Host, jail: str, words: Sequence[Any]) -> str:
    """`set JAIL addaction NAME`."""
    name = str(words[0])
    found = known(host, jail)
    if name in found:
        raise ValueError(f"Action {name} already exists")
    log.warning("[%s] Action %r is noted, not run: sipguard's own firewall makes the bans", jail, name)
    host.set_actions(jail, {**found, name: dict(NEW)})
    return name


def delete(host: Host, jail: str, words: Sequence[Any]) -> None:
    """`set JAIL delaction NAME`."""
    name = str(words[0])
    _action(host, jail, name)
    host.set_actions(jail, {key: value for key, value in known(host, jail).items() if key != name})


def change(host: Host, jail: str, words: Sequence[Any], *, multiple: bool) -> Any:
    """`set JAIL action NAME PROPERTY VALUE`, or several properties at once."""
    name = str(words[0])
    found = _action(host, jail, name)
    pairs = [(str(one[0]), one[1]) for one in words[1]] if multiple else [(str(words[1]), _value(words))]
    host.set_actions(jail, {**known(host, jail), name: {**found, **dict(pairs)}})
    return True if multiple else pairs[0][1]


def _value(words: Sequence[Any]) -> Any:
    if words[1] in _METHODS:
        raise NotImplementedError(f"{words[1]}: sipguard's own firewall makes the bans, no action is run")
    return words[2]


def _action(host: Host, jail: str, name: str) -> Mapping[str, Any]:
    found = known(host, jail)
    if name not in found:
        raise KeyError(f"Invalid Action name: {name}")
    return found[name]


def known(host: Host, jail: str) -> Actions:
    """The actions of a jail: those of its configuration, or what clients have made of them."""
    given = host.actions(jail)
    return {one.name: _properties(one) for one in host.jail(jail).actions} if given is None else given


def _properties(action: Action | NativeAction) -> dict[str, Any]:
    """Of an action of Fail2ban's kind; one of sipguard's own has a name alone, since its settings may be secrets."""
    if isinstance(action, NativeAction):
        return dict(NEW)
    return {**NEW, **action.properties, **action.flags, **action.commands}
