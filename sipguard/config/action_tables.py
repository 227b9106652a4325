"""Reads a jail's `actions = [{ type = "webhook", … }]` into `NativeAction`s. Each key of each type is declared once, here.

Confidential values become `Secret`s at once, and no message repeats them.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any

from sipguard.config import validators, values
from sipguard.config.key import Key
from sipguard.config.kind import (
    BadDetailError,
    ValueKind,
    at_least_one,
    choice,
    confidential,
    each,
    refuse,
    says,
    whole,
)
from sipguard.config.messages import did_you_mean, shown
from sipguard.config.notifiers import NOTIFIERS, webhook_options
from sipguard.model import NativeAction
from sipguard.secret import Secret
from sipguard.text import printable

_ADDRESS = re.compile(r"[^\s@<>,;:\"]+@[^\s@<>,;:\"]+|[a-z_][a-z0-9_.-]*", re.ASCII | re.IGNORECASE)
_HEADER = re.compile(r"[!#$%&'*+.^_`|~0-9A-Za-z-]+", re.ASCII)
_PLACES = ("ban", "unban", "start", "stop", "alarm")
_SPAN = "a time such as 10 or 30s"


@says("an address")
def _mail_address(value: Any) -> str:
    word = validators.text(value)
    return word if _ADDRESS.fullmatch(word) else refuse(value)


def _list_or_one(kind: ValueKind[str], allowed: str) -> ValueKind[tuple[str, ...]]:
    return at_least_one(each(kind, r"\n")).saying(allowed)


@says('a list such as ["/usr/local/bin/told", "-v"]')
def _command(value: Any) -> tuple[str, ...]:
    if (
        not isinstance(value, list)
        or not value
        or not all(isinstance(word, str) and "\0" not in word for word in value)
    ):
        raise ValueError
    return tuple(value) if value[0].startswith("/") else refuse(value)


@says("a table of texts")
def _headers(value: Any) -> dict[str, Secret]:
    if not isinstance(value, dict):
        raise TypeError
    if not all(
        _HEADER.fullmatch(name) and isinstance(text, str) and text.isprintable() for name, text in value.items()
    ):
        raise ValueError
    return {name: Secret(text) for name, text in value.items()}


@says("a table of texts")
def _fields(value: Any) -> dict[str, Any]:
    """The fields of a request body: texts, numbers, and tables of them."""
    if not isinstance(value, dict) or not value:
        raise ValueError
    return {
        name: _fields(item) if isinstance(item, dict) else item if isinstance(item, str | int | float) else refuse(item)
        for name, item in value.items()
    }


@says(f"{_SPAN}, 0 for none")
def _pause(value: Any) -> float:
    """A duration of 0 or more."""
    if isinstance(value, bool) or not isinstance(value, str | int | float):
        raise TypeError
    seconds = values.duration(value)
    return seconds if 0 <= seconds <= 86_400 else refuse(value)


_TIMEOUT = Key("timeout", validators.finite_span.saying(_SPAN), "30s", "How long one try may take.")
RETRYING = (Key("retries", whole(0, 10).saying("a number from 0 to 10"), 5, "Further tries when it fails."), _TIMEOUT)
"""Keys of every action that sends HTTP requests."""
COMMON = (
    Key("type", choice("webhook", "mail", "exec", *NOTIFIERS), None, "What it does."),
    Key("name", validators.text.saying("a word"), ..., "Its name in the log and for `test-action`; else its type."),
    Key(
        "on",
        _list_or_one(choice(*_PLACES), "ban, unban, start, stop, alarm, or a list of these"),
        ["ban"],
        "Events that it receives.",
    ),
)
TYPES: Mapping[str, tuple[Key, ...]] = {
    "webhook": (
        Key("url", confidential(validators.http_url), None, "Where the request goes.", secret=True),
        Key("method", choice("POST", "PUT"), "POST", "Method of the request."),
        Key("format", choice("json", "form"), "json", "How the body is written."),
        Key("fields", _fields, ..., "The body, with tags such as `<ip>`; else all of the ban."),
        Key("headers", _headers, {}, "Further headers, for keys and tokens.", secret=True),
        Key("secret", confidential(validators.text), ..., "Signs each request.", secret=True),
        *RETRYING,
    ),
    "mail": (
        Key("to", _list_or_one(_mail_address, "an address or a list of them"), None, "Who gets the mail."),
        Key("from", _mail_address, "sipguard", "The sender."),
        Key("host", validators.text.saying("the name of a mail server"), "localhost", "Server that accepts the mail."),
        Key("port", whole(1, 65_535).saying("a port"), ..., "Else 25, with `starttls` 587, with `tls` 465."),
        Key(
            "tls",
            choice("no", "starttls", "tls"),
            ...,
            "Encryption, with the server's certificate verified; else `starttls`, and `no` for localhost.",
        ),
        Key("ca_file", validators.path, ..., "Certificates to trust instead of the system's."),
        Key("user", validators.text.saying("a name"), ..., "To log in."),
        Key("password", confidential(validators.text), ..., "To log in.", secret=True),
        Key("digest", _pause, "1m", "Bans within this time share one mail."),
        _TIMEOUT,
    ),
    "exec": (
        Key("command", _command, None, "Program and arguments; no shell."),
        Key("timeout", validators.finite_span.saying(_SPAN), "60s", "How long it may run."),
    ),
}
"""Type of an action → its own keys, without those common to all types."""


@says('a list of tables, each with a type: webhook, mail or exec, as in [{ type = "exec", command = ["/path"] }]')
def action_tables(value: Any) -> tuple[NativeAction, ...]:
    """Validate a list of action tables. Raises ValueError, TypeError."""
    if not isinstance(value, list) or not all(isinstance(item, dict) for item in value):
        raise TypeError
    actions: list[NativeAction] = []
    for number, table in enumerate(value, 1):
        place = f"[{number}]" if len(value) > 1 else ""
        action = _action(table, place)
        if any(other.name == action.name for other in actions):
            raise BadDetailError(f"{place}: duplicate name {printable(action.name)}; give the action another name")
        actions.append(action)
    return tuple(actions)


def _action(table: Mapping[str, Any], place: str) -> NativeAction:
    common = {option.name: _read(option, table, place) for option in COMMON}
    kind = common["type"]
    rows = (*NOTIFIERS[kind].options, *RETRYING) if kind in NOTIFIERS else TYPES[kind]
    known = [option.name for option in (*COMMON, *rows)]
    for name in table:
        if name not in known:
            hint = did_you_mean(name, known, f"; known are {', '.join(known)}")
            raise BadDetailError(f"{place}.{printable(name)}: unknown key of a {common['type']}{hint}")
    options = {option.name: _read(option, table, place) for option in rows}
    given = {name: item for name, item in options.items() if item is not ...}
    if ("user" in given) != ("password" in given):
        raise BadDetailError(f"{place}: user and password must be given together")
    name = kind if common["name"] is ... else common["name"]
    if kind in NOTIFIERS:
        given = {**webhook_options(kind, given), **{option.name: given[option.name] for option in RETRYING}}
        kind = "webhook"
    return NativeAction(name, kind, common["on"], given)


def _read(option: Key, table: Mapping[str, Any], place: str) -> Any:
    """The parsed value of one key; `...` if it is missing and optional. Raises BadDetailError."""
    given = table.get(option.name, option.default)
    if given is ...:
        return ...
    if given is None:
        raise BadDetailError(f"{place}.{option.name}: is missing; must be {option.allowed}")
    try:
        return option.parse(given)
    except (ValueError, TypeError, OverflowError):
        what = "" if option.secret else f" = {shown(given)}"
        raise BadDetailError(f"{place}.{option.name}{what}: must be {option.allowed}") from None
