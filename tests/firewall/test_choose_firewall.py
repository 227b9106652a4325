"""Names of backends, and what is loaded for them."""

from __future__ import annotations

import shlex
import subprocess
import sys
import time

import pytest

from sipguard.errors import FirewallError
from sipguard.firewall.choose import open_firewall
from tests.as_nobody import readable_copy, setpriv
from tests.netns import LEGACY, namespace

CHOOSE = """
import logging, sys, time
from sipguard.firewall.choose import open_firewall
logging.basicConfig(stream=sys.stdout, level=logging.INFO)
open_firewall("auto", clock=time.time)
"""


@pytest.mark.parametrize(("name", "kind"), [("nftables", "nftables"), ("ipset", "ipset"), ("memory", "memory")])
def test_names(name, kind, tmp_path, monkeypatch):
    """Every name constructs its backend, without touching anything: its programs are looked for and not called."""
    for program in ("nft", "ipset", "iptables"):
        (tmp_path / program).write_text(f"#!/bin/sh\n: > {tmp_path}/called\n")
        (tmp_path / program).chmod(0o755)
    monkeypatch.setattr("sipguard.firewall.programs.PATH", str(tmp_path))
    assert open_firewall(name, clock=time.time).name == kind
    assert not (tmp_path / "called").exists()


RULE = ["iptables-legacy", "-A", "INPUT", "-j", "ACCEPT"]
PACKAGED = "setpriv --inh-caps=-all --bounding-set=-all,+net_admin,+dac_read_search "
NOBODY = f"{shlex.join(setpriv())} "
HOSTS = {
    "nf_tables": ([], "", "auto: nftables, since this host has nf_tables, as for its iptables"),
    "foreign-nft": ([["nft", "add table inet filter"]], "", "auto: nftables, since this host has nf_tables"),
    "legacy": ([RULE], LEGACY, "auto: ipset, since this host's firewall is iptables-legacy (tables filter)"),
    "legacy-unused": ([], LEGACY, "auto: nftables, since this host has nf_tables; legacy tables are not used"),
    "legacy-unseen": ([RULE], LEGACY + NOBODY, "auto: nftables, since this host has nf_tables; whether it uses legacy"),
    "legacy-without-raw": ([RULE], LEGACY + PACKAGED, "auto: nftables, since this host's firewall is iptables-legacy"),
}


@pytest.mark.root
@pytest.mark.parametrize(("commands", "before", "reason"), HOSTS.values(), ids=HOSTS)
def test_auto(commands, before, reason):
    """`auto` takes what the host uses and its own rights let it use, and says why in the log."""
    with namespace("nft", "iptables-legacy", "ipset", "setpriv") as net:
        for command in commands:
            net.run(*command)
        script = f'{before}{sys.executable} -c "$CHOOSE"'
        path = f"PYTHONPATH={readable_copy()}"
        assert reason in net.run("env", path, f"CHOOSE={CHOOSE}", "sh", "-c", script)


@pytest.mark.root
def test_iptables_on_nf_tables():
    """The legacy backend does not start where nobody would see its rules; the line names what to use instead."""
    with namespace("iptables") as net, net.inside():
        if "nf_tables" not in net.run("iptables", "-V"):
            pytest.skip("this host's iptables is the legacy one")
        with pytest.raises(FirewallError, match="choose the firewall nftables, or ipset"):
            open_firewall("iptables", clock=time.time)


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
