"""Which ports a jail's firewall actions reject: what sipguard's own firewall does in their place."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

from sipguard.config.values import ports
from sipguard.fail2ban.config.values import words
from sipguard.model import Action, PortRange, Rule, Verdict

if TYPE_CHECKING:
    from collections.abc import Sequence

_PROTOCOLS = ("tcp", "udp", "sctp", "dccp")

# The commands by which firewalls are told, as they stand in the action files of Fail2ban and in operators' own.
_FIREWALL = re.compile(
    r"\b(?:ip6?tables|nft|ipset|firewall-cmd|ufw|shorewall6?|pfctl|ipfw|ipf|npfctl|apf|ip (?:-\S+ )?route|route)\b"
    r"|/etc/hosts\.deny|<iptables>|<nftables>|<daemon_list>"
)


def is_firewall(action: Action) -> bool:
    """Whether this action shuts an address out: then sipguard's own firewall does so in its place."""
    if "blocktype" in action.properties:
        return True
    return any(_FIREWALL.search(action.commands.get(key, "")) for key in ("actionstart", "actionban"))


def rule_of(jail: str, actions: Sequence[Action], port: str, protocol: str) -> tuple[Rule, tuple[str, ...]]:
    """The rule that covers all the jail's actions, and notes. `port` and `protocol` are the jail's own.

    Where a port cannot be understood, the rule covers all: an address that attacks is better shut out of too much.
    """
    firewall = [action for action in actions if {"port", "protocol", "blocktype"} & action.properties.keys()]
    verdicts = {action.properties.get("blocktype", "").split(" ")[0].upper() for action in firewall}
    verdict: Verdict = "drop" if verdicts == {"DROP"} else "reject"
    if any("allports" in action.file or action.properties.get("type") == "allports" for action in firewall):
        return Rule(jail, verdict=verdict), ()
    with_port = [action.properties for action in firewall if "port" in action.properties]
    texts = [properties["port"] for properties in with_port] or [port]
    protocols = [word.lower() for one in with_port for word in words(one.get("protocol", ""))] or list(words(protocol))
    notes: list[str] = []
    found: tuple[PortRange, ...] = ()
    try:
        found = ports(texts) if all(texts) else ()
    except ValueError as error:
        notes.append(f"{error}; bans of this jail cover all ports")
    return Rule(jail, found, _known(protocols), verdict), tuple(notes)


def _known(protocols: Sequence[str]) -> tuple[str, ...]:
    """Without repetition; nothing, which means all, as soon as one is unknown (`all`)."""
    unique = tuple(dict.fromkeys(protocols))
    return unique if all(one in _PROTOCOLS for one in unique) else ()
