"""No message repeats a password, a key or a token: of a URL that is refused, of a value that is misspelt, of an option."""

from __future__ import annotations

import json

import pytest
from command_line import sipguard

from sipguard.text import shown_url, without_secrets

SECRET = "hunter2"
TEXTS = {
    f"https://user:{SECRET}@lists.example.com/a": "…@…",
    f"https://user:pa/{SECRET}@lists.example.com": "…@…",
    f"http://lists.example.com/{SECRET}/list.txt": "http://lists.example.com/…",
    f"https:/lists.example.com/{SECRET}": "https:/lists.example.com/…",
    f"user:{SECRET}@lists.example.com": "…@…",
    f"told[token={SECRET}, chat=5": "told[token=…, chat=5",
    f'told[api_key="{SECRET} x", chat=5': "told[api_key=…, chat=5",
    f"password = '{SECRET}": "password = …",
    "five": "five",
    "file:/etc/list": "file:/etc/list",
    "2001:db8::/32": "2001:db8::/32",
    "_SYSTEMD_UNIT=asterisk.service": "_SYSTEMD_UNIT=asterisk.service",
}


@pytest.mark.parametrize(("text", "shown"), TEXTS.items())
def test_without_secrets(text, shown):
    """What is no secret stays readable."""
    assert without_secrets(text) == shown


def test_shown_url():
    """Scheme, host and port; a path may be a token."""
    assert shown_url(f"https://lists.example.com:8443/{SECRET}?key={SECRET}") == "https://lists.example.com:8443/…"
    assert shown_url("https://lists.example.com/") == "https://lists.example.com"


WRONG = {
    "a login in a URL": f'[feeds.a]\nurl = "https://user:{SECRET}@lists.example.com/x"\n',
    "not https": f'[feeds.a]\nurl = "http://lists.example.com/{SECRET}"\n',
    "no quotes": f"[feeds.a]\nurl = https://lists.example.com/{SECRET}\n",
    "a key of another type": f'[feeds.a]\nurl = ["https://lists.example.com/{SECRET}"]\n',
    "a password without quotes": f"[feeds.a]\npassword = {SECRET}\n",
    "a right one": f'[feeds.a]\nurl = "https://lists.example.com/{SECRET}"\n',
    "an action's URL": f'[defaults]\nactions = [{{ type = "webhook", url = "gopher://x/{SECRET}" }}]\n',
    "an action's password": f'[defaults]\nactions = [{{ type = "mail", password = "{SECRET}", to = 5 }}]\n',
    "a key in the wrong place": f'[defaults]\ntoken = "{SECRET}"\n',
    "a table in the wrong place": f'api_key = "{SECRET}"\n',
}


@pytest.mark.parametrize("main", WRONG.values(), ids=WRONG)
@pytest.mark.parametrize("options", [(), ("--json",), ("--dump",)], ids=["plain", "json", "dump"])
def test_check_shows_no_secret(main, options, tmp_path):
    """In no form of its output, on neither stream."""
    (tmp_path / "jails.d").mkdir()
    (tmp_path / "jails.d" / "asterisk.toml").write_text(
        f'enabled = true\nlogpath = "/dev/null"\npassword = "{SECRET}"\n'
    )
    (tmp_path / "sipguard.toml").write_text(f'{main}[firewall]\nbackend = "memory"\n')
    done = sipguard("check", "-c", tmp_path / "sipguard.toml", *options)
    assert done.returncode == 2
    assert done.stderr.count("\n") >= 1
    assert SECRET not in done.stdout + done.stderr
    if options:
        json.loads(done.stdout)


def test_tree_shows_no_secret(tmp_path):
    """Options of an action that cannot be read to their end."""
    (tmp_path / "jail.conf").write_text(
        f'[DEFAULT]\nenabled = yes\n[a]\naction = told[chat=5, token="{SECRET}" x]\n[b]\naction = told[token={SECRET}, chat=5\n'
    )
    done = sipguard("check", "--fail2ban-dir", tmp_path)
    assert done.returncode == 2
    assert done.stderr.count("jail a: ") == done.stderr.count("jail b: ") == 1
    assert SECRET not in done.stdout + done.stderr
