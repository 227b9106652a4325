r"""Date patterns: `%Y-%m-%d`, `{^LN-BEG}%b %d`, `EPOCH`, `TAI64N` compiled to something that finds and reads a date.

The syntax is that of jail.conf(5), `datepattern`: a regex with strptime's directives and some of its own. Like there,
a pattern without anchors gets word boundaries on both sides, and what its first group holds is cut out of the line.
"""

from __future__ import annotations

import re
import warnings
from collections.abc import Callable
from dataclasses import dataclass, field
from functools import lru_cache

import regex

from sipguard.detection.datefields import ABBREVIATION, MONTHS, WEEKDAYS, this_year
from sipguard.detection.trees import checked

AT_BEGIN = r"^(?:\W{0,2})?"
"""What stands before the date in the pattern of one at the beginning of the line, behind its flags."""
_BEGIN = "{^LN-BEG}"
_UNBOUND = "{UNB}"
_WORD_BEGIN = "{*WD-BEG}"


def _names(group: str, names: tuple[str, ...], length: int | None = None) -> str:
    return f"(?P<{group}>{'|'.join(sorted({name[:length] for name in names}, key=lambda name: (-len(name), name)))})"


def plausible_years(year: int) -> str:
    """A regex for the years that `%ExY` takes, if it is `year` now: the decades from 2000 to three years ahead."""
    decades = sorted({str(any_year)[:3] for any_year in (2000, *range(2000, year + 1, 3), year - 1, year + 3)})
    return f"(?:{'|'.join(decades)})\\d"


def _directives() -> dict[str, str]:
    """Directive → regex. The groups are named by what they hold: `Y`, `m`, `d`, `H` …"""
    base = {
        "Y": r"(?P<Y>\d{4})",
        "y": r"(?P<y>\d\d)",
        "m": r"(?P<m>0?[1-9]|1[0-2])",
        "d": r"(?P<d>[1-2]\d|[0 ]?[1-9]|3[0-1])",
        "H": r"(?P<H>[0-1]?\d|2[0-3])",
        "k": r" ?(?P<H>[0-2]?\d)",
        "I": r"(?P<I>1[0-2]|0[1-9]|[1-9])",
        "l": r" ?(?P<I>1?\d)",
        "M": r"(?P<M>[0-5]?\d)",
        "S": r"(?P<S>[0-5]?\d|6[0-1])",
        "f": r"(?P<f>[0-9]{1,6})",
        "p": r"(?P<p>am|pm)",
        "a": _names("a", WEEKDAYS, 3),
        "A": _names("A", WEEKDAYS),
        "b": _names("b", MONTHS, 3),
        "B": _names("B", MONTHS),
        "j": r"(?P<j>36[0-6]|3[0-5]\d|[1-2]\d\d|0[1-9]\d|00[1-9]|[1-9]\d|0[1-9]|[1-9])",
        "U": r"(?P<U>5[0-3]|[0-4]\d|\d)",
        "W": r"(?P<W>5[0-3]|[0-4]\d|\d)",
        "V": r"(?P<V>5[0-3]|0[1-9]|[1-4]\d|\d)",
        "G": r"(?P<G>\d{4})",
        "w": r"(?P<w>[0-6])",
        "u": r"(?P<u>[1-7])",
        "Z": r"(?P<Z>Z|[A-Z]{3,5})",
        "z": r"(?P<z>Z|UTC|GMT|[+-][01]\d(?::?\d{2})?)",
        "%": "%",
        "ExY": f"(?P<Y>{plausible_years(this_year())})",
        "Exy": r"(?P<y>\d{2})",
        "Exm": r"(?P<m>0[1-9]|1[0-2])",
        "Exd": r"(?P<d>[1-2]\d|0[1-9]|3[0-1])",
        "ExH": r"(?P<H>[0-1]\d|2[0-3])",
        "Exk": r" ?(?P<H>[0-1]?\d|2[0-3])",
        "Exl": r" ?(?P<I>1[0-2]|\d)",
        "ExM": r"(?P<M>[0-5]\d)",
        "ExS": r"(?P<S>[0-5]\d|6[0-1])",
        "ExZ": rf"(?P<Z>{ABBREVIATION})",
        "Exz": rf"(?P<z>(?:{ABBREVIATION})?[+-][01]\d(?::?\d{{2}})?|{ABBREVIATION})",
    }
    base["c"] = rf"{base['a']}\s+{base['b']}\s+{base['d']}\s+{base['H']}:{base['M']}:{base['S']}\s+{base['Y']}"
    base["x"] = f"{base['m']}/{base['d']}/{base['y']}"
    base["X"] = f"{base['H']}:{base['M']}:{base['S']}"
    return base


