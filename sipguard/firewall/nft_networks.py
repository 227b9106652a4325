"""The banned networks of the nftables backend: sets of intervals, each written anew as a whole on a change.

The kernel takes no network inside another, so what it holds is a cover of what is banned. Which networks those are, and until
when exactly, is remembered here as long as the process lives; after a restart the kernel's list is what there is.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, cast

from sipguard.firewall import nft_text
from sipguard.firewall.cover import cover, enclosing
from sipguard.firewall.targets import parse_target

if TYPE_CHECKING:
    from collections.abc import Collection, Iterable, Mapping

    from sipguard.firewall.nft_names import SetName
    from sipguard.firewall.nft_run import NftRunner
    from sipguard.firewall.targets import Network

ROUNDING = 2.0
"""Seconds by which nft's whole seconds may differ from the time that was asked for."""


class NftNetworks:
    """What is banned in the sets of networks. Raises `FirewallError` where the kernel refuses."""

    def __init__(self, nft: NftRunner) -> None:
        self._nft = nft
        self._known: dict[SetName, dict[Network, float]] = {}

    def live(self, name: SetName, now: float) -> dict[Network, float]:
        """Read which networks are banned now. The kernel knows; memory adds the exact time and those inside another."""
        text = self._nft.find(f"list set {nft_text.TABLE} {name}")
        known = self._known.get(name, {})
        live: dict[Network, float] = {}
        for _, target, remaining, _ in nft_text.parse_elements(text) if text else ():
            network = cast("Network", parse_target(target))
            until = now + remaining
            exact = known.get(network, until)
            # Rounded up when it is not known better: to write a set anew must not shorten a ban.
            live[network] = exact if exact == until or abs(exact - until) < ROUNDING else until + 1
        return live | self.hidden(name, {str(network) for network in live}, now)

    def hidden(self, name: SetName, listed: Collection[str], now: float) -> dict[Network, float]:
        """Find banned networks that the kernel does not list because a larger one, banned for longer, covers them."""
        known = self._known.get(name, {})
        lengths = {network.prefixlen for network in known}
        return {
            network: until
            for network, until in known.items()
            if until > now
            and str(network) not in listed
            and any(str(around) in listed for around in enclosing(network, lengths))
        }

    def remember(self, written: Mapping[SetName, dict[Network, float]]) -> None:
        """Keep what has been written into sets."""
        self._known |= written

    def forget(self, names: Iterable[SetName]) -> None:
        """Forget sets that are gone."""
        for name in names:
            self._known.pop(name, None)

    def unban(self, name: SetName, targets: set[Network], now: float) -> None:
        """Write a set anew without these, if it has one of them."""
        live = self.live(name, now)
        left = {network: until for network, until in live.items() if network not in targets}
        if left != live:
            self._nft.run(networks_script(name, left, now))
            self._known[name] = left


def networks_script(name: SetName, networks: dict[Network, float], now: float) -> str:
    """Write a set of networks anew: within one script no packet sees it empty."""
    items = nft_text.piece_items(cover(networks), now)
    return f"flush set {nft_text.TABLE} {name}\n" + nft_text.elements("add", name, items)
