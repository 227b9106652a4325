"""Networks with times that overlap → pieces that do not, for an interval set.

An interval set refuses an element that overlaps another, and with it the whole batch. Yet a /16 may well be banned
for a day while the /8 around it is banned for an hour. So the set holds disjoint pieces, each until the latest time
that any ban gives it; a piece that is not itself a banned network names the network it stands for in its comment.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

from sipguard.addresses import covers

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping, Sequence

    from sipguard.firewall.targets import Network


class Piece(NamedTuple):
    """One element of an interval set."""

    network: Network
    until: float
    stands_for: Network


def enclosing(network: Network, lengths: Iterable[int]) -> Iterator[Network]:
    """The larger networks around this one, the smallest first, of these prefix lengths."""
    for length in sorted(lengths, reverse=True):
        if length < network.prefixlen:
            yield network.supernet(new_prefix=length)


def cover(bans: Mapping[Network, float]) -> list[Piece]:
    """Give disjoint pieces that reject what these bans (network → until) reject, each as long as any of them does."""
    lengths = {network.prefixlen for network in bans}
    # A ban inside a larger one that lasts as long adds nothing.
    needed = {
        network: until
        for network, until in bans.items()
        if all(bans.get(around, -1.0) < until for around in enclosing(network, lengths))
    }
    holes: dict[Network, list[Network]] = {network: [] for network in needed}
    for network in needed:
        around = next((larger for larger in enclosing(network, lengths) if larger in needed), None)
        if around is not None:
            holes[around].append(network)
    return [
        Piece(part, until, network) for network, until in needed.items() for part in _without(network, holes[network])
    ]


def _without(network: Network, holes: Sequence[Network]) -> Iterator[Network]:
    """Cut `holes`, all within `network`, out of it; what stays comes as the largest networks possible."""
    if not holes:
        yield network
    elif network not in holes:
        for half in network.subnets():
            inside = [hole for hole in holes if hole.supernet(new_prefix=half.prefixlen) == half]
            yield from _without(half, inside)


def packets_of(address: str, counts: Mapping[str, int]) -> int | None:
    """Of (target → packets) the packets of a banned address, or one in a banned network; None where nothing counts it."""
    counted = [packets for target, packets in counts.items() if target == address or covers(target, address)]
    return sum(counted) if counted else None


def sums_by_target(packets: Mapping[tuple[str, str], int]) -> dict[str, int]:
    """Target → packets, of those of (jail, target)."""
    sums: dict[str, int] = {}
    for (_, target), count in packets.items():
        sums[target] = sums.get(target, 0) + count
    return sums
