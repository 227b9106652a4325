"""`[wire]`: off by default; what is watched, and what is refused."""

from __future__ import annotations

import pytest

from sipguard.config.settings import load
from sipguard.errors import ConfigError
from sipguard.model import PortRange


@pytest.mark.parametrize(
    ("text", "wrong"),
    [
        ('enabled = "yes"', 'enabled = "yes": must be true or false'),
        ("ports = [5060, 70000]", "ports = 70000: must be a port"),
        ('ports = "all"', 'ports = "all": must be a port'),
        ('proxies = ["192.0.2.1", "pbx"]', 'proxies = "pbx": must be an address'),
        ("corroborate = [5]", "corroborate = 5: must be the name of a jail"),
        ("group = 0", "group = 0: must be a whole number, 1 to 65534"),
        ("group = 65535", "group = 65535: must be"),
        ("rate = 99", "rate = 99: must be a whole number, 100 to 10000"),
        ("rate = 20000", "rate = 20000: must be"),
        ("port = 5060", "unknown key; did you mean `ports`?"),
    ],
)
def test_refused(tmp_path, text, wrong):
    """One line: what, where, what is allowed."""
    path = tmp_path / "sipguard.toml"
    path.write_text(f"[wire]\n{text}\n")
    with pytest.raises(ConfigError) as caught:
        load(path)
    assert wrong in f"{caught.value}"
    assert f"{path}:2" in str(caught.value)


def test_off_by_default(tmp_path):
    """An upgrade turns nothing on."""
    path = tmp_path / "sipguard.toml"
    path.write_text("")
    settings = load(path)
    assert (settings.wire_enabled, settings.wire_ports, settings.wire_proxies) == (False, (), ())


def test_taken(tmp_path):
    """Every key arrives in the settings, addresses in canonical form."""
    path = tmp_path / "sipguard.toml"
    path.write_text(
        '[wire]\nenabled = true\nports = ["5060", "5080-5090"]\nproxies = ["192.0.2.0/24", "2001:DB8::1"]\n'
        'corroborate = "asterisk, pbx"\ngroup = 7\nrate = 200\n'
    )
    settings = load(path)
    assert settings.wire_enabled
    assert settings.wire_ports == (PortRange(5060, 5060), PortRange(5080, 5090))
    assert settings.wire_proxies == ("192.0.2.0/24", "2001:db8::1/128")
    assert (settings.wire_corroborate, settings.wire_group, settings.wire_rate) == (("asterisk", "pbx"), 7, 200)


def test_in_vain(tmp_path):
    """What has no effect is warned of."""
    path = tmp_path / "sipguard.toml"
    path.write_text('[wire]\ncorroborate = ["asterisk"]\n')
    assert any("nothing is watched" in warning for warning in load(path).warnings)


def test_a_jail_of_the_wire_has_something_to_read(tmp_path):
    """The packets feed it as HEP does."""
    (tmp_path / "jails.d").mkdir()
    (tmp_path / "jails.d" / "sip.toml").write_text("enabled = true\n")
    path = tmp_path / "sipguard.toml"
    path.write_text("[wire]\nenabled = true\n")
    assert load(path).warnings == ()
