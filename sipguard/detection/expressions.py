r"""Regular expressions of filters, compiled for the `regex` package, which can stop a search that takes too long.

Filters are written for Python's `re`. So each one is compiled by `re` first: what `re` refuses is refused here with the
message that the filter's author knows, and syntax that `regex` alone has cannot creep in. `regex` VERSION0 then reads
it alike, but for `\s`, which leaves out U+001C to U+001F there and is mended here (its `\w` takes combining marks too).
Since Python 3.11 `re` refuses `(?i)` behind the beginning, which older filters use: such flags are moved.
"""

from __future__ import annotations

import re
import warnings
from contextlib import suppress
from functools import cached_property, lru_cache
from typing import TYPE_CHECKING

import regex

from sipguard.detection.dated import asked
from sipguard.detection.literals import Need, needs, single
from sipguard.detection.pcre2 import Pattern, SearchError, is_fast
from sipguard.detection.tags import ID_GROUPS, expand, group_name
from sipguard.detection.time_limit import timed
from sipguard.detection.translate import Writer
from sipguard.detection.trees import UntranslatableError, checked
from sipguard.errors import ConfigError

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

    from sipguard.model import Filter

_SPECIAL = frozenset({"fid", "cidr", "ip", "nofail", "mlfid", "mlfforget", "mlfgained", "content"})
"""Groups that need more than to be told."""

_SHOWN = 120
"""How much of a wrong regex a message shows, in characters."""

_WRAPPED_FLAGS = re.compile(r"(?<!\\)\((?:\?:)?\(\?([a-zA-Z]+)\)")
_INNER_FLAGS = re.compile(r"(?<!\\)\(\?[aiLmsux]+\)")
_ESCAPE_OR_CLASS = re.compile(r"\\.|\[\^?\]?|\]", re.DOTALL)
_POSITIONAL = re.compile(r"(?<!\\)(?:\\\\)*\\[1-9]|\(\?\(\d")
# jail.conf(5) numbers them `<F-ALT_USER1>`, Fail2ban itself `<F-ALT_USER_1>`: both do. `<F-ALT_IP4>` has no number.
_MERGED = re.compile(r"(alt_|tuple_)(.*?(?:ip[46])?)(?:_?\d+)?")

# No text of a log, and no group: `build_filter` has the same rule for failregex.
_UNDEFINED = re.compile(r"(?<!\(\?)(?<!\(\?P)<_[\w.-]*(?:/[\w.-]+)?>")

_SPACES = r"\s\x1c-\x1f"


class Expression:
    """One compiled regex of a filter, and how its groups become the groups of a failure."""

    def __init__(self, pattern: str, *, multiline: bool = False) -> None:
        """Check `pattern`, which is compiled when it is needed. Raises ValueError with what is wrong with it."""
        expanded = expand(pattern)
        if not expanded.strip():
            raise ValueError("it is empty")
        self.source = _hoist_flags(_WRAPPED_FLAGS.sub(r"(?\1:", expanded))
        self._multiline = multiline
        self.groups: Mapping[str, int] = checked(self.source).state.groupdict
        """Name of each group → its index."""
        self.needs: list[Need] = needs(self.source)
        self.holds = single(self.needs)
        """A text that every match holds; empty if none is known."""
        self.marks = _marks(self.needs)
        """Texts of which every match holds one; empty if none are known."""
        merged = [(m[1], name, group_name(m[2])) for name in self.groups if (m := _MERGED.fullmatch(name))]
        self.is_simple = not merged and not self.groups.keys() & _SPECIAL
        """Whether its groups are told as they are: none of them steers the detection or names the accused by an id."""
        self._alternatives = sorted((name, to) for kind, name, to in merged if kind == "alt_")
        self._tuples = sorted((name, to) for kind, name, to in merged if kind == "tuple_")

    @cached_property
    def pattern(self) -> regex.Pattern[str]:
        """Compiled: this takes a millisecond or two, and many are never searched for."""
        return _compile(self.source, multiline=self._multiline)

    def search(self, text: str) -> regex.Match[str] | None:
        """The first match. Raises TimeoutError as `timed` does."""
        match: regex.Match[str] | None = timed(self.pattern.search, text)
        return match

    @cached_property
    def _condition(self) -> Pattern | None:
        """The question of `found` as libpcre2 can answer it for a line of ASCII, in a third of the time; None if it cannot."""
        if self._multiline or not is_fast():
            return None
        try:
            return Pattern(asked(Writer(), self.source, "="), anchored=True)
        except (UntranslatableError, ValueError, OverflowError, RecursionError):
            return None

    def found(self, text: str) -> bool:
        """Whether it matches somewhere in `text`, a line without LF. Raises TimeoutError as `timed` does."""
        for mark in self.marks:
            if mark in text:
                break
        else:
            if self.marks:
                return False
        if self._condition is not None and text.isascii():
            with suppress(SearchError):
                return bool(self._condition.once(text.encode("ascii")))
        return timed(self.pattern.search, text) is not None

    def groups_of(self, match: regex.Match[str]) -> dict[str, str | None]:
        """The named groups of `match`; `alt_user…` stand in for an empty `user`, `tuple_id…` are appended to `id`."""
        groups: dict[str, str | None] = match.groupdict()
        for name, to in self._alternatives:
            if groups[name] and not groups.get(to):
                groups[to] = groups[name]
        for name, to in self._tuples:
            # Fail2ban makes a tuple of them; an id and a tag are text, so the parts are joined by a blank.
            parts = [part for part in (groups.get(to), groups[name]) if part is not None]
            groups[to] = " ".join(parts) if parts else None
        return groups


