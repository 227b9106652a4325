"""Translates what a jail's actions reject into a rule of sipguard's own firewall."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

from sipguard.config.values import ports
from sipguard.fail2ban.config.reach import ban_commands, reaches
from sipguard.fail2ban.config.role import role_of
from sipguard.fail2ban.config.values import words
from sipguard.model import Action, PortRange, Rule, Verdict

if TYPE_CHECKING:
    from collections.abc import Sequence

_PROTOCOLS = ("tcp", "udp", "sctp", "dccp")

_DROP = re.compile(r"(?:-j|--jump) DROP\b|\bdrop\b")


def rule_of(jail: str, actions: Sequence[Action], port: str, protocol: str) -> tuple[Rule, tuple[str, ...]]:
    """The rule that covers everything the jail's firewall actions reject, and notes for the operator.

    `port` and `protocol` are the jail's own; they count if it has no firewall action. A command without a port, or with one
    that cannot be understood, rejects all ports: better to reject an attacker on too many ports than on too few.
    """
    firewall = [action for action in actions if role_of(action).rejects]
    verdict: Verdict = "drop" if firewall and all(map(_drops, firewall)) else "reject"
    reached = [one for action in firewall for one in reaches(action)] or [(port, protocol)]
    notes: list[str] = []
    found: tuple[PortRange, ...] = ()
    try:
        found = ports([one for one, _ in reached]) if all(one for one, _ in reached) else ()
    except ValueError as error:
        notes.append(f"{error}; bans of this jail cover all ports")
    if not found:
        return Rule(jail, verdict=verdict), tuple(notes)
    protocols = [words(one.lower()) for _, one in reached]
    named = tuple(dict.fromkeys(one for several in protocols for one in several))
    known = all(protocols) and all(one in _PROTOCOLS for one in named)  # `all` is not among them
    return Rule(jail, found, named if known else (), verdict), tuple(notes)


def _drops(action: Action) -> bool:
    """Whether packets are dropped without an answer."""
    blocktype = action.properties.get("blocktype", "")
    return blocktype.split(" ")[0].upper() == "DROP" or (not blocktype and bool(_DROP.search(ban_commands(action))))
