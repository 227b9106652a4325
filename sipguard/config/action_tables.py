"""Reads a jail's `actions = [{ type = "webhook", … }]` into `NativeAction`s. Every key of each type has one row here.

A confidential value becomes a `Secret` at once, and no message repeats it.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any

from sipguard.config import validators, values
from sipguard.config.action_option import Option, confidential, http_url
from sipguard.config.messages import did_you_mean, shown
from sipguard.config.notifiers import NOTIFIERS, webhook_options
from sipguard.config.validators import BadDetailError, Reader
from sipguard.model import NativeAction
from sipguard.secret import Secret
from sipguard.text import printable

_ADDRESS = re.compile(r"[^\s@<>,;:\"]+@[^\s@<>,;:\"]+|[a-z_][a-z0-9_.-]*", re.ASCII | re.IGNORECASE)
_HEADER = re.compile(r"[!#$%&'*+.^_`|~0-9A-Za-z-]+", re.ASCII)
_PLACES = ("ban", "unban", "start", "stop", "alarm")
_MOST_RETRIES = 10


def _mail_address(value: Any) -> str:
    word = validators.text(value)
    if not _ADDRESS.fullmatch(word):
        raise ValueError
    return word


def _list_or_one(parse: Reader) -> Reader:
    return validators.at_least_one(validators.each(parse, r"\n"))


def _command(value: Any) -> tuple[str, ...]:
    if (
        not isinstance(value, list)
        or not value
        or not all(isinstance(word, str) and "\0" not in word for word in value)
    ):
        raise ValueError
    return tuple(value) if value[0].startswith("/") else _refuse()


def _refuse() -> Any:
    raise ValueError


def _headers(value: Any) -> dict[str, Secret]:
    if not isinstance(value, dict):
        raise TypeError
    if not all(
        _HEADER.fullmatch(name) and isinstance(text, str) and text.isprintable() for name, text in value.items()
    ):
        raise ValueError
    return {name: Secret(text) for name, text in value.items()}


def _fields(value: Any) -> dict[str, Any]:
    """The fields of a request body: texts, numbers, and tables of them."""
    if not isinstance(value, dict) or not value:
        raise ValueError
    return {
        name: _fields(item) if isinstance(item, dict) else item if isinstance(item, str | int | float) else _refuse()
        for name, item in value.items()
    }


def _port(value: Any) -> int:
    if isinstance(value, bool) or not isinstance(value, int) or not 1 <= value <= 65_535:
        raise ValueError
    return value


def _retries(value: Any) -> int:
    if isinstance(value, bool) or not isinstance(value, int) or not 0 <= value <= _MOST_RETRIES:
        raise ValueError
    return value


def _pause(value: Any) -> float:
    """A duration of 0 or more."""
    if isinstance(value, bool) or not isinstance(value, str | int | float):
        raise TypeError
    seconds = values.duration(value)
    return seconds if 0 <= seconds <= 86_400 else _refuse()


_SPAN = "a time such as 10 or 30s"
_TIMEOUT = Option("timeout", validators.finite_span, "30s", _SPAN, "How long one try may take.")
RETRYING = (
    Option("retries", _retries, 5, f"a number from 0 to {_MOST_RETRIES}", "Further tries when it fails."),
    _TIMEOUT,
)
"""Keys of everything that speaks to a web server."""
COMMON = (
    Option(
        "type",
        validators.choice("webhook", "mail", "exec", *NOTIFIERS),
        None,
        "webhook, mail, exec, slack, discord, teams, telegram, matrix, ntfy or abuseipdb",
        "What it does.",
    ),
    Option("name", validators.text, ..., "a word", "Its name in the log and for `test-action`; else its type."),
    Option(
        "on",
        _list_or_one(validators.choice(*_PLACES)),
        ["ban"],
        "ban, unban, start, stop, alarm, or a list of these",
        "Events that it receives.",
    ),
)
TYPES: Mapping[str, tuple[Option, ...]] = {
    "webhook": (
        Option("url", confidential(http_url), None, "an http or https address", "Where the request goes.", secret=True),
        Option("method", validators.choice("POST", "PUT"), "POST", "POST or PUT", "Method of the request."),
        Option("format", validators.choice("json", "form"), "json", "json or form", "How the body is written."),
        Option("fields", _fields, ..., "a table of texts", "The body, with tags such as `<ip>`; else all of the ban."),
        Option("headers", _headers, {}, "a table of texts", "Further headers, for keys and tokens.", secret=True),
        Option("secret", confidential(validators.text), ..., "a text", "Signs each request.", secret=True),
        *RETRYING,
    ),
    "mail": (
        Option("to", _list_or_one(_mail_address), None, "an address or a list of them", "Who gets the mail."),
        Option("from", _mail_address, "sipguard", "an address", "The sender."),
        Option("host", validators.text, "localhost", "the name of a mail server", "Server that accepts the mail."),
        Option("port", _port, ..., "a port", "Else 25, with `starttls` 587, with `tls` 465."),
        Option(
            "tls",
            validators.choice("no", "starttls", "tls"),
            ...,
            "no, starttls or tls",
            "Encryption, with the server's certificate verified; else `starttls`, and `no` for localhost.",
        ),
        Option(
            "ca_file",
            validators.path,
            ...,
            "an absolute path",
            "Certificates to trust instead of the system's.",
        ),
        Option("user", validators.text, ..., "a name", "To log in."),
        Option("password", confidential(validators.text), ..., "a text", "To log in.", secret=True),
        Option("digest", _pause, "1m", f"{_SPAN}, 0 for none", "Bans within this time share one mail."),
        _TIMEOUT,
    ),
    "exec": (
        Option(
            "command",
            _command,
            None,
            'a list such as ["/usr/local/bin/told", "-v"]',
            "Program and arguments; no shell.",
        ),
        Option("timeout", validators.finite_span, "60s", _SPAN, "How long it may run."),
    ),
}
"""Type of an action → its own keys, without those common to all types."""


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


def _read(option: Option, table: Mapping[str, Any], place: str) -> Any:
    """The parsed value of one key; `...` if it is omitted and has no default."""
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
