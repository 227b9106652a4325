"""Checks `[wire]` of sipguard.toml: whether and how this machine's own SIP packets are watched."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from sipguard.config import validators
from sipguard.config.key import Key
from sipguard.config.kind import each, refuse, says, whole

if TYPE_CHECKING:
    from collections.abc import Mapping

LARGEST_GROUP = 65_535
"""NFLOG numbers its groups in 16 bits (linux/netfilter/nfnetlink_log.h)."""
LARGEST_RATE = 10_000
"""iptables' match `limit` takes no more packets per second."""


@says("a port (1 to 65535), a range such as 5060-5061, a service such as sip, or a list of these")
def _ports(value: Any) -> Any:
    """Ports as in a jail; the empty list stands for those that are found."""
    found = validators.ports(value) if value != [] else ()
    return found if found or value == [] else refuse(value)


WIRE = (
    Key(
        "enabled",
        validators.flag,
        False,
        "Whether the SIP packets of this machine are watched (docs/wire.md).",
        field="wire_enabled",
    ),
    Key(
        "ports",
        _ports,
        [],
        "Ports of SIP, besides those of the enabled SIP jails and of listening SIP servers.",
        field="wire_ports",
    ),
    Key(
        "proxies",
        each(validators.network),
        [],
        "SIP proxies in front of this machine: never accused by the wire, and their nonces prove nobody.",
        field="wire_proxies",
    ),
    Key(
        "corroborate",
        each(validators.text.saying("the name of a jail")),
        [],
        "Jails of a Fail2ban tree whose log lines count as far as the wire confirms them.",
        field="wire_corroborate",
    ),
    Key(
        "group",
        whole(1, LARGEST_GROUP - 1),
        5060,
        "First of three NFLOG groups: requests, answers and TCP; taken ones are passed over.",
        field="wire_group",
    ),
    Key(
        "rate",
        whole(100, LARGEST_RATE),
        5000,
        "SIP packets per second that are read at most; beyond it sipguard knows that it does not see all.",
        field="wire_rate",
    ),
)


def idle_wire(values: Mapping[str, Any], where: str) -> list[str]:
    """Warn about `corroborate` without anything that watches packets: it would have no effect."""
    if values["wire_corroborate"] and not (values["wire_enabled"] or values["hep_listen"]):
        return [f"{where}: [wire] corroborate: nothing is watched; write enabled = true there"]
    return []
