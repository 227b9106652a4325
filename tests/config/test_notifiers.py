"""Ready notifiers: what each needs, and the request that comes of it, told by the configuration alone."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from sipguard.config.action_tables import RETRYING, TYPES, action_tables
from sipguard.config.kind import BadDetailError
from sipguard.config.notifiers import NOTIFIERS
from sipguard.secret import Secret

MANUAL = Path(__file__).parents[2] / "docs" / "actions.md"
TABLES = {
    "slack": {"url": "https://hooks.slack.example/services/T/B/x"},
    "discord": {"url": "https://discord.example/api/webhooks/1/x"},
    "teams": {"url": "https://flow.example/workflows/x"},
    "telegram": {"token": "123:ABC", "chat": "-100"},
    "matrix": {"server": "https://matrix.example.org/", "room": "!room:example.org", "token": "syt_x"},
    "ntfy": {"topic": "pbx"},
    "abuseipdb": {"key": "k3y-of-abuse"},
}


@pytest.mark.parametrize("kind", NOTIFIERS)
def test_a_webhook_comes_of_it(kind):
    """With every key that a webhook has; secrets are no texts any more."""
    (action,) = action_tables([{"type": kind, **TABLES[kind]}])
    assert (action.name, action.type, action.on) == (kind, "webhook", ("ban",))
    assert action.options.keys() == {option.name for option in TYPES["webhook"]} - {"secret"}
    assert isinstance(action.options["url"], Secret)
    told = repr(action)
    assert not any(str(TABLES[kind].get(name, "–")) in told for name in ("url", "token", "key"))


def test_keys_of_their_own():
    """`on`, `name`, `retries` and `timeout` as in every action that speaks to a server."""
    (action,) = action_tables(
        [{"type": "ntfy", "topic": "pbx", "name": "phone", "on": ["alarm"], "retries": 1, "timeout": 3}]
    )
    assert (action.name, action.on, action.options["retries"], action.options["timeout"]) == (
        "phone",
        ("alarm",),
        1,
        3.0,
    )


def test_where_they_go():
    """Addresses are made of what was given, whatever signs are in it."""
    (telegram,) = action_tables([{"type": "telegram", **TABLES["telegram"]}])
    assert telegram.options["url"].reveal() == "https://api.telegram.org/bot123:ABC/sendMessage"
    (matrix,) = action_tables([{"type": "matrix", **TABLES["matrix"]}])
    assert matrix.options["url"].reveal() == (
        "https://matrix.example.org/_matrix/client/v3/rooms/%21room%3Aexample.org/send/m.room.message/{delivery}"
    )
    assert matrix.options["headers"] == {"Authorization": Secret("Bearer syt_x")}


@pytest.mark.parametrize(
    ("table", "said"),
    [
        ({"type": "slack"}, ".url: is missing; must be an http or https address"),
        ({"type": "slack", "url": "slack"}, ".url: must be an http or https address"),
        ({"type": "telegram", "token": "to ken", "chat": "1"}, ".token: must be a text without blanks"),
        ({"type": "ntfy", "topic": "x", "url": "https://x"}, ".url: unknown key of a ntfy"),
        ({"type": "slak", "url": "https://x"}, '.type = "slak": must be webhook, mail, exec, slack'),
    ],
)
def test_wrong(table, said):
    """One line, without what is secret."""
    with pytest.raises(BadDetailError) as error:
        action_tables([table])
    assert said in str(error.value)
    assert "to ken" not in str(error.value)


def test_the_manual():
    """docs/actions.md has a row for each key."""
    text = MANUAL.read_text()
    for kind, notifier in NOTIFIERS.items():
        for option in notifier.options:
            default = "" if option.default in (None, ...) else f"`{json.dumps(option.default)}`"
            assert f"| {kind} | `{option.name}` | {default} | {option.allowed} | {option.help} |" in text
    assert all(option.help in text for option in RETRYING)
