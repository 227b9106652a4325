"""Names of backends, and what is loaded for them."""

from __future__ import annotations

import logging
import subprocess
import sys
import time

import pytest

from sipguard.errors import FirewallError
from sipguard.firewall.choose import open_firewall


@pytest.mark.parametrize(("name", "kind"), [("auto", "nftables"), ("nftables", "nftables"), ("memory", "memory")])
def test_names(name, kind):
    """Every name constructs its backend, without touching anything."""
    assert open_firewall(name, clock=time.time).name == kind


def test_auto_says_why(caplog):
    """What `auto` took is in the log."""
    with caplog.at_level(logging.INFO):
        open_firewall("auto", clock=time.time)
    assert "auto: nftables" in caplog.text


@pytest.mark.parametrize("name", ["", "pf", "NFTABLES", "nftables\x1b[2J"])
def test_unknown(name):
    """An unknown name is answered with the known ones, and its control bytes do not reach the terminal."""
    with pytest.raises(FirewallError, match="auto, nftables, ipset, iptables, memory") as caught:
        open_firewall(name, clock=time.time)
    assert "\x1b" not in str(caught.value)


def test_lazy():
    """The memory backend does not load the other's modules."""
    script = (
        "import sys; from sipguard.firewall.choose import open_firewall; open_firewall('memory', clock=float);"
        "sys.exit('sipguard.firewall.nftables' in sys.modules or 'subprocess' in sys.modules)"
    )
    subprocess.run([sys.executable, "-c", script], check=True)
