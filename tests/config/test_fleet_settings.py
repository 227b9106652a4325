"""`[fleet]`: what is refused, and that no password is ever repeated."""

from __future__ import annotations

import json

import pytest
from command_line import sipguard

from sipguard.config.settings import load
from sipguard.errors import ConfigError

URL = 'url = "rediss://pbx1@redis.example.net"\n'


@pytest.mark.parametrize(
    ("text", "wrong"),
    [
        ('name = "pbx1"\n', '[fleet] needs url = "redis://…"'),
        ('url = "http://:hunter22@redis.example.net"\n', "url = …: must be redis://HOST"),
        ('url = "redis://:hunter22@"\n', "url = …: must be redis://HOST"),
        ('url = "redis://redis.example.net:hunter22"\n', "url = …: must be redis://HOST"),
        (URL + 'name = "pbx 1"\n', 'name = "pbx 1": must be up to 63 letters'),
        (URL + 'name = "a:b"\n', "must be up to 63 letters"),
        (URL + 'share = ["proven", "unproven"]\n', 'share = "unproven": must be proven, lent'),
        (URL + 'accept = "all"\n', "accept = "),
        (URL + 'max_time = "-1"\n', "max_time = "),
        (URL + "max_bans = 0\n", "max_bans = 0: must be"),
        (URL + 'unban_from = [""]\n', "unban_from = "),
        (
            URL + 'password_file = "/nonexistent/password"\n',
            "[fleet] password_file: /nonexistent/password: cannot be read",
        ),
        (URL + "port = 6379\n", "[fleet] port: unknown key"),
    ],
)
def test_refused(tmp_path, text, wrong):
    """One line that names the place, never the password."""
    path = tmp_path / "sipguard.toml"
    path.write_text(f"[fleet]\n{text}")
    with pytest.raises(ConfigError) as caught:
        load(path)
    assert wrong in str(caught.value)
    assert f"{path}:" in str(caught.value)
    assert "hunter22" not in str(caught.value)


def test_taken(tmp_path):
    """Defaults, and a password from a file that nobody else may read."""
    path, password = tmp_path / "sipguard.toml", tmp_path / "password"
    path.write_text("")
    assert load(path).fleet is None
    password.write_text("hunter22\n")
    path.write_text(f'[firewall]\nverdict = "drop"\n[fleet]\n{URL}name = "pbx1"\npassword_file = "{password}"\n')
    with pytest.raises(ConfigError, match="others can read the password"):
        load(path)
    password.chmod(0o600)
    fleet = load(path).fleet
    assert (fleet.name, fleet.password, fleet.share, fleet.accept) == ("pbx1", "hunter22", ("proven",), ("proven",))
    assert (fleet.max_time, fleet.unban_from, fleet.max_bans, fleet.verdict) == (86_400.0, (), 50_000, "drop")
    assert "hunter22" not in repr(load(path))


def test_check_says_that_nothing_is_shared(tmp_path):
    """Proven bans alone, and nothing that proves any: `check` names the two ways out; with one of them it is silent."""
    (tmp_path / "jails.d").mkdir()
    path, log = tmp_path / "sipguard.toml", tmp_path / "log"
    log.touch()
    (tmp_path / "jails.d" / "freeswitch.toml").write_text(f'enabled = true\nlogpath = "{log}"\n')
    path.write_text('[fleet]\nurl = "redis://:hunter22@127.0.0.1"\nname = "pbx1"\n')
    done = sipguard("check", "-c", path)
    assert "[fleet] shares proven bans alone, and without the wire no ban is proven" in done.stderr
    assert "the jail sip (docs/wire.md)" in done.stderr
    assert 'share = ["reported"]' in done.stderr
    assert "fleet: pbx1 at redis://127.0.0.1, shares proven, accepts proven" in done.stdout
    dumped = sipguard("check", "-c", path, "--dump").stdout
    assert json.loads(dumped)["settings"]["config_file"]
    assert "hunter22" not in done.stdout + done.stderr + dumped
    path.write_text(path.read_text() + 'share = ["reported"]\n')
    assert "shares proven bans alone" not in sipguard("check", "-c", path).stderr
