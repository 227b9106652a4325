"""The ports and protocols of a replaced firewall action: those that its commands name, and all where they name none."""

from __future__ import annotations

from pathlib import Path

import pytest

from sipguard.fail2ban.config.actions import read_actions
from sipguard.fail2ban.config.rules import rule_of

ALL = ("", "")
CUSTOM = {
    "no tag": ("iptables -I INPUT -s <ip> -j DROP", ALL),
    "the chain of somebody else": ("iptables -I blacklist 1 -s <ip> -j DROP", ALL),
    "port and protocol": ("iptables -I INPUT -p <protocol> --dport <port> -s <ip> -j DROP", ("5070", "udp")),
    "no protocol": ("nft add rule inet f c th dport <port> ip saddr <ip> drop", ("5070", "")),
    "no port": ("iptables -I INPUT -p <protocol> -s <ip> -j DROP", ALL),
    "written out": ("iptables -I INPUT -p udp --dport 5090:5091 -s <ip> -j DROP", ("5090-5091", "udp")),
    "written for nft": ("nft insert rule ip f c udp dport \\{ 5060, 5090 \\} ip saddr <ip> drop", ("5060 5090", "udp")),
    "two rules": (
        "iptables -I INPUT -p udp --dport 5060 -s <ip> -j DROP\n iptables -I INPUT -p tcp --dport 5090 -s <ip> -j DROP",
        ("5060 5090", "udp tcp"),
    ),
    "one of two for all": (
        "iptables -I INPUT -p udp --dport 5060 -s <ip> -j DROP; iptables -I FORWARD -s <ip> -j DROP",
        ALL,
    ),
    "all but one": ("iptables -I INPUT -p udp ! --dport 5060 -s <ip> -j DROP", ALL),
    "a program beside it": ("csf -d <ip> && iptables -I INPUT -p udp --dport 5060 -s <ip> -j DROP", ALL),
    "another use of the words": ("logger -p tcp <name>; iptables -I INPUT -s <ip> -j DROP", ALL),
    "csf": ("csf -td <ip> 3600 <name>", ALL),
    "ufw": ("ufw insert 1 deny from <ip>", ALL),
    "a set of its own": ("ipset add -exist blocked <ip>", ALL),
    "a zone": ("firewall-cmd --zone=drop --add-source=<ip>", ALL),
    "a route": ("ip route add blackhole <ip>", ALL),
}
STOCK = {
    "iptables-multiport": ("5070", "udp"),
    "iptables-allports": ALL,
    "iptables-ipset-proto6": ("5070", "udp"),
    "iptables-ipset-proto6-allports": ALL,
    "nftables-multiport": ("5070", "udp"),
    "nftables-allports": ALL,
    "firewallcmd-ipset": ("5070", "udp"),
    "firewallcmd-multiport": ("5070", "udp"),
    "firewallcmd-rich-rules": ("5070", "udp"),
    "pf": ("5070", "udp"),
    "shorewall": ALL,
    "shorewall-ipset-proto6": ALL,
    "ufw": ALL,
    "route": ALL,
    "hostsdeny": ALL,
    "symbiosis-blacklist-allports": ALL,
    "iptables-xt_recent-echo": ALL,
}


def reach(folder, *actions):
    """The rule's ports and protocols for a jail that gives these actions its port and protocol."""
    text = "\n".join(f'{name}[name=demo, port="5070", protocol="udp"]' for name in actions)
    rule, notes = rule_of("demo", read_actions(text, "", "demo", {}, folder), "5070", "tcp")
    assert notes == ()
    ports = " ".join(f"{one.first}-{one.last}" if one.first != one.last else str(one.first) for one in rule.ports)
    return ports, " ".join(rule.protocols)


@pytest.mark.parametrize(("command", "expected"), CUSTOM.values(), ids=CUSTOM)
def test_an_action_of_ones_own(command, expected, tmp_path):
    """What the commands do not name is all of them: the jail's own port and protocol do not narrow it."""
    (tmp_path / "own.conf").write_text(f"[Definition]\nactionban = {command}\n")
    assert reach(tmp_path, "own") == expected


def test_a_chain_of_its_own(tmp_path):
    """The rule that leads into the chain says what passes through it; one that returns or lets pass says nothing."""
    start = "iptables -N own; iptables -A own -j RETURN\n iptables -I INPUT -p udp --dport <port> -j own"
    (tmp_path / "own.conf").write_text(
        f"[Definition]\nactionstart = {start}\n iptables -I INPUT -j ACCEPT -s 192.0.2.1\n"
        "actionban = iptables -I own 1 -s <ip> -j DROP\n"
    )
    assert reach(tmp_path, "own") == ("5070", "udp")


def test_the_widest_of_several(tmp_path):
    """Of two actions the one that rejects everything decides."""
    (tmp_path / "narrow.conf").write_text(
        "[Definition]\nactionban = iptables -I INPUT -p udp --dport <port> -s <ip> -j DROP\n"
    )
    (tmp_path / "wide.conf").write_text("[Definition]\nactionban = iptables -I INPUT -s <ip> -j DROP\n")
    assert reach(tmp_path, "narrow") == ("5070", "udp")
    assert reach(tmp_path, "narrow", "wide") == ALL


@pytest.mark.fail2ban
@pytest.mark.parametrize(("name", "expected"), STOCK.items(), ids=STOCK)
def test_the_package_s_actions(name, expected):
    """Debian's files, most of which build their rules from tags and loops of the shell."""
    assert reach(Path("/etc/fail2ban/action.d"), name) == expected
