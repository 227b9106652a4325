"""Reads the native configuration: sipguard.toml and the jails in jails.d.

A jail is a file: `jails.d/NAME.toml` defines the jail NAME. Its keys override the packaged jail of that name, if any,
which overrides `[defaults]`. An invalid jail does not stop the others; an invalid sipguard.toml stops everything.
"""

from __future__ import annotations

import os
import re
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Literal

from sipguard.config import paths
from sipguard.config.crowdsec import read_crowdsec, silent_crowdsec
from sipguard.config.feeds import FEEDS, read_feeds
from sipguard.config.fleet import no_lists, read_fleet, silent_fleet
from sipguard.config.hep import refuse_open_listener, silent_wire
from sipguard.config.jail_file import Given, Layers, ReadFilter, build, enabled
from sipguard.config.jail_schema import JAIL
from sipguard.config.messages import did_you_mean, shown
from sipguard.config.schema import SECTIONS
from sipguard.config.toml_file import TomlFile, read
from sipguard.config.validators import sift_ignored
from sipguard.config.wire import idle_wire
from sipguard.errors import ConfigError
from sipguard.model import RejectWith
from sipguard.secret import Secret
from sipguard.text import printable

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence
    from pathlib import Path

    from sipguard.model import Crowdsec, Feed, Filter, Fleet, Jail, PortRange

_JAIL_NAME = re.compile(r"[a-z0-9_][a-z0-9_-]{0,31}", re.IGNORECASE | re.ASCII)
# Fail2ban's file endings: an operator who copies such a file here expects it to be read.
_OTHER_ENDINGS = (".conf", ".local")


@dataclass(frozen=True, slots=True)
class Settings:
    """The daemon's configuration: global settings, enabled jails, and errors of others."""

    config_file: Path
    state_dir: str
    socket: str
    socket_group: str
    read_socket: str
    read_socket_group: str
    logtarget: str
    loglevel: str
    firewall: str
    """`auto` or the name of a firewall backend."""
    fail2ban_socket: str = ""
    """Socket of Fail2ban's protocol; empty for none."""
    pidfile: str = ""
    """File to which the daemon writes its process id; empty for none."""
    fail2ban_dbfile: str = ""
    """SQLite file in Fail2ban's format, for programs that read it; empty for none."""
    fail2ban_dbpurgeage: float = 86_400.0
    """How long ended bans stay in it, in seconds."""
    chain: str = "sipguard"
    hooks: tuple[str, ...] = ()
    reject_with: RejectWith = "port-unreachable"
    all_ports: bool = False
    set_size: int = 1_000_000
    flush_on_stop: bool = False
    """Whether stopping removes everything of ours from the firewall. For these, see `firewall.options`."""
    jails: tuple[Jail, ...] = ()
    errors: tuple[ConfigError, ...] = ()
    """Errors of jails; each names its file, line and jail."""
    warnings: tuple[str, ...] = ()
    logformat: Literal["fail2ban", "json"] = "fail2ban"
    metrics: str = ""
    """Where Prometheus metrics are served: `address:port` or a path; empty for none."""
    geoip: tuple[str, ...] = ()
    """Databases of countries and networks."""
    hep_listen: str = ""
    """Where HEP packets are received: `address:port`; empty for none."""
    hep_key: Secret = field(default_factory=lambda: Secret(""))
    hep_from: tuple[str, ...] = ()
    wire_enabled: bool = False
    """Whether this machine's SIP packets are watched; the others say how (`config.wire`)."""
    wire_ports: tuple[PortRange, ...] = ()
    wire_proxies: tuple[str, ...] = ()
    """Networks in canonical form."""
    wire_corroborate: tuple[str, ...] = ()
    wire_group: int = 5060
    wire_rate: int = 5000
    feeds: tuple[Feed, ...] = ()
    fleet: Fleet | None = None
    crowdsec: Crowdsec | None = None
    ignoreip: tuple[str, ...] = ()
    """`ignoreip` of `[defaults]`: no feed may reject these, even if there is no jail."""
    fail2ban_dir: str = ""
    """The Fail2ban tree from which jails were read."""
    banactions: Literal["firewall", "commands"] = "firewall"
    """What bans for a tree's jails: sipguard's firewall, or the commands of the action files."""
    keep_history: float = 7 * 86_400.0
    """How long ended bans and their lines are kept, in seconds: for `explain` and for growing ban times."""


