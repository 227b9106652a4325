"""An unprivileged user with CAP_NET_ADMIN alone can do all of it with nftables and ipset: here the daemon does.

The backends' contract, the chain and the packets are tested as that user where they are tested as root.
"""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import tempfile
from pathlib import Path

import pytest
from running import running

from tests.as_nobody import USER, path_for_others, readable_copy, setpriv
from tests.backends import host_prefix, host_run
from tests.netns import missing, namespace

pytestmark = pytest.mark.root

RULE = "-m set --match-set sg_a4_asterisk src ! --update-counters -j REJECT --reject-with icmp-port-unreachable"


@pytest.mark.parametrize("backend", ["nftables", "ipset"])
def test_without_root(backend):
    """Start, ban, unban, verify, put back after a flush, stop, and a start again."""
    if reason := missing("setpriv"):
        pytest.skip(reason)
    with tempfile.TemporaryDirectory() as name, namespace("nft", "ipset", "iptables") as net:
        folder = Path(name)
        folder.chmod(0o755)
        (folder / "log").touch()
        (folder / "run").mkdir()
        shutil.chown(folder / "run", USER)
        prefix = ["ip", "netns", "exec", net.name, *setpriv()]
        jails = {"asterisk": {"logpath": str(folder / "log")}}
        env = {"PYTHONPATH": path_for_others()}
        with running(folder / "run", jails, firewall=backend, prefix=prefix, env=env) as daemon:
            daemon.sipguard("ban", "--jail", "asterisk", "203.0.113.5")
            daemon.sipguard("ban", "--jail", "asterisk", "2001:db8::5")
            daemon.sipguard("unban", "2001:db8::5")
            assert daemon.sipguard("firewall", "verify").stdout == "all there\n"
            assert "203.0.113.5" in daemon.sipguard("firewall", "show").stdout
            for number, loss in enumerate(["nft flush ruleset; ipset flush", "iptables -F; iptables -X"], 1):
                if backend == "nftables" and number > 1:
                    break
                host_run(net, backend, loss)
                daemon.wait_logged("put back with 1 bans", times=number)
                daemon.wait_for(lambda: "203.0.113.5" in daemon.sipguard("firewall", "show").stdout)
            daemon.stop()
            if backend == "ipset":
                assert RULE in net.run("iptables-save")
            daemon.start()
            assert daemon.sipguard("firewall", "verify").stdout == "all there\n"
            assert daemon.banned("asterisk") == {"203.0.113.5"}
            assert "ERROR" not in daemon.logged()
        flush = [*prefix, sys.executable, "-m", "sipguard", "flush", "--yes", "--kernel", "-c", str(daemon.config)]
        done = subprocess.run(flush, capture_output=True, text=True, check=True, env={**os.environ, **env})
        assert backend in done.stdout
        left = "".join(net.run(*command.split()) for command in ("nft list ruleset", "iptables-save", "ipset list -n"))
        assert "sipguard" not in left
        assert "sg_" not in left


@pytest.mark.parametrize("rights", ["+net_admin", "+net_admin,+net_raw"])
def test_ipset_beside_legacy_tables(rights):
    """There iptables itself takes root; one line says so, and what to choose instead."""
    if reason := missing("setpriv"):
        pytest.skip(reason)
    with namespace("ipset", "iptables-legacy") as net:
        script = "from collections import deque; from sipguard.firewall.xt_chain import XtChain\n" + (
            "try: XtChain('sipguard', '4', pids=deque()).make([])\nexcept Exception as error: print(repr(error))"
        )
        command = [*host_prefix(net, "iptables"), *setpriv(rights), sys.executable, "-c", script]
        env = {"PYTHONPATH": str(readable_copy()), "PATH": "/usr/sbin:/usr/bin:/sbin:/bin"}
        done = subprocess.run(command, capture_output=True, text=True, check=True, env=env)
        assert done.stdout.count("choose the firewall nftables") == 1
        assert done.stdout.startswith("FirewallError('iptables: ")
        assert done.stdout.count("\n") == 1
