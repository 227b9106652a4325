"""Name → backend. Each backend is imported only when it is chosen: the daemon's memory is for what it uses."""

from __future__ import annotations

import logging
from typing import TYPE_CHECKING

from sipguard.errors import FirewallError

if TYPE_CHECKING:
    from sipguard.firewall.base import Firewall
    from sipguard.firewall.options import Options
    from sipguard.model import Clock

NAMES = ("auto", "nftables", "ipset", "iptables", "memory")

_log = logging.getLogger(__name__)


def open_firewall(name: str, *, clock: Clock, options: Options | None = None) -> Firewall:
    """Construct the backend of this name; nothing is changed in the kernel until its `open` is called.

    Raises `FirewallError` for a name that is none, and where a program that the backend needs is not there.
    """
    if name == "auto":
        from sipguard.firewall.host import choose  # noqa: PLC0415 - only when asked

        name, reason = choose()
        _log.info("firewall auto: %s, since %s", name, reason)
    if name == "nftables":
        _need("nft", package="nftables")
        from sipguard.firewall.nftables import NftablesFirewall  # noqa: PLC0415 - only when chosen

        return NftablesFirewall(clock=clock, options=options)
    if name == "ipset":
        _need("ipset", package="ipset")
        _need("iptables", package="iptables")
        if reason := _ipset_refusal():
            raise FirewallError(reason)
        from sipguard.firewall.ipset import IpsetFirewall  # noqa: PLC0415 - only when chosen

        return IpsetFirewall(clock=clock, options=options)
    if name == "iptables":
        if reason := _legacy_refusal():
            raise FirewallError(reason)
        from sipguard.firewall.iptables import IptablesFirewall  # noqa: PLC0415 - only when chosen: it loads 15 MB

        return IptablesFirewall(clock=clock, options=options)
    if name == "memory":
        from sipguard.firewall.memory import MemoryFirewall  # noqa: PLC0415 - only when chosen

        return MemoryFirewall(clock=clock)
    raise FirewallError(f"no firewall is named {name!r}: choose one of {', '.join(NAMES)}")


def _need(program: str, *, package: str) -> None:
    from sipguard.firewall import programs  # noqa: PLC0415 - only when asked

    if not programs.installed(program):
        raise FirewallError(f"no program {program!r} in {programs.PATH}: install the package {package}")


def _legacy_refusal() -> str:
    from sipguard.firewall.host import legacy_refusal  # noqa: PLC0415 - only when chosen

    return legacy_refusal()


def _ipset_refusal() -> str:
    from sipguard.firewall.host import ipset_refusal  # noqa: PLC0415 - only when chosen

    return ipset_refusal()