def load(
    config_file: Path | None = None, *, read_filter: ReadFilter | None = None, packaged_jails: Path | None = None
) -> Settings:
    """Read the configuration; jails.d and filters.d are beside the file.

    `/etc/sipguard/sipguard.toml` is optional, since everything has a default. Another file must exist.

    Raises:
        ConfigError: sipguard.toml is invalid.
    """
    main = _read_main(config_file)
    path, values = main.path, _main_values(main)
    refuse_open_listener(main, values)
    packaged = {one.stem: one for one in _files(packaged_jails or paths.packaged("jails"))}
    errors: list[ConfigError] = []
    warnings: list[str] = []
    base = _base_layer(main, warnings)
    jails: list[Jail] = []
    directories = paths.filter_directories(path.parent)
    try:
        files = list(_jail_files(path.parent / paths.JAILS_DIR, errors, warnings))
    except OSError as error:
        raise ConfigError(f"cannot be read: {error.strerror}", printable(str(path.parent / paths.JAILS_DIR))) from None
    for one in files:
        layers = Layers(one.stem, dict(base))
        try:
            jail = _jail(layers, one, packaged, directories, read_filter or _read_filter)
        except ConfigError as error:
            layers.errors.append(ConfigError(f"{layers.prefix}{error.what}", error.where))
        else:
            jails += [jail] if jail else []
        for wrong in layers.errors:
            wrong.jail = one.stem
        errors += sorted(layers.errors, key=_place)
        warnings += layers.warnings
    feeds = read_feeds(main, errors)
    fleet, crowdsec = read_fleet(main), read_crowdsec(main)
    warnings += idle_wire(values, printable(str(path)))
    warnings += no_lists(str(values.get("firewall", "")), fleet=fleet, crowdsec=crowdsec, feeds=feeds)
    warnings += silent_wire(jails, values) + silent_fleet(fleet, jails) + silent_crowdsec(crowdsec, jails)
    if not files:
        example = path.parent / paths.JAILS_DIR / "asterisk.toml"
        warnings.append(
            f"{printable(str(path))}: no jail is enabled; write `enabled = true` to e.g. {printable(str(example))}"
        )
    values |= {"jails": tuple(jails), "errors": tuple(errors), "warnings": tuple(warnings)}
    return Settings(path, **values, feeds=feeds, fleet=fleet, crowdsec=crowdsec)


def _read_main(given: Path | None) -> TomlFile:
    path = given or paths.main_file()
    optional = given is None and path == paths.MAIN_FILE
    return TomlFile(path, {}, {}) if optional and not _is_there(path) else read(path)


def _is_there(path: Path) -> bool:
    try:
        return path.exists()
    except OSError:  # a parent directory cannot be entered: `read` reports it
        return True


def _place(error: ConfigError) -> tuple[str, int]:
    """File and line, for sorting errors."""
    file, _, line = error.where.rpartition(":")
    return (file, int(line)) if line.isdecimal() else (error.where, 0)


def _read_filter(reference: str, directories: Sequence[Path]) -> Filter:
    from sipguard.config.filters import read_filter  # noqa: PLC0415 - not needed to report a broken sipguard.toml

    return read_filter(reference, directories)


def _main_values(main: TomlFile) -> dict[str, Any]:
    """The fields of `Settings` set by sipguard.toml. Validates its other keys as well."""
    _refuse_unknown(main)
    values: dict[str, Any] = {}
    for section, keys in SECTIONS.items():
        given = _section(main, section)
        prefix = f"[{section}] " if section else ""
        for key in keys:
            if key.name in given:
                value = _without_slips(key.name, given[key.name])
                value = key.read(value, main.where(*filter(None, (section, key.name))), prefix)
            else:
                value = key.parse(key.default) if key.default is not None else None
            name = key.field or key.name
            if (section != "defaults" or name == "ignoreip") and name in Settings.__dataclass_fields__:
                values[name] = value
    return values


def _without_slips(name: str, value: object) -> object:
    """A value of `[defaults]` without the entries of `ignoreip` that `_base_layer` warns of."""
    try:
        return sift_ignored(value)[0] if name == "ignoreip" else value
    except ValueError:
        return value