_DIRECTIVES = _directives()
_DIRECTIVE = re.compile(r"%(Ex[YymdHklMSZz]|.|\Z)", re.DOTALL)
_ALPHABETIC = re.compile(r"(?<!%)%[aAbBpc]")

_FLAGS = re.compile(r"(?<!\\)\(\?[a-z]+\)")
_FREE_BEGIN = re.compile(r"\(*(?:\(\?\w+\))?(?:\^|\(*\*\*|\((?:\?:)?\^)")
_FREE_END = re.compile(r"(?<!\\)(?:\$\)?|\\b|\\s|\*\*\)*)$")
_LINE_BEGIN = re.compile(r"(?:\(\?\w+\))?(?:\^|\((?:\?:)?\^(?!\|))")
_LINE_END = re.compile(r"(?<![\\|])\$\)?$")
_PLAIN_GROUP = re.compile(r"(?<!\(\?)(?<!\\)\((?!\?)")
_ANY_GROUP = re.compile(r"(?<!\\)\((?:(?!\?)|\?P<)")
_BODY = re.compile(r"((?:\(\?\w+\))?\^?(?:\(\?\w+\))?)(.*?)(\$?)", re.DOTALL)
_STARS_BEGIN = re.compile(r"^\(*(?:\(\?\w+\))?\(*\*\*")
_STARS_END = re.compile(r"(?<!\\)\*\*\)*$")
_BEGINS_WORD = re.compile(r"%(?:Ex[YymdHMS]|[YymHMSIaAbBj])[^(]*$")
_EPOCH_TAG = re.compile(r"(?<!\\)\{(L?)EPOCH\}", re.IGNORECASE)

_EPOCH = r"\d{10,11}\b(?:\.\d{3,6})?"
_LONG_EPOCH = r"\d{10,11}(?:\d{3}(?:\.\d{1,6}|\d{3})?)?"

Read = Callable[["regex.Match[str]"], float]


@dataclass(frozen=True, slots=True)
class DateFormat:
    """One way to write a date."""

    name: str
    """What `test-filter` shows: the pattern as written."""
    source: str
    """A regex for both `re` and `regex`."""
    anchored: bool
    """Bound to the beginning or the end of the line: where it matches, no other place need be tried."""
    at_begin: bool
    """Bound to the beginning of the line."""
    weight: float = 1.0
    is_word: bool = False
    """Begins or ends with a character of a word, and stands where one begins or ends: it is never found within a word."""
    absolute: Read | None = field(default=None, compare=False)
    """Reads a date that is POSIX seconds already; None for one made of fields."""

    @property
    def pattern(self) -> regex.Pattern[str]:
        """Compiled when it is needed."""
        return _compiled(self.source)


@lru_cache(maxsize=512)
def date_format(written: str, weight: float = 1.0, *, built_in: bool = False) -> DateFormat:
    """One line of `datepattern`. Raises ValueError saying what is wrong with it; one that is `built_in` is not checked."""
    form = _date_format(written, weight)
    if not built_in:
        checked(form.source)
    return form


