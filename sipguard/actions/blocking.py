"""Which of a jail's Fail2ban actions are its firewall: sipguard's own does their work, unless `banactions` says otherwise."""

from __future__ import annotations

import re

from sipguard.model import Action

_TOOLS = (
    r"(?:sudo\s+)?(?:/\S*/)?(?:ip6?tables(?:-\S+)?|nft|ipset|firewall-cmd|ufw|shorewall6?|pfctl|ipfw|npfctl|ipf|apf|afctl|"
    r"ip\s+route|route)\s"
)
# Where a command may begin: a tool that is only spoken of, or called on another host by ssh, is not this host's firewall.
_CALLS = re.compile(rf"(?:^|[;|&({{]|\bdo\b|\bthen\b|\belse\b)\s*{_TOOLS}", re.MULTILINE)
_FILES = re.compile(
    r"iptables|nftables|firewallcmd|ufw|shorewall|ipfw|osx-|bsd-ipfw|pf|npf|ipfilter|apf|route|symbiosis"
)


def is_firewall(action: Action) -> bool:
    """Whether an action.d file does what sipguard's own firewall does: reject an address on this host."""
    if action.python:
        return False
    return bool(_FILES.match(action.file) or _CALLS.search(action.commands.get("actionban", "")))
