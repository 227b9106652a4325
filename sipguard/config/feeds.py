"""Reads `[feeds.NAME]` of sipguard.toml into the model: one row per key, as in `schema`.

`[feeds.apiban]` is APIBAN; every other name is a list by URL or file. An invalid feed stops neither other feeds nor jails.
"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Any
from urllib.parse import urlsplit

from sipguard.config import validators
from sipguard.config.key import Key
from sipguard.config.kind import choice, refuse, says, whole
from sipguard.config.messages import did_you_mean, shown
from sipguard.errors import ConfigError
from sipguard.files import open_regular
from sipguard.model import Feed
from sipguard.text import printable

if TYPE_CHECKING:
    from collections.abc import Mapping

    from sipguard.config.toml_file import TomlFile

FEEDS = "feeds"
"""The table of sipguard.toml that contains one table per feed."""
APIBAN = "apiban"

_NAME = re.compile(r"[a-z0-9][a-z0-9_-]{0,31}", re.ASCII)
_KEY = re.compile(r"[A-Za-z0-9_-]{8,200}", re.ASCII)
_SHORTEST = 60.0
"""Shortest interval between fetches, in seconds: the server belongs to somebody else."""
_FORMATS = ("auto", "plain", "cidr", "netset", "ipset", "jsonl")


@says("the key that APIBAN gave you: at least 8 letters, digits, - and _")
def _key(value: Any) -> str:
    word = validators.text(value)
    return word if _KEY.fullmatch(word) else refuse(value)


@says("an address that begins with https://")
def _url(value: Any) -> str:
    word = validators.text(value)
    where = urlsplit(word)
    port = where.port  # raises ValueError if invalid
    fits = where.scheme == "https" and where.hostname and where.username is None and port != 0
    return word if fits and word.isascii() and " " not in word else refuse(value)


_TIME = "a time such as 10m or 1d"


@says(f"{_TIME}, at least 1m")
def _interval(value: Any) -> float:
    seconds = validators.finite_span(value)
    return seconds if seconds >= _SHORTEST else refuse(value)


@says("a number above 1")
def _growth(value: Any) -> float:
    fits = isinstance(value, int | float) and not isinstance(value, bool) and 1 < value <= 1000
    return float(value) if fits else refuse(value)


@says("a whole number of MiB, up to 1024")
def _mebibytes(value: Any) -> int:
    return validators.count(value) << 20 if validators.count(value) <= 1024 else refuse(value)


@says("an ID: digits")
def _start(value: Any) -> str:
    word = str(value) if isinstance(value, int) and not isinstance(value, bool) else validators.text(value)
    return word if word.isascii() and word.isdigit() and len(word) <= 30 else refuse(value)


_VERDICT = Key("verdict", validators.verdict, None, "As in `[firewall]`, for this feed.")


def _common(interval: str, expiry: str) -> tuple[Key, ...]:
    return (
        Key("interval", _interval, interval, "How often it is checked for new entries."),
        Key(
            "expiry",
            validators.finite_span.saying(f"{_TIME}, longer than 0"),
            expiry,
            "How long an entry stays if not listed again.",
        ),
        Key(
            "priority",
            whole(0, 1000).saying("a whole number from 0 to 1000"),
            100,
            "Feeds with a lower number come first.",
        ),
        Key("max_growth", _growth, 3, "Growth at once by more than this factor holds the feed."),
        Key("ca_file", validators.path, "", "Certificates to trust instead of the system's."),
        _VERDICT,
    )


APIBAN_KEYS = (
    Key("key", _key, "", "APIBAN's key.", secret=True),
    Key("key_file", validators.path, "", "File that contains only the key; instead of `key`."),
    Key("url", _url, "https://apiban.org/api", "Base address of the API."),
    Key("start", _start, "100", "ID to begin with; 100 is the full list."),
    Key(
        "dataset",
        choice("sip", "http", "all"),
        "",
        "What the addresses attack, as newer clients ask; empty: the older interface, which has one list.",
    ),
    *_common("5m", "7d"),
)
LIST_KEYS = (
    Key("url", _url, "", "Where the list is."),
    Key("file", validators.path, "", "Where the list is, on this machine; instead of `url`."),
    Key("format", choice(*_FORMATS).saying(", ".join(_FORMATS)), "auto", "Format of the list; `auto` detects it."),
    Key("max_size", _mebibytes, 32, "Largest list accepted, in MiB."),
    *_common("1h", "7d"),
)


def read_feeds(main: TomlFile, errors: list[ConfigError]) -> tuple[Feed, ...]:
    """Read the feeds of sipguard.toml. An invalid feed is omitted and reported in `errors`."""
    tables = main.data.get(FEEDS, {})
    if not isinstance(tables, dict):
        errors.append(ConfigError(f"feeds = {shown(tables)}: must be a table, [feeds.NAME]", main.where(FEEDS)))
        return ()
    feeds = []
    for name, table in tables.items():
        try:
            feeds.append(_feed(main, name, table))
        except ConfigError as error:
            errors.append(error)
    return tuple(feeds)


def _feed(main: TomlFile, name: str, table: object) -> Feed:
    where = main.where(FEEDS, name)
    if not isinstance(table, dict):
        raise ConfigError(f"feeds.{printable(name)}: must be a table, [feeds.NAME]", where)
    prefix = f"[feeds.{printable(name)}] "
    if not _NAME.fullmatch(name):
        what = "use up to 32 lower-case letters, digits, - and _"
        raise ConfigError(f"{prefix}invalid feed name; {what}", where)
    values = _values(main, name, table, prefix)
    if name == APIBAN:
        key_file = values.pop("key_file")
        if bool(values["key"]) is bool(key_file):
            raise ConfigError(f'{prefix}give the key, either key = "…" or key_file = "/a/file"', where)
        if key_file:
            values["key"] = _read_key(key_file, main.where(FEEDS, name, "key_file"), prefix)
    elif bool(values["url"]) is bool(values["file"]):
        raise ConfigError(f'{prefix}say where the list is, either url = "https://…" or file = "/a/file"', where)
    return Feed(name, **values)


def _values(main: TomlFile, name: str, table: Mapping[str, Any], prefix: str) -> dict[str, Any]:
    keys = {key.name: key for key in (APIBAN_KEYS if name == APIBAN else LIST_KEYS)}
    for word in table:
        if word not in keys:
            hint = did_you_mean(word, keys, f"; known are {', '.join(keys)}")
            raise ConfigError(f"{prefix}{printable(word)}: unknown key{hint}", main.where(FEEDS, name, word))
    values = {}
    for key in keys.values():
        if key.name in table:
            values[key.name] = key.read(table[key.name], main.where(FEEDS, name, key.name), prefix)
        elif key.name == "verdict":
            values["verdict"] = main.verdict
        else:
            values[key.name] = key.parse(key.default) if key.default else ""
    return values


def _read_key(path: str, where: str, prefix: str) -> str:
    """Read the key from a file that contains nothing else. Raises `ConfigError`, which never repeats the content."""
    try:
        with open_regular(path) as file:
            text = file.read(4096).decode("utf-8", "replace")
    except OSError as error:
        raise ConfigError(f"{prefix}key_file {printable(path)}: cannot be read: {error.strerror}", where) from None
    if not _KEY.fullmatch(text.strip()):
        raise ConfigError(f"{prefix}key_file {printable(path)}: must contain only the key", where)
    return text.strip()
