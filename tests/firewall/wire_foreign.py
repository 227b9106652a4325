"""Rules of a host beside those that copy packets, and how to see all of them."""

from __future__ import annotations

import re

HOST_RULES = {
    "nftables": [
        "nft 'add table inet host; add chain inet host c { type filter hook prerouting priority -308; };"
        " add rule inet host c udp dport 5060 counter accept'",
    ],
    "ipset": [
        "iptables -t raw -A PREROUTING -p udp --dport 5060 -j ACCEPT",
        "iptables -t mangle -A POSTROUTING -p udp --sport 5060 -j TOS --set-tos 0x10",
    ],
    "iptables": [
        "iptables-legacy -t raw -A PREROUTING -p udp --dport 5060 -j ACCEPT",
        "iptables-legacy -t mangle -A POSTROUTING -p udp --sport 5060 -j TOS --set-tos 0x10",
    ],
}
_SAVE = {"nftables": ["nft", "list", "ruleset"], "ipset": ["iptables-save"], "iptables": ["iptables-legacy-save"]}
_COUNTED = re.compile(r"packets \d+ bytes \d+|\[\d+:\d+\]")


def host_rules(net):
    """Everything that any firewall of this host has, without counts."""
    text = net.run("nft", "list", "ruleset", check=False) + net.run("iptables-legacy-save", check=False)
    return _COUNTED.sub("", text)


def rules_of_others(net, backend):
    """The rules that are not ours, in their order."""
    kept, ours = [], False
    for line in _COUNTED.sub("", net.run(*_SAVE[backend])).splitlines():
        if line.startswith("table "):
            ours = "sipguard" in line
        # Tables of iptables come into being with the first rule in them: their names and policies say nothing.
        if not ours and "sipguard" not in line and line.strip() and not line.startswith(("#", "*", "COMMIT", ":")):
            kept.append(line)
    return kept