def _section(main: TomlFile, section: str) -> Mapping[str, Any]:
    given = main.data.get(section, {}) if section else main.data
    if not isinstance(given, dict):
        raise ConfigError(f"{section} = {shown(given)}: must be a table, [{section}]", main.where(section))
    return given


def _refuse_unknown(main: TomlFile) -> None:
    for section, keys in SECTIONS.items():
        known = [key.name for key in keys] + ([*filter(None, SECTIONS), FEEDS] if not section else [])
        for name, value in _section(main, section).items():
            if name in known:
                continue
            where = main.where(*filter(None, (section, name)))
            if not section and name in {key.name for key in JAIL}:
                raise ConfigError(f"{name} = {shown(value)}: a jail's key; write it below [defaults]", where)
            written = (
                f"[{printable(name)}]: unknown table" if isinstance(value, dict) else f"{printable(name)}: unknown key"
            )
            in_section = f"[{section}] " if section else ""
            hint = did_you_mean(name, known, f"; known are {', '.join(known)}")
            raise ConfigError(f"{in_section}{written}{hint}", where)


def _base_layer(main: TomlFile, warnings: list[str]) -> dict[str, Given]:
    """The layer below every jail: `[defaults]`, and below that the verdict of `[firewall]`. Adds to `warnings`."""
    firewall, defaults = _section(main, "firewall"), _section(main, "defaults")
    base = {"verdict": Given(firewall["verdict"], main.where("firewall", "verdict"))} if "verdict" in firewall else {}
    given = base | {name: Given(value, main.where("defaults", name)) for name, value in defaults.items()}
    layers = Layers("", given, warnings=warnings)
    layers.sift_ignoreip("[defaults] ")
    return layers.given


def _files(directory: Path) -> list[Path]:
    """The TOML files in a directory, sorted by name, without hidden ones."""
    if not directory.is_dir():
        return []
    return sorted(one for one in directory.iterdir() if one.suffix == ".toml" and not one.name.startswith("."))


def _jail_files(directory: Path, errors: list[ConfigError], warnings: list[str]) -> Iterator[Path]:
    if os.path.lexists(directory):
        for other in sorted(one for one in directory.iterdir() if one.suffix in _OTHER_ENDINGS):
            warnings.append(f"{printable(str(other))}: ignored; a jail's file must end in .toml")
    for one in _files(directory):
        if _JAIL_NAME.fullmatch(one.stem):
            yield one
        else:
            what = "rename the file to up to 32 letters, digits, - and _"
            errors.append(ConfigError(f"invalid jail name; {what}", printable(str(one))))


def _jail(
    layers: Layers, path: Path, packaged: Mapping[str, Path], directories: Sequence[Path], read_filter: ReadFilter
) -> Jail | None:
    """Read the jail of one file in jails.d; None if it is disabled or invalid."""
    if path.stem in packaged:
        layers.add(read(packaged[path.stem]))
    file = read(path)
    layers.add(file)
    if not enabled(layers):
        if "enabled" not in layers.given:
            layers.warnings.append(f"{file.where()}: {layers.prefix}not enabled; write enabled = true")
        return None
    return build(layers, file, directories, read_filter, packaged)


def jail_named(name: str, config_file: Path | None = None, *, packaged_jails: Path | None = None) -> Jail:
    """Read one jail by name, enabled or not: the operator's over the packaged one, or the packaged one alone.

    Raises:
        ConfigError: sipguard.toml or the jail is invalid, or there is no such jail.
    """
    main = _read_main(config_file)
    path = main.path
    _main_values(main)
    packaged = {one.stem: one for one in _files(packaged_jails or paths.packaged("jails"))}
    own = path.parent / paths.JAILS_DIR / f"{name}.toml"
    files = [one for one in (packaged.get(name), own if _is_there(own) else None) if one is not None]
    if not files or not _JAIL_NAME.fullmatch(name):
        known = sorted({*packaged, *(one.stem for one in _files(path.parent / paths.JAILS_DIR))})
        hint = did_you_mean(name, known, f"; known are {', '.join(known)}")
        raise ConfigError(f"there is no jail {printable(name)}{hint}")
    layers = Layers(name, _base_layer(main, []))
    toml = [read(one) for one in files]
    for one in toml:
        layers.add(one)
    jail = build(layers, toml[-1], paths.filter_directories(path.parent), _read_filter, packaged)
    if jail is None or layers.errors:
        raise sorted(layers.errors, key=_place)[0]
    return jail
