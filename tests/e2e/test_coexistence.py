"""Nobody else's rules: the firewall without ours is the same before, during and after sipguard."""

from __future__ import annotations

import re

import pytest
from netns import namespace
from running import append, failure, running

OTHERS = """
iptables -N MINE
iptables -A INPUT -i lo -j ACCEPT
iptables -A INPUT -m conntrack --ctstate ESTABLISHED,RELATED -j ACCEPT
iptables -A INPUT -p tcp --dport 22 -j MINE
iptables -A MINE -s 198.51.100.0/24 -j REJECT
iptables -N f2b-sshd
iptables -I INPUT 1 -p tcp --dport 22 -j f2b-sshd
iptables -A f2b-sshd -s 203.0.113.200 -j REJECT --reject-with icmp-port-unreachable
iptables -A f2b-sshd -j RETURN
iptables -N APIBAN
iptables -I INPUT 1 -j APIBAN
iptables -A APIBAN -s 203.0.113.201/32 -j REJECT
iptables -t nat -A PREROUTING -p udp --dport 5090 -j REDIRECT --to-ports 5060
iptables -t mangle -A PREROUTING -p udp --dport 5060 -j DSCP --set-dscp 26
ip6tables -A INPUT -s 2001:db8:bad::/48 -j DROP
nft add table inet theirs
nft add chain inet theirs input '{ type filter hook input priority 0; policy accept; }'
nft add set inet theirs listed '{ type ipv4_addr; flags timeout; }'
nft add element inet theirs listed '{ 203.0.113.202 timeout 1d }'
nft add rule inet theirs input ip saddr @listed reject
"""


def _theirs(host):
    """Everything that is not ours, counters and running times masked."""
    ruleset = host.run("nft", "list", "ruleset")
    without_ours = re.sub(r"^table inet sipguard \{.*?^\}\n", "", ruleset, flags=re.M | re.S)
    dumps = without_ours + host.run("iptables-save") + host.run("ip6tables-save")
    dumps = re.sub(r"^#.*\n", "", dumps, flags=re.M)
    return re.sub(r"expires \w+|packets \d+ bytes \d+|\[\d+:\d+\]", "…", dumps)


@pytest.mark.root
def test_others_rules_stay_as_they_are(tmp_path):
    """After start, bans, unbans, expiry, reload, kill -9, another start and stop: byte for byte."""
    log = tmp_path / "freeswitch.log"
    log.touch()
    with namespace("nft", "iptables", "ip6tables") as host:
        host.run("sh", "-e", script=OTHERS)
        before = _theirs(host)
        assert "APIBAN" in before
        jails = {"freeswitch": {"logpath": str(log), "bantime": 2, "protocol": "udp", "port": "5060"}}
        options = {"firewall": "nftables", "prefix": ["ip", "netns", "exec", host.name]}
        with running(tmp_path, jails, **options) as daemon:
            assert _theirs(host) == before, "after start"
            append(log, "".join(failure(f"203.0.113.{n}") * 5 for n in range(1, 101)))
            daemon.wait_logged("] Ban", times=100)
            assert _theirs(host) == before, "after 100 bans"
            assert host.run("nft", "list", "table", "inet", "sipguard").count("expires") == 100
            daemon.sipguard("unban", "203.0.113.7")
            assert _theirs(host) == before, "after an unban"
            daemon.sipguard("reload")
            assert _theirs(host) == before, "after a reload"
            daemon.wait_logged("] Unban", times=100)
            assert _theirs(host) == before, "after the bans' end"
            daemon.sipguard("ban", "--jail", "freeswitch", "203.0.113.9", "2001:db8::/64", "--time", "1h")
            daemon.stop(9)
            assert _theirs(host) == before, "after kill -9"
            assert "203.0.113.9" in host.run("nft", "list", "ruleset")
        with running(tmp_path, jails, **options) as daemon:
            assert _theirs(host) == before, "after the next start"
            assert daemon.banned("freeswitch") == {"203.0.113.9", "2001:db8::/64"}
            daemon.sipguard("flush", "--yes")
            daemon.stop()
            assert _theirs(host) == before, "after stop"
