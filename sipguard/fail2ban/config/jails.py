"""Reads one section of jail.conf into a `Fail2banJail`. See jail.conf(5), `JAIL CONFIGURATION FILE(S)`.

Like Fail2ban, this reads a jail twice. The first pass finds its filter; in the second, `%(known/failregex)s` and the like
may refer to the filter. The filter is then read again with all of the jail's options.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, TypeVar

from sipguard.config.definition import Definition
from sipguard.config.filters import FILTER_KEYS, build_filter, check_definition, open_filter
from sipguard.config.ini import Ini
from sipguard.config.interpolation import Value
from sipguard.config.references import parse_reference
from sipguard.config.validators import sift_ignored
from sipguard.errors import ConfigError
from sipguard.fail2ban.config.actions import read_actions
from sipguard.fail2ban.config.role import role_of
from sipguard.fail2ban.config.rules import rule_of
from sipguard.fail2ban.config.tree_model import Fail2banJail
from sipguard.fail2ban.config.values import is_true, number, seconds, words
from sipguard.formula import Formula
from sipguard.model import BanGrowth, IgnoreCache, LogPath

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping
    from pathlib import Path

    from sipguard.model import Filter, UseDns

T = TypeVar("T")

_USE_DNS: Mapping[str, UseDns] = {
    **dict.fromkeys(("yes", "true", "1", "on"), "yes"),
    **dict.fromkeys(("no", "false", "0", "off"), "no"),
    "warn": "warn",
    "raw": "raw",
}
_FIRST_DEFAULTS = {"enabled": "False", "backend": "auto", "filter": ""}
_KEYS = (
    *("enabled", "backend", "maxretry", "maxmatches", "findtime"),
    *("bantime", "bantime.increment", "bantime.factor", "bantime.formula", "bantime.multipliers"),
    *("bantime.maxtime", "bantime.rndtime", "bantime.overalljails"),
    *("ignorecommand", "ignoreself", "ignoreip", "ignorecache"),
    *("filter", "logtimezone", "logencoding", "logpath", "skip_if_nologs", "systemd_if_nologs", "action"),
    *FILTER_KEYS,
)
_DEFAULTS = {**_FIRST_DEFAULTS, "action": ""}
_INTEGERS = frozenset({"maxretry", "maxmatches", "maxlines"})
_BOOLEANS = frozenset(
    {"enabled", "bantime.increment", "bantime.overalljails", "ignoreself", "skip_if_nologs", "systemd_if_nologs"}
)
# These have their own commands in Fail2ban's protocol, or none.
_NOT_SENT = frozenset(
    (
        *("action", "filter", "enabled", "logpath", "skip_if_nologs", "systemd_if_nologs", "backend", "ignoreip"),
        *FILTER_KEYS,
    )
)
_LISTS = frozenset({"failregex", "ignoreregex", "journalmatch"})
# Fail2ban sends these first, the jail's before the filter's, so the filter's [Init] wins.
_SET_FIRST = frozenset({"usedns", "maxlines", "prefregex"})


def is_enabled(ini: Ini, name: str) -> bool:
    """Whether the jail is enabled. Raises ConfigError."""
    return is_true(ini.get(name, "enabled") or "")


def read_jail(ini: Ini, name: str, directory: Path, more: Mapping[str, str] | None = None) -> Fail2banJail:
    """Read the jail `name` from the merged jail files; `directory` is the tree. Raises ConfigError with file and line.

    Options in `more` override those of the jail and those that it passes to its filter.
    """
    return _JailReader(ini, name, directory, more or {}).read()


class _JailReader:
    def __init__(self, ini: Ini, name: str, directory: Path, more: Mapping[str, str]) -> None:
        self._ini = ini
        self._name = name
        self._directory = directory
        self._more = more
        self._options: dict[str, str] = {}
        self._notes: list[str] = []

    def read(self) -> Fail2banJail:
        self._options = self._read_options(_FIRST_DEFAULTS, _FIRST_DEFAULTS)
        definition = self._open_filter()
        self._options = self._read_options(_KEYS, _DEFAULTS)
        found = self._filter(definition)
        options = self._options
        actions = read_actions(
            options["action"], self._where("action"), self._name, options, self._directory / "action.d"
        )
        enforced = any(role_of(action).rejects for action in actions)
        if not enforced and self._ini.get(self._name, "action") is None:
            enforced = True
            self._notes.append("no action is set, so Fail2ban would not ban; sipguard's firewall bans")
        elif not enforced:
            self._notes.append(
                "no action rejects addresses on this host; like Fail2ban, sipguard rejects nobody for this jail"
            )
        backend, backend_options = parse_reference(options["backend"], self._where("backend"))
        rule, rule_notes = rule_of(self._name, actions, self._text("port"), self._text("protocol"))
        return Fail2banJail(
            name=self._name,
            filter=found,
            logpath=() if backend == "systemd" else self._logpath(),
            skip_if_nologs=self._value("skip_if_nologs", is_true, False),
            systemd_if_nologs=self._has_journal_too(backend),
            backend=backend,
            backend_options=backend_options,
            maxretry=self._value("maxretry", int, 3),
            maxmatches=self._value("maxmatches", int, None),
            findtime=self._value("findtime", seconds, 600.0),
            bantime=self._value("bantime", seconds, 600.0),
            growth=self._growth(),
            ignoreip=self._ignoreip(),
            ignoreself=self._value("ignoreself", is_true, True),
            ignorecommand=options.get("ignorecommand", ""),
            ignorecache=self._ignorecache(),
            usedns=self._convert("usedns", found.options.get("usedns") or "warn", _usedns),
            logencoding=options.get("logencoding", "auto"),
            logtimezone=options.get("logtimezone") or None,
            rule=rule,
            actions=actions,
            enforced=enforced,
            sent={key: self._sent(key, text) for key, text in options.items() if key not in _NOT_SENT},
            notes=(*self._notes, *rule_notes),
            origin=self._origin(),
        )

    def _where(self, key: str) -> str:
        return self._ini.where(self._name, key)

    def _origin(self) -> str:
        own = [value for value in self._ini.sections[self._name].values() if value.path]
        return own[0].where if own else ""

    def _text(self, key: str) -> str:
        return self._ini.get(self._name, key) or ""

    def _read_options(self, keys: tuple[str, ...] | Mapping[str, str], defaults: Mapping[str, str]) -> dict[str, str]:
        """The resolved texts of `keys`. Numbers and booleans have the form that a filter's `%(…)s` sees."""
        options: dict[str, str] = {}
        for key in keys:
            text = self._ini.get(self._name, key)
            if text is None:
                text = defaults.get(key)
            elif key in _BOOLEANS:
                text = str(is_true(text))
            elif key in _INTEGERS:
                text = str(self._convert(key, text, int))
            if text is not None:
                options[key] = text
        return {**options, **self._more}

    def _convert(self, key: str, text: str, convert: Callable[[str], T]) -> T:
        try:
            return convert(text)
        except ValueError as error:
            reason = f"{text[:40]!a} is not a whole number" if convert is int else str(error)
            raise ConfigError(f"jail {self._name}: {key}: {reason}", self._where(key)) from error

    def _value(self, key: str, convert: Callable[[str], T], default: T) -> T:
        """An option, converted; `default` if it is unset or empty."""
        text = self._options.get(key, "")
        return self._convert(key, text, convert) if text else default

    def _sent(self, key: str, text: str) -> str | int | bool:
        if key in _BOOLEANS:
            return text == "True"
        return int(text) if key in _INTEGERS else text

    def _open_filter(self) -> Definition | None:
        """Read the jail's filter and make its values available to the jail as `known/…`."""
        reference = self._options["filter"]
        if not reference:
            self._notes.append("no filter is set")
            return None
        name, options = parse_reference(reference, self._where("filter"))
        options |= self._more
        ini = open_filter(name, [self._directory / "filter.d"], self._where("filter"))
        self._notes += [f"{where}: includes {path}, which does not exist" for path, where in ini.missing]
        check_definition(name, ini)
        definition = Definition(ini, options, FILTER_KEYS)
        if not options.get("logtype") and not definition.has("logtype"):
            definition.options["logtype"] = "journal" if self._options["backend"].startswith("systemd") else "file"
        definition.select(self._options, everything=True)
        section = self._ini.sections[self._name]
        for key, text in definition.combined().items():
            if not key.startswith("known/"):
                # Once resolved, a percent sign in a regex or date pattern is no longer a reference.
                section[f"known/{key.lower()}"] = Value(text.replace("%", "%%"), "", 0)
        return definition

    def _filter(self, definition: Definition | None) -> Filter:
        """The filter with the jail's options applied: regexes of both; for all other keys the jail wins."""
        if definition is None:
            definition = Definition(Ini(), {}, FILTER_KEYS)
        name = parse_reference(self._options["filter"])[0] if self._options["filter"] else ""
        definition.select(self._options)
        chosen = definition.combined()
        places = {}
        for key in FILTER_KEYS:
            text = self._options.get(key)
            if text is None or (key in _SET_FIRST and key in chosen):
                continue
            chosen[key] = "\n".join(filter(None, (chosen.get(key), text))) if key in _LISTS else text
            places[key] = self._where(key)
        found = build_filter(name, definition, chosen, places)
        if not found.failregex:
            self._notes.append("neither the jail nor its filter has a failregex, so it never finds anything")
        return found

    def _has_journal_too(self, backend: str) -> bool:
        """Whether `auto` may read the journal: as in Fail2ban 1.1.1, the jail itself must set `journalmatch`."""
        return backend == "auto" and "journalmatch" in self._options and self._value("systemd_if_nologs", is_true, True)

    def _logpath(self) -> tuple[LogPath, ...]:
        paths: list[LogPath] = []
        for line in filter(None, self._options.get("logpath", "").split("\n")):
            pattern, _, position = line.rpartition(" ") if " " in line else (line, "", "head")
            if position not in ("head", "tail"):
                raise ConfigError(
                    f"jail {self._name}: logpath {line!a}: only head or tail may follow a path; one path per line",
                    self._where("logpath"),
                )
            paths.append(LogPath(pattern, position == "tail"))
        return tuple(paths)

    def _ignoreip(self) -> tuple[str, ...]:
        """The entries as written. Invalid ones are noted and protect nobody; the others hold."""
        entries = words(self._options.get("ignoreip", ""))
        self._notes += sift_ignored([*entries])[1]
        return entries

    def _growth(self) -> BanGrowth:
        return BanGrowth(
            increment=self._value("bantime.increment", is_true, False),
            factor=self._value("bantime.factor", number, 1.0),
            formula=self._value("bantime.formula", _formula, None),
            multipliers=self._value("bantime.multipliers", _integers, ()),
            maxtime=self._value("bantime.maxtime", seconds, None),
            rndtime=self._value("bantime.rndtime", seconds, None),
            overalljails=self._value("bantime.overalljails", is_true, False),
        )

    def _ignorecache(self) -> IgnoreCache | None:
        text = self._options.get("ignorecache", "")
        if not text:
            return None
        given = parse_reference(f"cache[{text}]", self._where("ignorecache"))[1]
        if "key" not in given:
            raise ConfigError(f"jail {self._name}: ignorecache needs key=...", self._where("ignorecache"))
        return IgnoreCache(
            given["key"],
            self._convert("ignorecache", given.get("max-count", "100"), int),
            self._convert("ignorecache", given.get("max-time", "5m"), seconds),
        )


def _integers(text: str) -> tuple[int, ...]:
    try:
        return tuple(int(word) for word in text.split())
    except ValueError as error:
        raise ValueError(f"{text[:40]!a}: must be whole numbers separated by spaces") from error


def _formula(text: str) -> str:
    try:
        Formula(text)
    except ValueError as error:
        raise ValueError(f"{text[:60]!a} {error}") from error
    return text


def _usedns(text: str) -> UseDns:
    try:
        return _USE_DNS[text.lower()]
    except KeyError:
        raise ValueError(f"{text[:20]!a} must be yes, warn, no or raw") from None
