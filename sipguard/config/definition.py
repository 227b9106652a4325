"""Resolves `[Definition]` and `[Init]` of a filter.d or action.d file together with a jail's options.

jail.conf(5): a jail's option overrides `[Init]`, which overrides `[Definition]`. Each is a `<tag>` for all others, and
`%(name)s` looks at the jail's options first. Fail2ban reads a jail's filter twice, the second time with the values found
in the first pass. `select` may therefore be called again, and then treats `[Init]` like options of the jail.
"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

from sipguard.config.ini import DEFAULT, KNOWN, Ini
from sipguard.config.tags import TAG, substitute_tags
from sipguard.errors import ConfigError

if TYPE_CHECKING:
    from collections.abc import Collection, Iterable, Mapping

DEFINITION = "Definition"
INIT = "Init"

_FOREIGN = re.compile(r"([\w-]+)/([^\s>]+)")
_CONDITIONAL = re.compile(r"(\w+)\?.+")
# Matches names that can only be tags, unlike `<root>`, which may occur in a log.
_PLAIN_NAME = re.compile(r"[a-z_][\w.-]*(?:/[\w.-]+)?")


class Definition:
    """A filter or action file as used by one jail, with that jail's options."""

    def __init__(self, ini: Ini, options: Mapping[str, str], keys: Collection[str]) -> None:
        """`keys` are the keys known to the program; all others serve only as tags."""
        self.ini = ini
        self.options = dict(options)
        """The jail's options; `select` adds further ones from `[Init]`."""
        self._keys = keys
        self._own: dict[str, str] = {}
        self._variables: dict[str, str] = {}
        self._found: dict[str, str | None] = {}

    def has(self, key: str) -> bool:
        """Whether `[Definition]` itself has the key."""
        return key in self.ini.sections.get(DEFINITION, {})

    def where(self, key: str) -> str:
        """`file:line` of a key, for messages."""
        section = INIT if key in self.ini.sections.get(INIT, {}) else DEFINITION
        return self.ini.where(section, key)

    def select(self, jail_options: Mapping[str, str] | None = None, everything: bool = False) -> None:
        """Resolve `%(…)s` in the known keys and in `[Init]`; with `everything`, in all keys. Raises ConfigError.

        A known key that is in `jail_options` is left to the jail.
        """
        given = {**(jail_options or {}), **self.options}
        self._variables = {key.lower(): value for key, value in given.items()}
        self._own = {}
        for key in self._keys:
            value = None if key in given else self.ini.get(DEFINITION, key, self._variables)
            if value is not None:
                self._own[key] = value
        for key in self.ini.sections.get(INIT, {}):
            value = self.ini.get(INIT, key) or ""
            self.options.setdefault(key, value)
            if not key.startswith("known/"):
                self.options[f"known/{key}"] = value
        if everything:
            for key in self.ini.sections.get(DEFINITION, {}):
                if key not in self._own:
                    self._own[key] = self.ini.get(DEFINITION, key) or ""

    def combined(self, ignore: Iterable[str] = ()) -> dict[str, str]:
        """All values chosen by `select`, with tags substituted. Names in `ignore` stay tags. Raises ConfigError.

        A key with a condition (`blocktype?family=inet6`) keeps its tag everywhere: its value is known only at the ban.
        """
        values = {**self._own, **self.options}
        return substitute_tags(values, _conditional(values).union(ignore), self.lookup, where=self.where)

    def lookup(self, name: str) -> str | None:
        """The text of a tag not chosen by `select`: any other key, or `section/key`. Raises ConfigError."""
        if name not in self._found:
            self._found[name] = self._lookup(name)
        return self._found[name]

    def _lookup(self, name: str) -> str | None:
        foreign = _FOREIGN.fullmatch(name)
        if foreign:
            for section in _sections_of(foreign[1]):
                value = self.ini.get(section, foreign[2])
                if value is not None:
                    return value
        return self.ini.get(DEFINITION, name, self._variables)

    def combine_others(self, chosen: Mapping[str, str]) -> dict[str, str]:
        """`chosen` and every other key of `[Definition]`, resolved as its tag would be. Raises ConfigError."""
        others = {key: self.lookup(key) or "" for key in self.ini.sections.get(DEFINITION, {}) if key not in chosen}
        return substitute_tags({**chosen, **others}, _conditional(chosen), self.lookup, where=self.where)

    def check_resolved(self, key: str, text: str, where: str = "") -> None:
        """Raise ConfigError if `text` contains an undefined tag that cannot be literal text; `where` is its place.

        `<root>` may be literal text of the log, so a plain unknown name stays, as in Fail2ban. A name composed by another
        tag (`<mdre-<mode>>`), one with a section, or one that begins with `_` is a mistake, usually in an option.
        """
        sections = (self.ini.defaults, *self.ini.sections.values())
        written = "\n".join(value.text for section in sections for value in section.values())
        for match in TAG.finditer(text):
            name = match[1]
            if not _PLAIN_NAME.fullmatch(name) or text[max(0, match.start() - 2) : match.start()] in ("(?", "?P"):
                continue
            if match[0] not in written or "/" in name or name.startswith("_"):
                near = ", ".join(self._names_like(name))
                hint = f"there is {near}" if near else "define it in [Definition]"
                raise ConfigError(
                    f"{key} uses the undefined tag <{name}>: {hint}; check the options given to it",
                    where or self.where(key),
                )

    def _names_like(self, name: str) -> list[str]:
        """Keys with the same prefix: for `mdre-agressive`, the modes that exist."""
        head = re.match(r"[\w.]*[-/_]?", name)
        start = head[0] if head else name
        keys = (key for section in (DEFINITION, INIT) for key in self.ini.sections.get(section, {}))
        return sorted(key for key in keys if start and key.startswith(start))[:8]


def _sections_of(prefix: str) -> tuple[str, ...]:
    """The sections searched for `<prefix/key>`, in order."""
    lower = prefix.lower()
    if lower == "known":
        return (KNOWN + DEFINITION, DEFINITION)
    return (DEFAULT,) if lower == "default" else (prefix,)


def _conditional(keys: Iterable[str]) -> set[str]:
    """Names of the keys that have a condition, without it."""
    return {match[1] for match in map(_CONDITIONAL.fullmatch, keys) if match}
