"""`actions` of a native jail: every key is read, every mistake told with its place and without the secret."""

from __future__ import annotations

from pathlib import Path

import pytest

from sipguard.config.action_tables import COMMON, TYPES
from sipguard.config.settings import load
from sipguard.model import NativeAction
from sipguard.secret import Secret

ROOT = Path(__file__).parents[2]
WEBHOOK = 'type = "webhook", url = "https://example.com/t0ken"'


def settings_of(folder, actions, defaults=""):
    """The settings with one jail that has these actions."""
    (folder / "jails.d").mkdir()
    text = f'enabled = true\nlogpath = "/dev/null"\n{actions}\n'
    (folder / "jails.d" / "asterisk.toml").write_text(text)
    (folder / "sipguard.toml").write_text(defaults)
    return load(folder / "sipguard.toml")


def test_webhook(tmp_path):
    """All defaults; secrets are no texts any more."""
    settings = settings_of(tmp_path, f"actions = [{{ {WEBHOOK} }}]")
    assert settings.errors == ()
    (action,) = settings.jails[0].actions
    assert action == NativeAction(
        "webhook",
        "webhook",
        ("ban",),
        {
            "url": Secret("https://example.com/t0ken"),
            "method": "POST",
            "format": "json",
            "headers": {},
            "retries": 5,
            "timeout": 30.0,
        },
    )
    assert "t0ken" not in repr(settings)


def test_several_in_tables(tmp_path):
    """`[[actions]]` is the same list, easier to read."""
    text = """[[actions]]
type = "webhook"
url = "https://example.com/hook"
on = ["ban", "unban"]
[actions.headers]
Key = "k3y"
[actions.fields]
ip = "<ip>"
[[actions]]
type = "mail"
to = ["ops@example.com", "root"]
digest = "5m"
[[actions]]
type = "exec"
name = "told"
command = ["/usr/local/bin/told", "a b"]
"""
    settings = settings_of(tmp_path, text)
    assert settings.errors == ()
    webhook, mail, told = settings.jails[0].actions
    assert webhook.on == ("ban", "unban")
    assert (webhook.options["headers"], webhook.options["fields"]) == ({"Key": Secret("k3y")}, {"ip": "<ip>"})
    assert (mail.options["to"], mail.options["digest"]) == (("ops@example.com", "root"), 300.0)
    assert (told.name, told.options["command"]) == ("told", ("/usr/local/bin/told", "a b"))


def test_defaults(tmp_path):
    """`[defaults]` gives actions to every jail that has none of its own."""
    settings = settings_of(tmp_path, "", '[defaults]\nactions = [{ type = "exec", command = ["/bin/true"] }]\n')
    assert [action.type for action in settings.jails[0].actions] == ["exec"]


WRONG = {
    "no list": ('"mail"', ' = "mail": must be a list of tables'),
    "no type": ('[{ url = "x" }]', ".type: is missing; must be webhook, mail, exec, slack, "),
    "bad type": ('[{ type = "sms" }]', '.type = "sms": must be webhook, mail, exec, slack, '),
    "no url": ('[{ type = "webhook" }]', ".url: is missing; must be an http or https address"),
    "bad url": ('[{ type = "webhook", url = "ftp://t0ken" }]', ".url: must be an http or https address"),
    "unknown key": (f"[{{ {WEBHOOK}, retry = 3 }}]", ".retry: unknown key of a webhook; did you mean `retries`?"),
    "bad retries": (f"[{{ {WEBHOOK}, retries = 99 }}]", ".retries = 99: must be a number from 0 to 10"),
    "bad header": (f'[{{ {WEBHOOK}, headers = {{ Key = "t0ken\\n" }} }}]', ".headers: must be a table of texts"),
    "bad recipient": ('[{ type = "mail", to = "a b" }]', '.to = "a b": must be an address or a list of them'),
    "half a login": ('[{ type = "mail", to = "a@example.com", password = "t0ken" }]', ": user and password must be"),
    "relative program": ('[{ type = "exec", command = ["told"] }]', '.command = ["told"]: must be a list such as'),
    "the second": (f'[{{ {WEBHOOK} }}, {{ type = "exec" }}]', "[2].command: is missing; must be a list such as"),
    "same name": (f"[{{ {WEBHOOK} }}, {{ {WEBHOOK} }}]", "[2]: duplicate name webhook; give the action another name"),
}


@pytest.mark.parametrize(("value", "error"), WRONG.values(), ids=WRONG)
def test_mistakes(tmp_path, value, error):
    """File, line, jail, place and what is allowed; never a secret."""
    (found,) = settings_of(tmp_path, f"actions = {value}").errors
    assert str(found).startswith(f"{tmp_path}/jails.d/asterisk.toml:3: jail asterisk: actions{error}")
    assert "t0ken" not in str(found)


def test_manual_lists_every_key():
    """docs/actions.md has each key's row, word for word as the tables of keys have it."""
    manual = (ROOT / "docs" / "actions.md").read_text()
    for option in (*COMMON, *(option for options in TYPES.values() for option in options)):
        assert f"| `{option.name}` | {option.allowed} | {option.help} |" in manual


def blocks():
    """The examples of the manual."""
    return [block.split("```")[0] for block in (ROOT / "docs" / "actions.md").read_text().split("```toml\n")[1:]]


@pytest.mark.parametrize("number", range(3))
def test_manual_example_is_right(tmp_path, number):
    """The examples in the manual load."""
    settings = settings_of(tmp_path, blocks()[number].replace("enabled = true\n", ""))
    assert settings.errors == ()
    assert settings.jails[0].actions
    assert len(blocks()) == 3
