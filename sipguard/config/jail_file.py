"""Builds a `Jail` from the operator's file, the packaged jail and `[defaults]`, merged key by key in this order."""

from __future__ import annotations

import contextlib
import dataclasses
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

from sipguard.config import validators
from sipguard.config.events import check_events, parse
from sipguard.config.jail_schema import GROWTH, JAIL
from sipguard.config.log_choice import choose
from sipguard.config.messages import did_you_mean, shown
from sipguard.config.paths import exists
from sipguard.config.references import parse_reference
from sipguard.errors import ConfigError
from sipguard.files import closed_folder
from sipguard.model import BanGrowth, Filter, Jail, LogPath, Rule
from sipguard.secret import SECRET_NAME
from sipguard.text import printable

if TYPE_CHECKING:
    from sipguard.config.toml_file import TomlFile

ReadFilter = Callable[[str, Sequence[Path]], Filter]
"""Reference (`asterisk[mode=ddos]`), directories (the first that has it wins) → `Filter`, or `ConfigError`."""

KEYS = {key.name: key for key in JAIL}
_FIELDS = {
    name: key.field or name
    for name, key in KEYS.items()
    if (key.field or name) in {one.name for one in dataclasses.fields(Jail)} - {"filter", "logpath"}
}
"""Keys whose value becomes a field of `Jail` unchanged."""


@dataclass(frozen=True, slots=True)
class Given:
    """A value and the place where it is set."""

    value: Any
    where: str


@dataclass(slots=True)
class Layers:
    """The merged keys of one jail, the topmost layer winning, with errors and warnings."""

    name: str
    given: dict[str, Given] = field(default_factory=dict)
    errors: list[ConfigError] = field(default_factory=list)
    warnings: list[str] = field(default_factory=list)

    @property
    def prefix(self) -> str:
        return f"jail {self.name}: "

    def fail(self, what: str, where: str) -> None:
        self.errors.append(ConfigError(f"{self.prefix}{what}", where))

    def add(self, file: TomlFile) -> None:
        """Merge a jail's file over the layers below; an unknown key is an error."""
        for name, value in file.data.items():
            where = file.where(name)
            if isinstance(value, dict) and (dotted := [key for key in value if f"{name}_{key}" in KEYS]):
                # Fail2ban's spelling: bantime.increment.
                self.fail(f"{name}.{dotted[0]}: unknown key; write {name}_{dotted[0]}", where)
            elif name in KEYS:
                self.given[name] = Given(value, where)
            elif isinstance(value, dict | list) and not did_you_mean(name, KEYS):
                self.fail(f"[{printable(name)}]: a jail's file has no tables; its name is the jail's name", where)
            else:
                known = f"; known are {', '.join(KEYS)}"
                said = "…" if SECRET_NAME.search(name) else shown(value)
                self.fail(f"{printable(name)} = {said}: unknown key{did_you_mean(name, KEYS, known)}", where)

    def sift_ignoreip(self, prefix: str) -> None:
        """Leave out the invalid entries of `ignoreip`, with a warning for each: the rest of the list holds."""
        if (given := self.given.get("ignoreip")) is None:
            return
        with contextlib.suppress(ValueError):  # no list at all: `values` makes an error of it
            valid, notes = validators.sift_ignored(given.value)
            self.given["ignoreip"] = Given(valid, given.where)
            self.warnings += [f"{given.where}: {prefix}{note}" for note in notes]

    def values(self) -> dict[str, Any]:
        """The parsed value of every key. An invalid one is omitted and becomes an error."""
        self.sift_ignoreip(self.prefix)
        result: dict[str, Any] = {}
        for name, key in KEYS.items():
            given = self.given.get(name)
            try:
                if given is not None:
                    result[name] = key.read(given.value, given.where, self.prefix)
                elif key.default is not None:
                    result[name] = key.parse(key.default)
            except ConfigError as error:
                self.errors.append(error)
        return result


def enabled(layers: Layers) -> bool:
    """Whether the jail is enabled. An invalid value becomes an error and means no."""
    given = layers.given.get("enabled")
    if given is None:
        return False
    try:
        return bool(KEYS["enabled"].read(given.value, given.where, layers.prefix))
    except ConfigError as error:
        layers.errors.append(error)
        return False


def build(
    layers: Layers, file: TomlFile, directories: Sequence[Path], read_filter: ReadFilter, also: Mapping[str, Path]
) -> Jail | None:
    """Build the jail; None if `layers.errors` says why not. `also` are the packaged jails, for messages."""
    values = layers.values()
    if values.get("source") == "wire":
        return _wire_jail(layers, file, values)
    where = layers.given["enabled"].where if "enabled" in layers.given else file.where()
    if "events" not in values:  # wrong, and told
        return None
    if events := values["events"]:
        _events(layers, values)
        if "filter" not in layers.given:  # how its reports of one attempt are told as one is the same for events
            values["filter"] = parse(events).server
            layers.given["filter"] = Given(values["filter"], layers.given["events"].where)
    if "filter" not in layers.given:
        known = f"; packaged jails are {', '.join(sorted(also)) or 'none'}"
        layers.fail(f'no filter; write filter = "NAME"{did_you_mean(layers.name, also, known)}', where)
    found = _filter(layers, values, directories, read_filter)
    journal = values.get("backend") == "systemd"
    logs = _Logs() if journal else _logs(layers, values)
    if not events and not journal and not logs.followed and not {"logpath", "logpath_first"} & layers.given.keys():
        layers.fail('no logpath; write logpath = "/var/log/…"', where)
    if layers.errors or found is None:
        return None
    return Jail(
        name=layers.name,
        filter=found,
        logpath=logs.followed,
        log_places=logs.places,
        log_choice=logs.why,
        rule=Rule(layers.name, values["port"], values["protocol"], values["verdict"]),
        liberal=_liberal(found, values, directories, read_filter),
        polling=values["backend"] == "polling",
        journal=journal,
        growth=BanGrowth(**{key.name.removeprefix("bantime_"): values[key.name] for key in GROWTH}),
        origin=str(file.path),
        **{field: values[name] for name, field in _FIELDS.items() if name in values},
    )


