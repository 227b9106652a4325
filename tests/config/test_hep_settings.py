"""`[hep]`: who may send is known where others can reach the listener."""

from __future__ import annotations

import pytest

from sipguard.config.plain import plain
from sipguard.config.settings import load
from sipguard.errors import ConfigError

OPEN = '[hep]\nlisten = "0.0.0.0:9060"\n'


@pytest.mark.parametrize(
    ("text", "wrong"),
    [
        (OPEN, "write key"),
        (OPEN + 'key = "k"\n', "write from"),
        (OPEN + 'from = "192.0.2.1"\n', "write key"),
        (OPEN + 'from = "192.0.2.1"\nkey = ""\n', "write key"),
        ('[hep]\nlisten = "localhost:9060"\n', "must be an address with a port"),
        ('[hep]\nlisten = "127.0.0.1:0"\n', "must be"),
        ('[hep]\nfrom = ["192.0.2.1", "pbx"]\n', 'from = "pbx": must be'),
        ('[hep]\nkey = ["secret key"]\n', "key = …: must be"),
        ("[hep]\nport = 9060\n", "unknown key"),
    ],
)
def test_refused(tmp_path, text, wrong):
    """One line, and never the key."""
    path = tmp_path / "sipguard.toml"
    path.write_text(text)
    with pytest.raises(ConfigError) as caught:
        load(path)
    assert wrong in str(caught.value)
    assert "secret key" not in str(caught.value)


def test_taken(tmp_path):
    """On loopback nothing else is needed; a key is shown to nobody."""
    path = tmp_path / "sipguard.toml"
    path.write_text(OPEN + 'from = ["192.0.2.0/24", "2001:db8::1"]\nkey = "secret key"\n')
    settings = load(path)
    assert (settings.hep_from, settings.hep_key.reveal()) == (("192.0.2.0/24", "2001:db8::1/128"), "secret key")
    assert "secret key" not in repr(settings) + str(plain(settings))
    path.write_text('[hep]\nlisten = "[::1]:9060"\n')
    assert load(path).hep_listen == "[::1]:9060"


def test_nothing_to_read(tmp_path):
    """A jail of the wire without a listener is warned of."""
    (tmp_path / "jails.d").mkdir()
    (tmp_path / "jails.d" / "sip.toml").write_text("enabled = true\n")
    path = tmp_path / "sipguard.toml"
    path.write_text("")
    settings = load(path)
    assert [jail.name for jail in settings.jails] == ["sip"]
    assert any("no SIP messages to read" in warning for warning in settings.warnings)


def test_no_filter_with_the_wire(tmp_path):
    """A filter or a log beside `source = "wire"` is a mistake."""
    (tmp_path / "jails.d").mkdir()
    (tmp_path / "jails.d" / "mine.toml").write_text('enabled = true\nsource = "wire"\nfilter = "asterisk"\n')
    path = tmp_path / "sipguard.toml"
    path.write_text("")
    (error,) = load(path).errors
    assert "filter: has no effect with source" in str(error)