def _date_format(written: str, weight: float) -> DateFormat:
    key = written.strip()
    if "%" not in key and not _EPOCH_TAG.search(key):
        upper = key.upper()
        bare = upper.removeprefix(_BEGIN).removeprefix("^")
        if bare in {"EPOCH", "LEPOCH"}:
            return _epoch(written, weight, long=bare == "LEPOCH", begin=bare != upper)
        if bare == "TAI64N":
            return _bounded(written, "@[0-9a-f]{24}", weight, begin="line" if bare != upper else "", absolute=_tai64n)
        if upper == "{NONE}":
            key = _UNBOUND + "^"
    begin, end = "word", True
    if key.startswith(_UNBOUND):
        key, begin, end = key.removeprefix(_UNBOUND), "", False
    elif key.startswith(_BEGIN):
        key, begin = key.removeprefix(_BEGIN), "line"
    elif key.startswith(_WORD_BEGIN):
        key = key.removeprefix(_WORD_BEGIN)
    if tag := _EPOCH_TAG.search(key):
        number = _LONG_EPOCH if tag[1] else _EPOCH
        # What is cut out is the first group, or all of it; what is read is the first number.
        whole = "" if _PLAIN_GROUP.search(key) else "("
        group = len(_ANY_GROUP.findall(whole + key[: tag.start()])) + 1
        body = whole + _EPOCH_TAG.sub(lambda _: f"({number})", key) + (")" if whole else "")
        return _bounded(written, body, weight, begin=begin, end=end, absolute=_epoch_reader(group, long=bool(tag[1])))
    body = _DIRECTIVE.sub(_directive, key)
    if _ALPHABETIC.search(key):
        body = "(?iu)" + body
    return _bounded(written, body, weight, begin=begin, end=end)


def _directive(match: re.Match[str]) -> str:
    known = _DIRECTIVES.get(match[1])
    if known is None:
        raise ValueError(f"{match[0]!r} is not a directive of dates (a percent sign itself is written %%)")
    return known


def _epoch(written: str, weight: float, *, long: bool, begin: bool) -> DateFormat:
    """POSIX seconds at the beginning of a line, in brackets there, or in an audit record."""
    number = _LONG_EPOCH if long else _EPOCH
    if begin:
        body = rf"((?P<square>(?<=^\[))?{number})(?(square)(?=\]))"
        return _bounded(written, body, weight, begin="line", absolute=_epoch_reader(1, long=long))
    body = r"((?:^|(?P<square>(?<=^\[))|(?P<selinux>(?<=\baudit\()))NUMBER)(?:(?(selinux)(?=:\d+\)))|(?(square)(?=\])))"
    body = body.replace("NUMBER", number)
    return _bounded(written, body, weight, begin="", absolute=_epoch_reader(1, long=long))


def _bounded(
    name: str, body: str, weight: float, *, begin: str = "word", end: bool = True, absolute: Read | None = None
) -> DateFormat:
    """Add the boundaries that the pattern does not bring itself, and a group if it has none.

    `begin` is `word`, `line` (at most two characters that are not of a word may precede) or nothing.
    """
    body = body.strip()
    flags = ""
    if match := _FLAGS.search(body):
        flags = match[0]
        body = body[: match.start()] + body[match.end() :]
    bound_begin = bool(begin) and not _FREE_BEGIN.match(body)
    bound_end = end and not _FREE_END.search(body)
    if not _PLAIN_GROUP.search(body) and (parts := _BODY.fullmatch(body)):
        body = f"{parts[1]}({parts[2]}){parts[3]}"
    at_begin = bound_begin and begin == "line"
    if bound_begin:
        body = (AT_BEGIN if at_begin else r"(?=^|\b|\W)") + body
    if bound_end:
        body += r"(?=\b|\W|$)"
    at_begin = at_begin or bool(_LINE_BEGIN.match(body))
    at_end = bool(_LINE_END.search(body))
    for stars in (_STARS_BEGIN, _STARS_END):
        body = stars.sub(lambda match: match[0].replace("**", ""), body)
    is_word = bound_begin and begin == "word" and bound_end and bool(_BEGINS_WORD.match(name.strip()))
    return DateFormat(name, flags + body, at_begin or at_end, at_begin, weight, is_word, absolute)


@lru_cache(maxsize=512)
def _compiled(source: str) -> regex.Pattern[str]:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # "possible nested set": nothing that the operator could mend
        return regex.compile(source)


def _epoch_reader(group: int, *, long: bool) -> Read:
    def read(match: regex.Match[str]) -> float:
        text = match[group]
        value = float(text)
        if long and len(text) >= 13:
            return value / 1_000_000 if len(text) >= 16 and "." not in text else value / 1000
        return value

    return read


def _tai64n(match: regex.Match[str]) -> float:
    """Seconds of a TAI64N label. As in Fail2ban, what TAI is ahead of UTC by is left in."""
    return float(int(match[1][2:17], 16))