@lru_cache(maxsize=1024)
def expression(pattern: str, *, multiline: bool = False) -> Expression:
    """The one `Expression` of this pattern, for all jails and logs. Raises ValueError with what is wrong with it."""
    return Expression(pattern, multiline=multiline)


def compile_all(
    patterns: Iterable[str], *, key: str, where: str, multiline: bool = False, needs_id: bool = False
) -> tuple[Expression, ...]:
    """Compile the regexes of one key of a filter.

    Raises ConfigError naming `where` (file and line), the key, the regex and what is wrong. With `needs_id`, a regex is
    refused that has no group to name the accused, or the session in which another line does.
    """
    result = []
    for pattern in patterns:
        unknown = _UNDEFINED.search(pattern)
        if unknown is not None:
            raise ConfigError(
                f"{key} uses the undefined tag {unknown[0]}: define it in [Definition], or correct the option that names it",
                where,
            )
        try:
            compiled = expression(pattern, multiline=multiline)
            if needs_id and not has_id(compiled):
                raise ValueError("it has no <HOST>, <ADDR> or <F-ID> to say who is accused")
        except ValueError as error:
            shown = pattern if len(pattern) <= _SHOWN else pattern[:_SHOWN] + "…"
            raise ConfigError(f"{key}: {error}: {shown!r}", where) from None
        result.append(compiled)
    return tuple(result)


def where(filter: Filter, key: str) -> str:  # noqa: A002
    """The place of a filter's key, for messages."""
    if key in filter.places:
        return filter.places[key]
    line = filter.lines.get(key)
    origin = filter.origin or f"filter {filter.name}"
    return f"{origin}:{line}" if line is not None else origin


def whole_number(filter: Filter, key: str, default: int = 0) -> int:  # noqa: A002
    """The whole number that a key gives. Raises ConfigError where it gives something else."""
    text = filter.options.get(key) or str(default)
    if text.isdecimal() and text.isascii():
        return int(text)
    raise ConfigError(f"{key} = {text!r}: must be a whole number", where(filter, key))


def one_of(filter: Filter, key: str) -> Expression | None:  # noqa: A002
    """The regex that a key of sipguard's own gives, the first of several; None where there is none. Raises ConfigError."""
    return next(iter(each_of(filter, key)), None)


def each_of(filter: Filter, key: str, *, needs_id: bool = False) -> tuple[Expression, ...]:  # noqa: A002
    """The regexes that a key of sipguard's own gives, one per line. Raises ConfigError."""
    lines = [line for line in filter.options.get(key, "").split("\n") if line.strip()]
    return compile_all(lines, key=key, where=where(filter, key), needs_id=needs_id)


def has_id(expression: Expression) -> bool:
    """Whether the regex can name the accused, or the session that names him in another line."""
    return any(name in expression.groups for name in (*ID_GROUPS, "mlfid"))


def union(expressions: Iterable[Expression], *, multiline: bool = False) -> regex.Pattern[str] | None:
    r"""One regex that matches wherever any of `expressions` does: a line that it does not match needs no second look.

    None where they cannot be joined: positional references (`\1`) would count other groups, flags would leak, and for a
    single one there is nothing to gain. A search costs about 1.5 µs more with a time limit than without, so one search
    for forty regexes matters.
    """
    sources = [expression.source for expression in expressions]
    if len(sources) < 2 or any(_POSITIONAL.search(source) or _INNER_FLAGS.search(source) for source in sources):
        return None
    either = "|".join(f"(?:{source})" for source in sources)
    try:
        return _compile(either, multiline=multiline)
    except regex.error:
        return None


def _marks(found: Iterable[Need]) -> tuple[str, ...]:
    """The texts of the need that has fewest, the longest ones of several such."""
    plain = [[each.text for each in need] for need in found if not any(each.folded for each in need)]
    fewest: list[str] = min(plain, key=lambda texts: (len(texts), -len(min(texts, key=len))), default=[])
    return tuple(fewest)


def _compile(source: str, *, multiline: bool) -> regex.Pattern[str]:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # "possible nested set": about a future Python, nothing for the operator
        return regex.compile(_widen_spaces(source), regex.MULTILINE if multiline else 0)


def _hoist_flags(source: str) -> str:
    """Move flags for the whole regex to its beginning, where `re` insists that they stand."""
    flags = _INNER_FLAGS.findall(source)
    return "".join(flags) + _INNER_FLAGS.sub("", source) if flags else source


def _widen_spaces(source: str) -> str:
    r"""Let `\s` and `\S` mean what they mean to `re`: U+001C to U+001F are white space."""
    if "\\s" not in source and "\\S" not in source:
        return source
    inside = False

    def replace(match: re.Match[str]) -> str:
        nonlocal inside
        piece = match.group()
        if piece == "\\s":
            return _SPACES if inside else f"[{_SPACES}]"
        if piece == "\\S" and not inside:
            return f"[^{_SPACES}]"
        if piece[0] == "[":
            # A bracket within a class is itself; only the one that may close the class counts.
            inside = not (inside and piece.endswith("]"))
        elif piece == "]":
            inside = False
        return piece

    return _ESCAPE_OR_CLASS.sub(replace, source)
