"""Ready notifiers: `type = "slack"` and its like are webhooks whose request is known.

Each names what its service asks for; the rest is filled in here. `<message>` is a sentence about the ban (actions/sentence.py),
which holds nothing of a stranger's that a chat would take for a mention, a link or a layout.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any
from urllib.parse import quote

from sipguard.config import validators
from sipguard.config.key import Key
from sipguard.config.kind import confidential, refuse, says
from sipguard.secret import Secret

_TOKEN = re.compile(r"[\x21-\x7e]+")


@dataclass(frozen=True, slots=True)
class Notifier:
    """One service."""

    options: tuple[Key, ...]
    request: Callable[[Mapping[str, Any]], dict[str, Any]]
    """Its options → those of a webhook: `url`, `fields`, and where they differ `method`, `format`, `headers`."""


@says("a text without blanks")
def _token(value: Any) -> str:
    word = validators.text(value)
    return word if _TOKEN.fullmatch(word) else refuse(value)


def _hook(text: str) -> Key:
    return Key("url", confidential(validators.http_url), None, text, secret=True)


def _key(name: str, text: str, default: Any = None) -> Key:
    return Key(name, confidential(_token), default, text, secret=True)


def _word(name: str, text: str, default: Any = None) -> Key:
    return Key(name, _token, default, text)


def _server(text: str, default: Any = None) -> Key:
    return Key("server", validators.http_url, default, text)


def _bearer(token: Secret | None) -> dict[str, Secret]:
    return {"Authorization": Secret(f"Bearer {token.reveal()}")} if token else {}


def _slack(options: Mapping[str, Any]) -> dict[str, Any]:
    return {"url": options["url"], "fields": {"text": "<message>"}}


def _discord(options: Mapping[str, Any]) -> dict[str, Any]:
    return {"url": options["url"], "fields": {"content": "<message>", "allowed_mentions": {"parse": []}}}


def _teams(options: Mapping[str, Any]) -> dict[str, Any]:
    card = {
        "type": "AdaptiveCard",
        "version": "1.4",
        "body": [{"type": "TextBlock", "text": "<message>", "wrap": True}],
    }
    attachment = {"contentType": "application/vnd.microsoft.card.adaptive", "content": card}
    return {"url": options["url"], "fields": {"type": "message", "attachments": [attachment]}}


def _telegram(options: Mapping[str, Any]) -> dict[str, Any]:
    url = f"{options['server'].rstrip('/')}/bot{options['token'].reveal()}/sendMessage"
    fields = {"chat_id": options["chat"], "text": "<message>", "disable_web_page_preview": True}
    return {"url": Secret(url), "fields": fields}


def _matrix(options: Mapping[str, Any]) -> dict[str, Any]:
    room = quote(options["room"], safe="")
    url = f"{options['server'].rstrip('/')}/_matrix/client/v3/rooms/{room}/send/m.room.message/{{delivery}}"
    fields = {"msgtype": "m.text", "body": "<message>"}
    return {"url": Secret(url), "method": "PUT", "headers": _bearer(options["token"]), "fields": fields}


def _ntfy(options: Mapping[str, Any]) -> dict[str, Any]:
    fields = {"topic": options["topic"], "title": "sipguard", "message": "<message>", "tags": ["no_entry"]}
    return {"url": Secret(options["server"]), "headers": _bearer(options.get("token")), "fields": fields}


def _abuseipdb(options: Mapping[str, Any]) -> dict[str, Any]:
    return {
        "url": Secret("https://api.abuseipdb.com/api/v2/report"),
        "format": "form",
        "headers": {"Key": options["key"], "Accept": Secret("application/json")},
        "fields": {
            "ip": "<ip>",
            "categories": options["categories"],
            "comment": "SIP: <failures> failed attempts to log in",
        },
    }


NOTIFIERS: Mapping[str, Notifier] = {
    "slack": Notifier((_hook("The incoming webhook's address."),), _slack),
    "discord": Notifier((_hook("The webhook's address."),), _discord),
    "teams": Notifier((_hook("The address of the workflow that posts to the channel."),), _teams),
    "telegram": Notifier(
        (
            _key("token", "The bot's token."),
            _word("chat", "The chat's number, or @channel."),
            _server("Another server of the Bot API.", "https://api.telegram.org"),
        ),
        _telegram,
    ),
    "matrix": Notifier(
        (
            _server("The home server."),
            _word("room", "The room's id, !…:server."),
            _key("token", "Access token of the account that writes."),
        ),
        _matrix,
    ),
    "ntfy": Notifier(
        (
            _word("topic", "The topic."),
            _server("The server.", "https://ntfy.sh"),
            _key("token", "Access token, where the topic needs one.", ...),
        ),
        _ntfy,
    ),
    "abuseipdb": Notifier(
        (
            _key("key", "The API key."),
            _word("categories", "Categories of the report: 8 is fraud VoIP, 18 brute force.", "8,18"),
        ),
        _abuseipdb,
    ),
}
"""Type → what it needs."""


def webhook_options(kind: str, options: Mapping[str, Any]) -> dict[str, Any]:
    """The options of the webhook that a notifier is."""
    return {"method": "POST", "format": "json", "headers": {}, **NOTIFIERS[kind].request(options)}
