"""Nobody else's rules: everything that is not ours is the same, byte for byte, after each step of a daemon's life."""

from __future__ import annotations

import signal
import sys
import time

import pytest
from running import running

from sipguard.cli.client import ask
from tests.backends import host_prefix, host_run
from tests.foreign import dump
from tests.netns import namespace

pytestmark = pytest.mark.root

TABLES = ("filter", "nat", "mangle")
CHAINS = {
    "filter": ("INPUT", "FORWARD", "OUTPUT"),
    "nat": ("PREROUTING", "INPUT", "OUTPUT", "POSTROUTING"),
    "mangle": ("PREROUTING", "INPUT", "FORWARD", "OUTPUT", "POSTROUTING"),
}


def saved(family):
    """What an administrator, APIBAN's client, Fail2ban, ufw and Docker leave, as iptables-restore takes it."""
    one, net = ("192.0.2.", "/32") if family == 4 else ("2001:db8:1::", "/128")
    lines = []
    for table in TABLES:
        lines.append(f"*{table}")
        lines += [f":{chain} ACCEPT [0:0]" for chain in CHAINS[table]]
        if table == "filter":
            lines += [":APIBAN - [0:0]", ":f2b-sshd - [0:0]", ":ufw-before-input - [0:0]", ":DOCKER-USER - [0:0]"]
            lines += ["-A INPUT -j APIBAN", "-A FORWARD -j APIBAN", "-A FORWARD -j DOCKER-USER"]
            lines += [
                f"-A APIBAN -s {one}{i:x}{net} -j REJECT"
                if family == 6
                else f"-A APIBAN -s 198.51.{i // 200}.{i % 200}/32 -j REJECT"
                for i in range(300)
            ]
            lines += ["-A INPUT -p tcp -m multiport --dports 22 -j f2b-sshd", "-A INPUT -j ufw-before-input"]
            lines += [f"-A f2b-sshd -s {one}{i}{net} -j REJECT" for i in range(9)] + ["-A f2b-sshd -j RETURN"]
            lines += [
                "-A ufw-before-input -m conntrack --ctstate RELATED,ESTABLISHED -j ACCEPT",
                "-A DOCKER-USER -j RETURN",
            ]
        if table == "nat":
            lines += [":DOCKER - [0:0]", "-A PREROUTING -m addrtype --dst-type LOCAL -j DOCKER"]
            lines += ["-A DOCKER -p udp -m udp --dport 5070 -j REDIRECT --to-ports 5060"]
        else:
            lines += [f"-A {chain} -s {one}77{net} -m comment --comment mine" for chain in CHAINS[table]]
        lines.append("COMMIT")
    return "\n".join([*lines, ""])


NATIVE = """
table inet firewall {
  set known { type ipv4_addr; flags timeout; elements = { 192.0.2.9 timeout 1d } }
  chain input { type filter hook input priority filter; policy accept; ct state established accept; ip saddr @known drop; }
  chain early { type filter hook prerouting priority -400; policy accept; meta mark set 0x0 counter; }
}
"""


@pytest.mark.parametrize("backend", ["nftables", "ipset", "iptables"])
def test_others_stay_as_they_are(tmp_path, backend):
    """Start, 200 bans, 100 unbans, expiry, reload, kill -9, start, stop, removal: after each the rest is unchanged."""
    (tmp_path / "log").touch()
    with namespace("nft", "iptables", "ipset", "iptables-legacy") as net:
        for program in ("iptables-restore", "iptables-legacy-restore"):
            net.run(program, "-w", script=saved(4))  # -w: all namespaces share the lock of iptables-legacy
            net.run(program.replace("ip", "ip6", 1), "-w", script=saved(6))
        net.run("nft", "-f", "-", script=NATIVE)
        net.run("ipset", "restore", script="create blocklist hash:ip\nadd blocklist 192.0.2.200\n")

        def theirs():
            with net.inside():
                return dump()

        before = theirs()
        assert all(before[name] for name in before), "every kind of firewall has something to lose"
        prefix = host_prefix(net, backend)
        with running(
            tmp_path, {"asterisk": {"logpath": str(tmp_path / "log")}}, firewall=backend, prefix=prefix
        ) as daemon:
            assert theirs() == before, "start"
            for number in range(100):
                ask(daemon.socket, "ban", jail="asterisk", address=f"203.0.113.{number}")
                ask(
                    daemon.socket,
                    "ban",
                    jail="asterisk",
                    address=f"2001:db8:2::{number:x}",
                    time="2s" if number < 20 else "1h",
                )
            assert theirs() == before, "200 bans"
            for number in range(100):
                ask(daemon.socket, "unban", address=f"203.0.113.{number}")
            assert theirs() == before, "100 unbans"
            time.sleep(2.2)
            daemon.wait_for(lambda: len(daemon.banned("asterisk")) == 80, "expiry")
            assert theirs() == before, "expiry"
            daemon.sipguard("reload")
            assert theirs() == before, "reload"
            daemon.stop(signal.SIGKILL)
            assert theirs() == before, "kill -9"
            daemon.start()
            assert len(daemon.banned("asterisk")) == 80
            assert theirs() == before, "start after kill -9"
            daemon.stop()
            assert theirs() == before, "stop"
            assert backend in host_run(
                net, backend, f"{sys.executable} -m sipguard flush --yes --kernel -c {daemon.config}"
            )
            assert theirs() == before, "removal"
            ours = host_run(
                net, backend, "nft list ruleset; iptables-save; iptables-legacy-save; ip6tables-save; ipset list -n"
            )
            assert "sipguard" not in ours
            assert "sg_" not in ours
