"""`[Definition]` and `[Init]` of a filter.d or action.d file, together with the options that a jail gives.

jail.conf(5): an option of the jail overrides `[Init]`, which overrides `[Definition]`; each is a `<tag>` for all the
others, and `%(name)s` sees the jail's options first. Fail2ban reads a jail's filter twice, the second time with the
values that the first has found; `select` may therefore be called again, and then sees `[Init]` as if the jail had given
it.
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
# What cannot be anything but a tag's name, unlike the `<root>` that a log may hold.
_PLAIN_NAME = re.compile(r"[a-z_][\w.-]*(?:/[\w.-]+)?")


class Definition:
    """One use of a filter or action file: by one jail, with that jail's options."""

    def __init__(self, ini: Ini, options: Mapping[str, str], keys: Collection[str]) -> None:
        """`keys` are those that the program itself knows; others serve only as tags."""
        self.ini = ini
        self.options = dict(options)
        """What the jail gave; `select` adds what `[Init]` has beyond it."""
        self._keys = keys
        self._own: dict[str, str] = {}
        self._variables: dict[str, str] = {}
        self._found: dict[str, str | None] = {}

    def has(self, key: str) -> bool:
        """Whether `[Definition]` itself has the key."""
        return key in self.ini.sections.get(DEFINITION, {})

    def where(self, key: str) -> str:
        """Place of a key for messages."""
        section = INIT if key in self.ini.sections.get(INIT, {}) else DEFINITION
        return self.ini.where(section, key)

    def select(self, jail_options: Mapping[str, str] | None = None, everything: bool = False) -> None:
        """Resolve `%(…)s` in the known keys and in `[Init]`; with `everything`, in all keys. Raises ConfigError.

        A known key that `jail_options` has is left to the jail.
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
        """All that `select` has chosen, with tags substituted. Names in `ignore` stay tags. Raises ConfigError.

        A key with a condition (`blocktype?family=inet6`) keeps its tag everywhere: which value it has is known only at
        the ban.
        """
        values = {**self._own, **self.options}
        return substitute_tags(values, _conditional(values).union(ignore), self.lookup, where=self.where)

    def lookup(self, name: str) -> str | None:
        """The text of a tag that `select` has not chosen: any other key, or `section/key`. Raises ConfigError."""
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
        """Raise ConfigError for a tag in `text` that was meant for substitution and found nothing; `where` is its place.

        `<root>` may be what the log says, so a plain unknown name stays, as in Fail2ban. A name that another tag has
        put together (`<mdre-<mode>>`), that points at a section, or begins with `_`, can only be a mistake, most often
        in an option.
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
                    f"{key} has the tag <{name}>, which nothing defines: {hint}; check the options given to it",
                    where or self.where(key),
                )

    def _names_like(self, name: str) -> list[str]:
        """Keys with the same beginning: for `mdre-agressive` those are the modes that exist."""
        head = re.match(r"[\w.]*[-/_]?", name)
        start = head[0] if head else name
        keys = (key for section in (DEFINITION, INIT) for key in self.ini.sections.get(section, {}))
        return sorted(key for key in keys if start and key.startswith(start))[:8]


def _sections_of(prefix: str) -> tuple[str, ...]:
    """The sections where `<prefix/key>` is looked for, first to last."""
    lower = prefix.lower()
    if lower == "known":
        return (KNOWN + DEFINITION, DEFINITION)
    return (DEFAULT,) if lower == "default" else (prefix,)


def _conditional(keys: Iterable[str]) -> set[str]:
    """The plain names of those keys that have a condition."""
    return {match[1] for match in map(_CONDITIONAL.fullmatch, keys) if match}
