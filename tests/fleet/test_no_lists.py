"""The firewall `iptables` cannot reject what others have banned: `check` and `status` say so, each in one line."""

from __future__ import annotations

import pytest
import toml
from command_line import sipguard

from sipguard.cli.client import ask
from tests.fleet.test_daemons import node


@pytest.mark.parametrize("section", ["fleet", "crowdsec"])
@pytest.mark.parametrize("firewall", ["iptables", "ipset"])
def test_check(tmp_path, section, firewall):
    """Only where there is a list, and that firewall."""
    key = tmp_path / "key"
    key.write_text("secret")
    key.chmod(0o600)
    keys = {"fleet": {"url": "redis://127.0.0.1:1", "name": "a", "share": ["reported"]}}
    keys["crowdsec"] = {"url": "http://127.0.0.1:1", "key_file": str(key)}
    config = tmp_path / "sipguard.toml"
    config.write_text(toml.dumps({"firewall": {"backend": firewall}, section: keys[section]}))
    told = [line for line in sipguard("check", "-c", config).stderr.splitlines() if "lists of others" in line]
    if firewall == "ipset":
        assert not told
        return
    (line,) = told
    assert f"[{section}]: nobody is rejected because of it" in line
    assert 'write backend = "ipset" or "nftables"' in line


def test_status_says_that_redis_is_gone(tmp_path):
    """One line, in the words of the fleet."""
    with node(tmp_path, "redis://127.0.0.1:1", "pbx1") as one:
        one.wait_for(lambda: "fleet: not connected: " in one.sipguard("status").stdout, "the problem")
        assert ask(one.socket, "status")["others"]["fleet"].startswith("not connected: ")
