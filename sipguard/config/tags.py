"""Substitutes `<tag>` in a filter's or action's values: each key of `[Definition]` and `[Init]` is a tag for the others.

See jail.conf(5), `FILTER FILES` and `ACTION CONFIGURATION FILES`. A tag may contain another one
(`<lt_<logtype>/__prefix_line>`), so substitution repeats until nothing changes. Undefined tags stay: `<HOST>`, `<F-USER>`
and `<ip>` belong to a later stage, and `(?P<name>…)` is not a tag.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Collection, Mapping

from sipguard.config.interpolation import MAX_LENGTH
from sipguard.errors import ConfigError

TAG = re.compile(r"<([^ <>]+)>")

# Fail2ban's limit: a tag met this often inside one value refers to itself.
_MAX_REPEATS = 25

Lookup = Callable[[str], str | None]
"""Returns the text of a tag that is not among those given; None if it is undefined."""


def substitute_tags(
    tags: Mapping[str, str],
    ignore: Collection[str] = (),
    lookup: Lookup = lambda _name: None,
    condition: str = "",
    where: Callable[[str], str] = lambda _name: "",
) -> dict[str, str]:
    """Return `tags` with the tags inside their values substituted.

    Names in `ignore` are left alone, both as a key and inside a value. `condition` (`family=inet6`) prefers the tag
    `name?family=inet6`. `where` returns a key's place for messages. Raises ConfigError if a tag refers to itself.
    """
    return _Substitution(dict(tags), ignore, lookup, condition, where).run()


class _Substitution:
    def __init__(
        self, tags: dict[str, str], ignore: Collection[str], lookup: Lookup, condition: str, where: Callable[[str], str]
    ) -> None:
        self._tags = tags
        self._ignore = ignore
        self._lookup = lookup
        self._condition = condition
        self._where = where
        self._repeats: dict[tuple[str, str], int] = {}

    def run(self) -> dict[str, str]:
        open_keys = [key for key in self._tags if key not in self._ignore]
        while open_keys:
            changed = False
            for key in open_keys:
                before = self._tags[key]
                after = self._tags[key] = self._replace(key, before)
                changed = changed or (after != before and TAG.search(after) is not None)
            if not changed:
                break
            open_keys = [key for key in open_keys if "<" in self._tags[key]]
        return self._tags

    def _replace(self, key: str, text: str) -> str:
        start = 0
        while match := TAG.search(text, start):
            name = match[1]
            if name in self._ignore:
                start = match.end()
                continue
            self._check_repeats(key, name)
            replacement = self._find(name)
            if replacement is None:
                start = match.end()
                continue
            text = text.replace(match[0], replacement)
            if len(text) > MAX_LENGTH:
                raise ConfigError(f"{key} grows beyond 1 MiB; its tags refer to each other", self._where(key))
            self._repeats[key, name] = self._repeats.get((key, name), 0) + 1
            start = match.start()
        return text

    def _find(self, name: str) -> str | None:
        if self._condition:
            conditional = self._tags.get(f"{name}?{self._condition}")
            if conditional is not None:
                return conditional
        found = self._tags.get(name)
        return self._lookup(name) if found is None else found

    def _check_repeats(self, key: str, name: str) -> None:
        if name == key or self._repeats.get((key, name), 0) > _MAX_REPEATS:
            through = "" if name == key else f" through <{name}>"
            raise ConfigError(f"{key} refers to itself{through}; remove that tag from its value", self._where(key))
