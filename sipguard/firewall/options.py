"""What an operator may choose about every backend."""

from __future__ import annotations

import re
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

from sipguard.errors import FirewallError
from sipguard.model import RejectWith

if TYPE_CHECKING:
    from collections.abc import Iterable

    from sipguard.model import Rule

HOOKS = ("INPUT", "DOCKER-USER")
"""Chains that jump to ours, where they exist."""
_HOOK = re.compile(r"[A-Za-z][A-Za-z0-9_-]{0,27}")
_CHAIN = re.compile(r"[A-Za-z][A-Za-z0-9_-]{0,15}")
_BUILT_IN = {"INPUT", "FORWARD", "OUTPUT", "PREROUTING", "POSTROUTING", "ACCEPT", "DROP", "QUEUE", "RETURN", "REJECT"}


@dataclass(frozen=True, slots=True)
class Options:
    """Defaults that suit every host. Raises `FirewallError` for names of chains that iptables would not take."""

    chain: str = "sipguard"
    """Name of the chain in the backends `ipset` and `iptables`: nobody else's may bear it."""
    reject_with: RejectWith = "port-unreachable"
    all_ports: bool = False
    """Reject banned addresses on every port, whatever their jail says."""
    size: int = 1_000_000
    """Addresses that one set holds at most: without a limit the kernel lets a set grow until memory is gone."""

    more_hooks: tuple[str, ...] = ()
    """Further chains of the filter table that jump to ours in these backends: `FORWARD` where the server is behind this host."""

    @property
    def hooks(self) -> tuple[str, ...]:
        """All chains that jump to ours, where they exist."""
        return tuple(dict.fromkeys((*HOOKS, *self.more_hooks)))

    def __post_init__(self) -> None:
        """Check the chains' names: they go into commands."""
        for hook in self.more_hooks:
            if not _HOOK.fullmatch(hook) or hook.startswith(self.chain):
                raise FirewallError(f"hooks: {hook!r}: not allowed; a chain of the filter table, such as FORWARD")
        if not _CHAIN.fullmatch(self.chain) or self.chain.upper() in _BUILT_IN:
            raise FirewallError(
                f"chain = {self.chain!r}: not allowed; choose a new name of up to 16 letters, digits, - and _"
            )

    def adapt(self, rules: Iterable[Rule]) -> list[Rule]:
        """The jails' rules as they are to be made."""
        return [replace(rule, ports=(), protocols=()) if self.all_ports else rule for rule in rules]
