"""Rules that are saved and restored at boot (the real netfilter-persistent and plugins): the host keeps its own."""

from __future__ import annotations

import sys

import pytest
from running import running

from tests.neighbours import Host
from tests.netns import namespace

OWN = "-A INPUT -s 192.0.2.7/32 -j DROP"
PERSISTENT = ("netfilter-persistent", "iptables-persistent", "ipset-persistent")
SAVE, RESTORE = "netfilter-persistent save", "netfilter-persistent start"


def own_rules(host):
    return [host.run(f"{program}-save").count(OWN if program == "iptables" else "2001:db8::7") for program in FAMILIES]


FAMILIES = ("iptables", "ip6tables")


def hand_rules(host):
    host.run("iptables -A INPUT -s 192.0.2.7/32 -j DROP && ip6tables -A INPUT -s 2001:db8::7 -j DROP")


@pytest.mark.root
@pytest.mark.lab
@pytest.mark.parametrize("legacy", [False, True], ids=["nft", "legacy"])
def test_boot(tmp_path, legacy):
    """What `auto` chooses there runs, bans, the rules are saved, and the next boot restores every one of them."""
    (tmp_path / "log").touch()
    with namespace("nft", "iptables", "ipset", "iptables-legacy") as net, namespace() as after:
        host = Host(net, tmp_path / "host", *PERSISTENT, legacy=legacy)
        hand_rules(host)
        assert own_rules(host) == [1, 1]
        jails = {"asterisk": {"logpath": str(tmp_path / "log")}}
        with running(tmp_path, jails, firewall="auto", prefix=host.prefix) as daemon:
            daemon.sipguard("ban", "--jail", "asterisk", "203.0.113.5")
            daemon.sipguard("ban", "--jail", "asterisk", "2001:db8::5")
            told = "firewall auto: nftables, since this host" + ("'s firewall is iptables-legacy" if legacy else " has")
            daemon.wait_logged(told)
            host.run(SAVE)
        host.boot(after)
        assert own_rules(host) == [0, 0]
        host.run(RESTORE)
        assert own_rules(host) == [1, 1]


@pytest.mark.root
@pytest.mark.lab
@pytest.mark.parametrize("legacy", [False, True], ids=["nft", "legacy"])
def test_ipset_is_refused(tmp_path, legacy):
    """The backend ipset says why it does not start there; `check` says the same words."""
    (tmp_path / "log").touch()
    with namespace("nft", "iptables", "ipset", "iptables-legacy") as net:
        host = Host(net, tmp_path / "host", *PERSISTENT, legacy=legacy)
        config = tmp_path / "sipguard.toml"
        config.write_text(
            f'state_dir = "{tmp_path}/state"\nsocket = "{tmp_path}/sock"\nlogtarget = "STDERR"\n'
            '[firewall]\nbackend = "ipset"\n'
        )
        (tmp_path / "jails.d").mkdir()
        (tmp_path / "jails.d" / "asterisk.toml").write_text(f'enabled = true\nlogpath = "{tmp_path}/log"\n')
        for command in ("check", "run"):
            done = host.try_(f"timeout 20 {sys.executable} -m sipguard {command} -c {config}")
            assert done.returncode == 2, done
            assert "iptables-persistent saves this host's iptables rules" in done.stdout + done.stderr
            assert "choose the firewall nftables" in done.stdout + done.stderr
        assert "sg_" not in host.run("iptables-save; ipset list -n")


@pytest.mark.root
@pytest.mark.lab
@pytest.mark.parametrize("legacy", [False, True], ids=["nft", "legacy"])
def test_what_the_refusal_is_for(tmp_path, legacy):
    """A rule with a set that is not there: the real plugins restore nothing of the file. And the log says so beforehand."""
    (tmp_path / "log").touch()
    with namespace("nft", "iptables", "ipset", "iptables-legacy") as net, namespace() as after:
        host = Host(net, tmp_path / "host", *PERSISTENT, legacy=legacy)
        hand_rules(host)
        host.run(
            "ipset create sg_a4_asterisk hash:ip timeout 0; iptables -A INPUT -m set --match-set sg_a4_asterisk src -j DROP"
        )
        host.run("iptables-save > /etc/iptables/rules.v4")
        jails = {"asterisk": {"logpath": str(tmp_path / "log")}}
        with running(tmp_path, jails, firewall="auto", prefix=host.prefix) as daemon:
            daemon.wait_logged("/etc/iptables/rules.v4 cannot be restored at boot")
        host.boot(after)
        assert host.try_("iptables-restore < /etc/iptables/rules.v4").returncode != 0
        assert own_rules(host)[0] == 0
