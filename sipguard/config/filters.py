"""Reads filter.d files into `Filter`, with every include, `%(…)s` and `<tag>` resolved. See jail.conf(5), `FILTER FILES`.

Tags used by matching itself stay (`<HOST>`, `<F-USER>…</F-USER>`, `<SKIPLINES>`): detection handles those.
"""

from __future__ import annotations

import difflib
from pathlib import Path
from typing import TYPE_CHECKING

from sipguard.config.definition import DEFINITION, Definition
from sipguard.config.ini import Ini, layer_files, read_ini
from sipguard.config.paths import packaged
from sipguard.config.references import parse_reference
from sipguard.errors import ConfigError
from sipguard.model import Filter

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence

FILTER_KEYS = ("usedns", "prefregex", "ignoreregex", "failregex", "maxlines", "datepattern", "journalmatch")
"""Keys of a filter that Fail2ban itself knows and that a jail may override."""

_REGEXES = ("prefregex", "failregex", "ignoreregex")
# These are separate fields of `Filter`.
_OWN_FIELDS = frozenset(FILTER_KEYS) - {"usedns"}


def read_filter(reference: str, directories: Sequence[Path], *, logtype: str | None = None, where: str = "") -> Filter:
    """Read the filter that `reference` names (`asterisk`, `sshd[mode=ddos]`).

    Files in earlier `directories` override those in later ones key by key. `logtype` (`file`, `journal`) is the filter's
    `logtype` unless the reference or `[Definition]` sets it. `where` is the place of the reference, for messages.

    Raises ConfigError if the filter or an include is missing, cannot be parsed or resolved, or has no failregex.
    """
    name, options = parse_reference(reference, where)
    return _checked(name, open_filter(name, directories, where), options, logtype)


def read_filter_file(path: Path, options: Mapping[str, str] | None = None, *, logtype: str | None = None) -> Filter:
    """Read one filter file by path, with its `.local` and includes. Otherwise like `read_filter`."""
    if not path.is_file():
        raise ConfigError("no such filter file", str(path))
    return _checked(path.stem, read_ini([path]), options or {}, logtype)


def of_sip_servers() -> list[Filter]:
    """sipguard's own filters that say which lines of a server are about no SIP (`off_wire`): Fail2ban's do not."""
    return [read_filter(name, [packaged("filters")]) for name in ("asterisk", "freeswitch")]


def open_filter(name: str, directories: Sequence[Path], where: str = "") -> Ini:
    """Merge the files of a filter without resolving anything. Raises ConfigError if there are none."""
    paths: list[Path] = []
    if name.isprintable() and not name.startswith("/"):
        paths = [path for directory in reversed(directories) for path in layer_files(directory, name)]
    if not paths:
        raise ConfigError(f"there is no filter {_shown(name)}{_near(name, directories)}", where)
    return read_ini(paths)


def check_definition(name: str, ini: Ini) -> None:
    """Raise ConfigError if the files of a filter have no `[Definition]`."""
    if DEFINITION not in ini.sections:
        where = ini.files[-1] if ini.files else f"filter {name}"
        raise ConfigError("not a filter: it has no [Definition] section with a failregex", where)


def build_filter(
    name: str, definition: Definition, chosen: Mapping[str, str], places: Mapping[str, str] | None = None
) -> Filter:
    """Build a `Filter` from a resolved definition. Raises ConfigError.

    `chosen` is the result of `definition.combined()`; `places` says where a jail sets keys of its own.
    """
    places = places or {}
    for key in _REGEXES:
        definition.check_resolved(key, chosen.get(key, ""), places.get(key, ""))
    files = definition.ini.files
    origin = next((path for path in reversed(files) if Path(path).stem == name), files[-1] if files else "")
    written = definition.ini.sections.get(DEFINITION, {})
    return Filter(
        name=name,
        failregex=_lines(chosen.get("failregex", "")),
        ignoreregex=_lines(chosen.get("ignoreregex", "")),
        prefregex=chosen.get("prefregex") or None,
        datepattern=chosen.get("datepattern") or None,
        maxlines=_maxlines(chosen, places.get("maxlines") or definition.where("maxlines")),
        journalmatch=_lines(chosen.get("journalmatch", "")),
        options=_other_options(definition, chosen),
        origin=origin,
        lines={key: value.line for key, value in written.items() if value.path == origin},
        places=places,
    )


def _checked(name: str, ini: Ini, options: Mapping[str, str], logtype: str | None) -> Filter:
    """A filter used without a jail, which could have supplied what the file lacks."""
    if ini.missing:
        path, where = ini.missing[0]
        raise ConfigError(f"includes {path}, which does not exist; create it or remove the include", where)
    check_definition(name, ini)
    definition = Definition(ini, options, FILTER_KEYS)
    if logtype and not options.get("logtype") and not definition.has("logtype"):
        definition.options["logtype"] = logtype
    definition.select()
    found = build_filter(name, definition, definition.combined())
    if not found.failregex:
        state = "is empty" if definition.has("failregex") else "is missing"
        raise ConfigError(
            f"failregex {state} in [Definition]: this filter could never find anything", definition.where("failregex")
        )
    return found


def _other_options(definition: Definition, chosen: Mapping[str, str]) -> dict[str, str]:
    everything = definition.combine_others(chosen)
    return {key: text for key, text in everything.items() if key not in _OWN_FIELDS and not key.startswith("known/")}


def _lines(text: str) -> tuple[str, ...]:
    return tuple(line for line in text.split("\n") if line)


def _maxlines(chosen: Mapping[str, str], where: str) -> int:
    text = chosen.get("maxlines")
    if text is None:
        return 1
    try:
        number = int(text)
    except ValueError:
        number = 0
    if number < 1:
        raise ConfigError(f"maxlines = {_shown(text)}: must be a whole number of 1 or more", where)
    return number


def _near(name: str, directories: Iterable[Path]) -> str:
    """A hint at similar names, for the end of a message."""
    present = sorted({path.stem for directory in directories for path in directory.glob("*.conf")} - {name})
    close = (
        difflib.get_close_matches(name, present, n=5)
        or [other for other in present if name and other.startswith(name[:3])][:5]
    )
    looked = ", ".join(str(directory) for directory in directories)
    hint = f"; there is {', '.join(close)}" if close else ""
    return f" in {looked}{hint}" if looked else hint


def _shown(text: str) -> str:
    return ascii(text if len(text) <= 50 else text[:47] + "...")