def _events(layers: Layers, values: Mapping[str, Any]) -> None:
    """Refuse what cannot be listened to, or must not."""
    given = layers.given
    try:
        check_events(
            values["events"], values.get("events_password_file", ""), allow_remote=values.get("allow_remote", False)
        )
    except ConfigError as error:
        what = f"{error.where}: {error.what}" if error.where else error.what
        layers.fail(what, given.get("events_password_file", given["events"]).where)


_LOGS_ONLY = ("events", "filter", "logpath", "logpath_first", "journalmatch")


def _wire_jail(layers: Layers, file: TomlFile, values: Mapping[str, Any]) -> Jail | None:
    """Build a jail that reads no log: its attempts come from SIP messages on the wire."""
    for name in _LOGS_ONLY:
        if name in layers.given:
            layers.fail(
                f'{name}: has no effect with source = "wire", which reads no log; remove it', layers.given[name].where
            )
    if layers.errors:
        return None
    return Jail(
        name=layers.name,
        filter=Filter(layers.name, failregex=()),
        rule=Rule(layers.name, values["port"], values["protocol"], values["verdict"]),
        growth=BanGrowth(**{key.name.removeprefix("bantime_"): values[key.name] for key in GROWTH}),
        origin=str(file.path),
        **{field: values[name] for name, field in _FIELDS.items() if name in values},
    )


def _filter(
    layers: Layers, values: Mapping[str, Any], directories: Sequence[Path], read_filter: ReadFilter
) -> Filter | None:
    if "filter" not in values:
        return None
    reference: str = values["filter"]
    if values.get("backend") == "systemd" and "logtype" not in reference:
        name, _, options = reference.partition("[")
        reference = f"{name}[logtype=journal{',' if options else ']'}{options}"
    try:
        found = read_filter(reference, directories)
        matches = values.get("journalmatch")
        return dataclasses.replace(found, journalmatch=matches) if matches else found
    except ConfigError as error:
        # The filter reader usually knows the place within the filter; otherwise use the place of the reference.
        layers.fail(f"filter = {shown(values['filter'])}: {error.what}", error.where or layers.given["filter"].where)
        return None


def _liberal(
    found: Filter, values: Mapping[str, Any], directories: Sequence[Path], read_filter: ReadFilter
) -> Filter | None:
    """The same filter with the options of its key `liberal`, for a jail whose lines are held against the wire."""
    more = found.options.get("liberal", "")
    if not more or not values.get("corroborate"):
        return None
    name, options = parse_reference(values["filter"])
    options |= parse_reference(f"{name}[{more}]")[1]
    if values.get("backend") == "systemd":
        options.setdefault("logtype", "journal")
    given = ", ".join(f'{key}="{value}"' for key, value in options.items())
    liberal = read_filter(f"{name}[{given}]", directories)
    return dataclasses.replace(liberal, journalmatch=found.journalmatch)


class _Logs(NamedTuple):
    """As in `Jail`: `logpath`, `log_places`, `log_choice`."""

    followed: tuple[LogPath, ...] = ()
    places: tuple[LogPath, ...] = ()
    why: str = ""


def _logs(layers: Layers, values: Mapping[str, Any]) -> _Logs:
    """The logs to follow. Those that do not exist yet are included, with a warning."""
    logs = tuple(map(LogPath.parse, values.get("logpath") or ()))
    if logs:
        missing = [log for log in logs if not exists(log.pattern)]
        note = "does not exist yet; sipguard waits for it"
        layers.warnings += [
            f"{layers.given['logpath'].where}: {layers.prefix}{log} {_closed([log]) or note}" for log in missing
        ]
        return _Logs(logs)
    places = tuple(map(LogPath.parse, values.get("logpath_first") or ()))
    if not places:
        return _Logs()
    if chosen := choose(places):
        return _Logs((chosen.log,), places, chosen.why)
    where = layers.given["logpath_first"].where
    note = 'no log found yet; sipguard waits for each of logpath_first; if it is elsewhere, write logpath = "…"'
    layers.warnings.append(f"{where}: {layers.prefix}{_closed(places) or note}")
    return _Logs(places, places)


def _closed(logs: Sequence[LogPath]) -> str:
    """That nobody can know whether one of them is there; "" if that is known."""
    folder = next(filter(None, (closed_folder(log.pattern) for log in logs)), "")
    return folder and f"cannot be looked for: permission denied: {folder}; let sipguard's user enter it"
