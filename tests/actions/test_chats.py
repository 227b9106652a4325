"""What the ready notifiers send: to a server of our own, and nothing of a stranger's that a chat would obey."""

from __future__ import annotations

import json
from urllib.parse import parse_qs, urlsplit

import pytest
from notices import NOW, SIP, action, ban, tell
from test_webhook import web  # noqa: F401 - a fixture

from sipguard.actions.base import Notice
from sipguard.actions.sentence import sentence
from sipguard.actions.ticket import Ticket, blank
from sipguard.actions.webhook import Webhook
from sipguard.model import FOREVER, Ban

HOSTILE = "<!channel> @everyone [x](http://evil.example) *_`~ \n\u202e" + "A" * 100


def hostile(verb="ban", until=NOW + 600):
    """A ban whose user's name was chosen to be obeyed."""
    reason = "5 failures within 600 s"
    return Notice(
        verb, Ticket(Ban("203.0.113.7", "sip", NOW, until, 5, reason=reason), SIP, (HOSTILE,), {"user": HOSTILE})
    )


def moved(table, url):
    """The notifier, with its request going to a server of our own."""
    found = action(**table)
    parts = urlsplit(found.options["url"].reveal())
    found.options["url"] = type(found.options["url"])(f"{url}{parts.path}")
    return Webhook(found, clock=lambda: NOW, first_pause=0.01)


def test_the_sentence():
    """One line, of harmless signs, for each thing that happens."""
    assert sentence(hostile()).endswith(
        " rejects 203.0.113.7 for 10m: 5 failures within 10 minutes, user ??channel???everyone??x??http???"
    )
    assert " for good: " in sentence(hostile(until=FOREVER))
    assert sentence(hostile("unban")).endswith(" lets 203.0.113.7 through again")
    assert "may be known to 203.0.113.7" in sentence(hostile("alarm"))
    assert sentence(Notice("start", blank(SIP, NOW))).endswith(" has started")
    for verb in ("ban", "unban", "alarm"):
        assert not set(sentence(hostile(verb))) & set("<>@[]()*`~\n\u202e/"), verb


CHATS = {
    "slack": ({"url": "https://slack.example/s/x"}, lambda body: body["text"]),
    "discord": ({"url": "https://discord.example/w/x"}, lambda body: body["content"]),
    "teams": ({"url": "https://teams.example/w"}, lambda body: body["attachments"][0]["content"]["body"][0]["text"]),
    "telegram": ({"token": "1:AB", "chat": "-100"}, lambda body: body["text"]),
    "ntfy": ({"topic": "pbx", "token": "tk_1"}, lambda body: body["message"]),
}


@pytest.mark.parametrize("kind", CHATS)
def test_chats(kind, web):  # noqa: F811
    """The sentence stands where the service looks for it."""
    table, text_of = CHATS[kind]
    assert tell(moved({"type": kind, **table}, web.url), hostile()) is None
    ((path, headers, body),) = web.requests
    assert text_of(json.loads(body)) == sentence(hostile())
    assert headers["Content-Type"] == "application/json"
    assert kind != "telegram" or (path, json.loads(body)["chat_id"]) == ("/bot1:AB/sendMessage", "-100")
    assert kind != "discord" or json.loads(body)["allowed_mentions"] == {"parse": []}
    assert kind != "ntfy" or headers["Authorization"] == "Bearer tk_1"


def test_matrix(web):  # noqa: F811
    """Each message has an address of its own, the same in every try."""
    web.answers = [503, 200]
    table = {"type": "matrix", "server": web.url, "room": "!r:example.org", "token": "syt_x"}
    assert tell(moved(table, web.url), ban()) is None
    first, second = web.requests
    assert first[0] == second[0]
    assert first[0].startswith("/_matrix/client/v3/rooms/%21r%3Aexample.org/send/m.room.message/")
    assert "{" not in first[0]
    assert json.loads(first[2])["msgtype"] == "m.text"


def test_abuseipdb(web):  # noqa: F811
    """A form, with the key in the head, and no line of the log."""
    assert tell(moved({"type": "abuseipdb", "key": "k3y"}, web.url), hostile()) is None
    ((path, headers, body),) = web.requests
    assert (path, headers["Key"]) == ("/api/v2/report", "k3y")
    assert parse_qs(body.decode()) == {
        "ip": ["203.0.113.7"],
        "categories": ["8,18"],
        "comment": ["SIP: 5 failed attempts to log in"],
    }
