"""`[crowdsec]`: what is refused, and that no secret is ever repeated."""

from __future__ import annotations

import pytest

from sipguard.config.settings import load
from sipguard.errors import ConfigError

URL = 'url = "http://127.0.0.1:8080"\n'


@pytest.mark.parametrize(
    ("text", "wrong"),
    [
        ('key = "hunter22"\n', "needs url, and key"),
        (URL, "needs url, and key"),
        ('url = "http://crowdsec.example.net"\nkey = "hunter22"\n', "must be https://HOST"),
        ('url = "https://a:hunter22@crowdsec.example.net"\n', "must be https://HOST"),
        (URL + 'key = "hunter 22"\n', "key = …: must be"),
        (URL + 'login = "pbx1"\n', "login and password go together"),
        (URL + 'password = "hunter22"\nkey = "hunter22"\n', "login and password go together"),
        (URL + 'key = "hunter22"\nkey_file = "/a"\n', "give either key or key_file"),
        (URL + 'key_file = "/nonexistent"\n', "[crowdsec] key_file: /nonexistent: cannot be read"),
        (URL + 'key = "hunter22"\ninterval = "0.1s"\n', "interval = "),
        (URL + 'key = "hunter22"\nshare = ["all"]\n', 'share = "all": must be'),
        (URL + 'api = "v2"\n', "unknown key"),
    ],
)
def test_refused(tmp_path, text, wrong):
    """One line that names the place, never the secret."""
    path = tmp_path / "sipguard.toml"
    path.write_text(f"[crowdsec]\n{text}")
    with pytest.raises(ConfigError) as caught:
        load(path)
    assert wrong in str(caught.value)
    assert "hunter" not in str(caught.value).replace(str(path), "")


def test_taken(tmp_path):
    """A bouncer, a machine, or both; secrets from files, shown to nobody; told of where nothing can be shared."""
    path, secret = tmp_path / "sipguard.toml", tmp_path / "secret"
    secret.write_text("hunter22\n")
    secret.chmod(0o600)
    path.write_text(f'[crowdsec]\n{URL}key_file = "{secret}"\n')
    found = load(path)
    assert (found.crowdsec.key, found.crowdsec.login, found.crowdsec.interval) == ("hunter22", "", 10.0)
    assert not any("crowdsec" in one for one in found.warnings)
    path.write_text(f'[crowdsec]\n{URL}login = "pbx1"\npassword_file = "{secret}"\n')
    found = load(path)
    assert (found.crowdsec.key, found.crowdsec.password) == ("", "hunter22")
    assert any("[crowdsec] is told of proven bans alone" in one for one in found.warnings)
    assert "hunter22" not in repr(found)
