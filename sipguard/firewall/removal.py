"""Removes all that is ours from every firewall of this host, without a daemon: for `sipguard flush` and an uninstallation."""

from __future__ import annotations

from typing import TYPE_CHECKING

from sipguard.errors import FirewallError
from sipguard.firewall.host import legacy_refusal, nft_refusal

if TYPE_CHECKING:
    from sipguard.firewall.base import Firewall
    from sipguard.firewall.options import Options


def remove_all(options: Options) -> tuple[list[str], list[str]]:
    """Remove it. Gives the backends of which something was removed, and what went wrong with others."""
    removed, problems = [], []
    for name in ("nftables", "iptables", "ipset"):
        try:
            if firewall := _usable(name, options):
                there = firewall.show()
                firewall.flush()
                if there:
                    removed.append(name)
        except FirewallError as error:
            problems.append(f"{name}: {error}")
    return removed, problems


def _usable(name: str, options: Options) -> Firewall | None:
    """None for a backend that cannot be used on this host: it has left nothing. The clock matters to none of this."""
    if name == "nftables" and not nft_refusal():
        from sipguard.firewall.nftables import NftablesFirewall  # noqa: PLC0415 - only where it can be used

        return NftablesFirewall(clock=float, options=options)
    if name == "iptables" and not legacy_refusal():
        from sipguard.firewall.iptables import IptablesFirewall  # noqa: PLC0415 - as above

        return IptablesFirewall(clock=float, options=options)
    if name == "ipset":
        from sipguard.firewall.ipset import IpsetFirewall, missing  # noqa: PLC0415 - as above

        return None if missing() else IpsetFirewall(clock=float, options=options)
    return None
