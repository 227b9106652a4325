"""Reads action.d files into `Action`s, with the jail's parameters. See jail.conf(5), `ACTION CONFIGURATION FILES`.

Tags defined by the configuration are substituted here. Tags of a ban (`<ip>`, `<matches>`, `<bantime>`) stay, and so do
tags with a condition (`[Init?family=inet6]`), which `commands_for` resolves for one family.
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import TYPE_CHECKING

from sipguard.config.definition import Definition
from sipguard.config.ini import layer_files, read_ini
from sipguard.config.references import split_references
from sipguard.config.tags import substitute_tags
from sipguard.errors import ConfigError
from sipguard.fail2ban.config.values import is_true
from sipguard.model import Action

if TYPE_CHECKING:
    from collections.abc import Mapping

FLAGS = ("actionstart_on_demand", "actionrepair_on_unban", "norestored")
COMMANDS = (
    *("actionstart", "actionstop", "actionflush", "actionreload", "actioncheck", "actionrepair"),
    *("actionban", "actionprolong", "actionreban", "actionunban"),
)
# Attackers control these values, so they are substituted only where they can be escaped.
HOSTILE_TAGS = frozenset({"matches", "ipmatches", "ipjailmatches"})
_OF_THE_BAN = HOSTILE_TAGS | {"timeout", "bantime"}
_LAYOUT = {"br": "\n", "sp": " "}


def read_actions(
    text: str, where: str, jail: str, jail_options: Mapping[str, str], directory: Path
) -> tuple[Action, ...]:
    """Read every action named in a jail's `action`; `directory` is action.d.

    Raises ConfigError if a file is missing or a value cannot be resolved.
    """
    actions: list[Action] = []
    for name, options in split_references(text, where):
        if name.endswith(".py"):
            action = _python(name, options, directory)
        else:
            action = _shell(directory, name, _named(name, options, jail), jail_options, where)
        if any(other.name == action.name for other in actions):
            raise ConfigError(f"two actions are named {action.name!a}; give one of them [actname=...]", where)
        actions.append(action)
    return tuple(actions)


def _python(name: str, options: Mapping[str, str], directory: Path) -> Action:
    own_name = options.get("actname", Path(name).stem)
    properties = {key: value for key, value in options.items() if key != "actname"}
    return Action(name=own_name, file=name, properties=properties, python=str(directory / name))


def _shell(
    directory: Path, name: str, options: Mapping[str, str], jail_options: Mapping[str, str], where: str
) -> Action:
    paths = layer_files(directory, name) if name.isprintable() else []
    if not paths:
        raise ConfigError(f"there is no action {name!a} in {directory}", where)
    definition = Definition(read_ini(paths), options, (*COMMANDS, *FLAGS))
    definition.select(jail_options)
    found = definition.combined(_OF_THE_BAN)
    others = {key: text for key, text in definition.options.items() if key not in (*COMMANDS, *FLAGS)}
    return Action(
        name=definition.options["actname"],
        file=name,
        commands={key: found[key] for key in found if key in COMMANDS},
        flags={key: is_true(found[key]) for key in FLAGS if key in found},
        properties={key: text for key, text in others.items() if not key.startswith("known/")},
        origin=str(paths[-1]),
    )


def _named(file: str, options: Mapping[str, str], jail: str) -> dict[str, str]:
    """The options plus `name` and `actname`, which are unique even if a jail uses the same file twice."""
    name = options.get("name", jail)
    suffix = "" if name == jail else name[len(jail) :] if name.startswith(jail) else f"-{name}"
    return {**options, "name": name, "actname": options.get("actname", file + suffix)}


def commands_for(action: Action, family: str) -> dict[str, str]:
    """The commands for one address `family` (`inet4`, `inet6`). Only tags of the ban remain in them.

    Raises ConfigError if a tag refers to itself.
    """
    flags = {key: json.dumps(value) for key, value in action.flags.items()}
    values = {"timeout": "60", **flags, **action.properties, **action.commands}
    values.pop("bantime", None)  # a parameter of this name does not change the length of the ban
    resolved = substitute_tags(values, HOSTILE_TAGS, condition=f"family={family}", where=lambda _key: action.origin)
    last = {"family": family, **_LAYOUT}
    return {key: _replace(resolved[key], last) for key in action.commands}


def _replace(text: str, tags: Mapping[str, str]) -> str:
    for name, value in tags.items():
        text = text.replace(f"<{name}>", value)
    return text
