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
_PROGRAMS = {"nftables": (("nft", "nftables"),), "ipset": (("ipset", "ipset"), ("iptables", "iptables"))}
"""Backend → the programs that it runs, and the packages that have them."""

_log = logging.getLogger(__name__)


def open_firewall(name: str, *, clock: Clock, options: Options | None = None) -> Firewall:
    """Construct the backend of this name; nothing is changed in the kernel until its `open` is called.

    Raises `FirewallError` for a name that is none.
    """
    if name == "auto":
        from sipguard.firewall.host import choose  # noqa: PLC0415 - only when asked

        name, reason = choose()
        _log.info("firewall auto: %s, since %s", name, reason)
        chosen = _made(name, clock, options)
        chosen.why = f"auto: {reason}"
        return chosen
    return _made(name, clock, options)


def _made(name: str, clock: Clock, options: Options | None) -> Firewall:
    if name == "nftables":
        from sipguard.firewall.nftables import NftablesFirewall  # noqa: PLC0415 - only when chosen

        return NftablesFirewall(clock=clock, options=options)
    if name == "ipset":
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


def check_programs(name: str) -> None:
    """Raise `FirewallError` if a program is not there that the backend of this name runs by."""
    from sipguard.firewall import programs  # noqa: PLC0415 - only when asked

    for program, package in _PROGRAMS.get(name, ()):
        if not programs.installed(program):
            raise programs.absent(program, package)


def _legacy_refusal() -> str:
    from sipguard.firewall.host import legacy_refusal  # noqa: PLC0415 - only when chosen

    return legacy_refusal()


def _ipset_refusal() -> str:
    from sipguard.firewall.host import ipset_refusal  # noqa: PLC0415 - only when chosen

    return ipset_refusal()
