"""The feeds' part of the ipset backend: one set of networks per family, replaced by a swap, in a chain of their own.

Not the chain of the bans: that one is written anew on every start, and a feed must not be without its rule meanwhile.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from sipguard.firewall import ipset_text
from sipguard.firewall.feed_networks import FeedNetwork, in_time
from sipguard.firewall.xt_chain import XtChain, families
from sipguard.firewall.xt_names import Kind, XtSet, readable, set_owner
from sipguard.model import FOREVER, Clock, Entry, Verdict

if TYPE_CHECKING:
    from collections import deque
    from collections.abc import Sequence

    from sipguard.firewall.ipset_run import Ipset
    from sipguard.firewall.options import Options

SIZE = 4_194_304
"""Most elements of a set: more than any list has, and far from filling memory."""


class IpsetFeeds:
    """Feeds in ipset sets. Raises `FirewallError` where the kernel refuses."""

    def __init__(self, ipset: Ipset, clock: Clock, options: Options, pids: deque[int]) -> None:
        self._ipset = ipset
        self._clock = clock
        self._reject_with = options.reject_with
        name = f"{options.chain}-feeds"
        self._chains = [
            XtChain(name, family, hooks=options.hooks, before=[options.chain], pids=pids) for family in families()
        ]
        self._made: set[str] = set()

    def set(self, name: str, networks: Sequence[tuple[str, float]], verdict: Verdict = "reject") -> None:
        """Replace what a feed rejects: filled beside the old set, then swapped."""
        now = self._clock()
        listed = list(in_time(networks, now))
        owner = set_owner(name)
        kind: Kind = "g" if verdict == "drop" else "f"
        stale = [header.name for header in self._ipset.headers() if _is_of(header.name, owner, kind)]
        for chain in self._chains:
            final, filling = XtSet(kind, chain.family, owner), XtSet("t", chain.family, owner)
            self._ipset.discard(filling)
            lines = [self._ipset.create(filling, SIZE), self._ipset.create(final, SIZE)]
            lines += [
                f"add {filling} {item} timeout {ipset_text.timeout(network.until, now)} -exist\n"
                for network in listed
                if network.family == chain.family
                for item in _elements(network)
            ]
            self._ipset.do("".join([*lines, f"swap {filling} {final}\ndestroy {filling}\n"]))
        self._make_chains(without=stale)
        self._ipset.do("".join(f"destroy {name}\n" for name in stale))
        self._made.add(name)

    def change(
        self, name: str, networks: Sequence[tuple[str, float]], gone: Sequence[str] = (), verdict: Verdict = "reject"
    ) -> None:
        """Take some out of a feed's sets, then put others in. Raises `FirewallError` when the sets are gone."""
        now = self._clock()
        kind: Kind = "g" if verdict == "drop" else "f"
        lines = []
        for network in in_time(((text, FOREVER) for text in gone), now):
            lines += [f"del {_named(kind, network, name)} {item} -exist\n" for item in _elements(network)]
        for network in in_time(networks, now):
            time = ipset_text.timeout(network.until, now)
            lines += [
                f"add {_named(kind, network, name)} {item} timeout {time} -exist\n" for item in _elements(network)
            ]
        self._ipset.do("".join(lines))

    def drop(self, name: str) -> None:
        """Remove a feed's rules, then its sets."""
        stale = [header.name for header in self._ipset.headers() if _is_of(header.name, set_owner(name), "")]
        self._made.discard(name)
        if stale:
            self._make_chains(without=stale)
            self._ipset.do("".join(f"destroy {name}\n" for name in stale))

    def names(self) -> list[str]:
        """The feeds that have their set in every family, and a rule for it."""
        rules = "".join(chain.show() for chain in self._chains)
        whole: dict[str, int] = {}
        for name in self._sets():
            if f"--match-set {name} src" in rules:
                whole[name.owner] = whole.get(name.owner, 0) + 1
        known = {set_owner(name): name for name in self._made}
        return sorted(
            known.get(owner) or readable(owner) or owner
            for owner, count in whole.items()
            if count == len(self._chains) and rules.count(" -A INPUT ") == len(self._chains)
        )

    def entries(self, name: str) -> list[Entry]:
        """What the kernel rejects for a feed. `until` may be up to one second early."""
        now = self._clock()
        return [
            Entry(target, name, now + remaining)
            for one in self._sets()
            if one.owner == set_owner(name)
            for target, remaining, _ in self._ipset.elements(one)
        ]

    def verify(self) -> list[str]:
        """Name the feeds that are no longer whole, and a chain that was changed."""
        if not self._made:
            return []
        problems = [f"ipset: feed {name} is missing or changed" for name in sorted(self._made.difference(self.names()))]
        for chain in self._chains:
            problems += chain.verify()
        return problems

    def show(self) -> str:
        """The chain, and the sets without their elements: there are too many to look at."""
        sets = "".join(ipset_text.create(name, family=name.family, networks=True, size=SIZE) for name in self._sets())
        return "".join(chain.show() for chain in self._chains) + sets

    def flush(self) -> None:
        """Remove the chain; the sets are removed with all others."""
        for chain in self._chains:
            chain.remove()
        self._made = set()

    def _sets(self) -> list[XtSet]:
        return [header.name for header in self._ipset.headers() if header.name.kind in ("f", "g")]

    def _make_chains(self, without: Sequence[XtSet]) -> None:
        there = [name for name in self._sets() if name not in without]
        for chain in self._chains:
            rules: list[str] = []
            for name in there:
                if name.family == chain.family:
                    verdict = "drop" if name.kind == "g" else "reject"
                    rules += ipset_text.set_rules(name, verdict, self._reject_with)
            if rules:
                chain.make(rules)
            else:
                chain.remove()


def _is_of(name: XtSet, owner: str, but: str) -> bool:
    return name.owner == owner and name.kind in ("f", "g") and name.kind != but


def _named(kind: Kind, network: FeedNetwork, feed: str) -> XtSet:
    return XtSet(kind, network.family, set_owner(feed))


def _elements(network: FeedNetwork) -> list[str]:
    if network.length == 0:
        return ["0.0.0.0/1", "128.0.0.0/1"] if network.family == "4" else ["::/1", "8000::/1"]
    return [network.text]
