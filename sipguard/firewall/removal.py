"""Removes all that is ours from every firewall of this host, without a daemon: for `sipguard flush` and an uninstallation."""

from __future__ import annotations

from sipguard.errors import FirewallError
from sipguard.firewall.host import legacy_refusal, nft_refusal
from sipguard.firewall.options import Options


def remove_all(options: Options) -> tuple[list[str], list[str]]:
    """Remove it. Gives the backends of which something was removed, and what went wrong with others."""
    removed, problems = [], []
    for name in ("nftables", "iptables", "ipset"):
        try:
            if _remove(name, options):
                removed.append(name)
        except FirewallError as error:
            problems.append(f"{name}: {error}")
    return removed, problems


def _remove(name: str, options: Options) -> bool:
    """Whether there was something. A backend that cannot be used on this host has left nothing."""
    # Each is imported only where it can be used. The clock matters to none of it.
    if name == "nftables":
        from sipguard.firewall.nftables import NftablesFirewall  # noqa: PLC0415

        if nft_refusal():
            return False
        nftables = NftablesFirewall(clock=float, options=options)
        there = bool(nftables.show())
        nftables.flush()
        return there
    if name == "ipset":
        from sipguard.firewall.ipset import IpsetFirewall, missing  # noqa: PLC0415

        if missing():
            return False
        ipset = IpsetFirewall(clock=float, options=options)
        there = bool(ipset.show())
        ipset.flush()
        return there
    if legacy_refusal():
        return False
    from sipguard.firewall.iptables import IptablesFirewall  # noqa: PLC0415

    iptables = IptablesFirewall(clock=float, options=options)
    there = bool(iptables.show())
    iptables.flush()
    return there
