"""Adds keys to a TOML text that a person has written, and changes nothing else of it."""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import TYPE_CHECKING, Any

from sipguard.config.kind import items
from sipguard.config.toml_file import parse
from sipguard.config.toml_scan import scan
from sipguard.errors import ConfigError

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence


def written(value: Any) -> str:
    """A value as TOML has it: text, a flag, or a list of texts."""
    return json.dumps(value, ensure_ascii=False)


def with_keys(text: str, keys: Mapping[str, Any], path: str) -> str:
    """The text with these keys at its top level. Raises ConfigError where that takes more than a line each."""
    lines = text.split("\n")
    places = {statement.keys: statement.line for statement in scan(text)}
    first_table = min((one.line for one in scan(text) if one.is_table), default=len(lines) + 1) - 1
    at = first_table - 1 if first_table == len(lines) and lines[-1] == "" else first_table
    new = []
    for key, value in keys.items():
        line = f"{key} = {written(value)}"
        if (key,) in places:
            lines[places[(key,)] - 1] = line
        else:
            new.append(line)
    lines[at:at] = new
    return _checked("\n".join(lines), dict(parse(text, Path(path)).data) | dict(keys), path, " and ".join(keys))


def with_ignored(text: str, hosts: Sequence[str], path: str) -> str:
    """The text with these hosts in `ignoreip` of `[defaults]`. Raises ConfigError where it cannot be added to."""
    data = parse(text, Path(path)).data
    defaults = data.get("defaults", {})
    places = {statement.keys: statement.line for statement in scan(text)}
    lines = text.split("\n")
    if ("defaults", "ignoreip") in places:
        at = places["defaults", "ignoreip"] - 1
        before = items(defaults["ignoreip"])
        added = ", ".join(map(written, hosts)) if isinstance(defaults["ignoreip"], list) else ", ".join(hosts)
        lines[at] = re.sub(
            r"""^([^=]*=\s*(?:\[|"|'))""", lambda match: match[1] + added + (", " if before else ""), lines[at]
        )
    else:
        before = []
        if ("defaults",) in places:
            at = places["defaults",]
        else:
            lines = [*text.rstrip("\n").split("\n"), "", "[defaults]", ""] if text.strip() else ["[defaults]", ""]
            at = len(lines) - 1
        lines.insert(at, f"ignoreip = {written(list(hosts))}")
    given = defaults.get("ignoreip", [])
    expected = [*hosts, *before] if isinstance(given, list) else ", ".join([*hosts, *([given] if given else [])])
    return _checked("\n".join(lines), {**data, "defaults": {**defaults, "ignoreip": expected}}, path, "ignoreip")


def with_wire(text: str, path: str) -> str:
    """The text with `enabled = true` in `[wire]`. Raises ConfigError where it cannot be added to."""
    data = parse(text, Path(path)).data
    places = {statement.keys: statement.line for statement in scan(text)}
    lines = text.split("\n")
    if ("wire",) in places:
        lines.insert(places["wire",], "enabled = true")
    else:
        lines = [*text.rstrip("\n").split("\n"), "", "[wire]", "enabled = true", ""]
    expected = {**data, "wire": {**data.get("wire", {}), "enabled": True}}
    return _checked("\n".join(lines), expected, path, "[wire] enabled")


def _checked(text: str, expected: Mapping[str, Any], path: str, keys: str) -> str:
    """The new text, if it says what it should."""
    try:
        same = parse(text, Path(path)).data == expected
    except ConfigError:
        same = False
    if not same:
        raise ConfigError(f"{keys} cannot be added here by a program; write it yourself, then run enable again", path)
    return text
