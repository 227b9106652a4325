"""A firewall backend by its name, for tests on a host of whatever kind."""

from __future__ import annotations

import importlib.util
import shutil
import time

import pytest

from sipguard.firewall.choose import open_firewall

PROGRAMS = {"nftables": ["nft"], "ipset": ["ipset", "iptables"], "iptables": ["iptables-legacy"], "memory": []}
NEEDS = {"iptables": "iptc"}


def backend_of(name, **options):
    """A backend in the namespace where this is called; skips the test, saying why, where it cannot be had.

    The one for legacy tables is told to look at `iptables-legacy`, which a host with nf_tables has beside its own.
    """
    absent = [program for program in PROGRAMS[name] if shutil.which(program) is None]
    if absent:
        pytest.skip(f"needs {', '.join(absent)}")
    if name == "iptables":
        if importlib.util.find_spec("iptc") is None:
            pytest.skip("needs python-iptables, which could not be built here")
        from sipguard.firewall.iptables import IptablesFirewall

        return IptablesFirewall(clock=time.time, program="iptables-legacy", **options)
    return open_firewall(name, clock=time.time, **options)
