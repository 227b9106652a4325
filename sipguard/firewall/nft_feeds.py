"""The feeds' part of the nftables backend: a table of its own, a chain per feed, a set per family and prefix length.

Not interval sets: nft 1.0.6 takes 9 s and 300 MB to write 200,000 intervals. In a plain set a network is its first address,
and a rule per prefix length masks the packet's address before it looks there: the same networks take 0.8 s. That is at most
25 lookups of constant cost for IPv4, and in practice a handful.

Not the table of the bans: to list those must not fetch the feeds' elements.
"""

from __future__ import annotations

import ipaddress
import itertools
import json
import re
from typing import TYPE_CHECKING, Any

from sipguard.errors import FirewallError
from sipguard.firewall import nft_text
from sipguard.firewall.feed_networks import FeedNetwork, in_time
from sipguard.firewall.nft_names import escape_jail, unescape_jail
from sipguard.firewall.nft_run import NftRunner
from sipguard.model import FOREVER, Clock, Entry, Verdict

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Sequence

TABLE = "inet sipguard_feeds"
SIZE = 4_194_304
"""Elements per set: more than any list, less than memory."""

_HOOK = "{ type filter hook prerouting priority -309; policy accept; }"
"""One behind the bans (see `nft_text.table_script`): an address that is banned too is counted there."""
_CHUNK = 500
_SET = re.compile(r"f([46])_([0-9]{1,3})_([A-Za-z0-9_-]+)")
_CHAIN = "feed_"


class NftFeeds:
    """Feeds in nf_tables sets. Raises `FirewallError` where the kernel refuses; then nothing was changed."""

    def __init__(self, runner: NftRunner, clock: Clock) -> None:
        self._nft = runner
        self._clock = clock
        self._made: set[str] = set()
        self._there: dict[str, set[tuple[str, int]]] = {}
        """Feed → family and prefix length of its sets, as far as is known: to ask the kernel takes longer than a change."""

    def set(self, name: str, networks: Sequence[tuple[str, float]], verdict: Verdict = "reject") -> None:
        """Replace what a feed rejects: in one script, so that no packet sees a set empty."""
        now = self._clock()
        groups = _by_set(in_time(networks, now))
        stale = [key for key in self._sets_of(name) if key not in groups]
        lines = [
            f"add table {TABLE}",
            f"add chain {TABLE} {nft_text.REFUSE}",
            f"flush chain {TABLE} {nft_text.REFUSE}",
            f"add rule {TABLE} {nft_text.REFUSE} meta l4proto tcp reject with tcp reset",
            f"add rule {TABLE} {nft_text.REFUSE} reject with icmpx type port-unreachable",
            f"add chain {TABLE} {_chain(name)} {_HOOK}",
            f"flush chain {TABLE} {_chain(name)}",
            *(f"delete set {TABLE} {_set(*key, name)}" for key in stale),
        ]
        for key in sorted(groups):
            lines += _set_lines(key, name, verdict)
        elements = (_elements(_set(*key, name), group, now) for key, group in groups.items())
        self._nft.run("\n".join([*lines, *itertools.chain.from_iterable(elements), ""]))
        self._made.add(name)
        self._there[name] = set(groups)

    def change(
        self, name: str, networks: Sequence[tuple[str, float]], gone: Sequence[str] = (), verdict: Verdict = "reject"
    ) -> None:
        """Take some out of a feed's sets, then put others in, in one script. Raises `FirewallError` when the feed is gone."""
        now = self._clock()
        new, removed = _by_set(in_time(networks, now)), _by_set(in_time(((text, FOREVER) for text in gone), now))
        there = self._there.get(name)
        if there is None:
            there = self._there[name] = set(self._sets_of(name))
        lines: list[str] = []
        for key in sorted(new.keys() - there):
            lines += _set_lines(key, name, verdict)
        for key, group in removed.items():
            if key in there:
                # To delete what is not there is an error, and another deletion in the same script none: so it is added first.
                plain = list(_elements(_set(*key, name), group, now))
                lines += [*plain, *(f"delete{line.removeprefix('add')}" for line in plain)]
        for key, group in new.items():
            lines += _elements(_set(*key, name), group, now)
        try:
            self._nft.run("\n".join([*lines, ""]))
        except FirewallError:
            self._there.pop(name, None)
            raise
        there.update(new)

    def drop(self, name: str) -> None:
        """Remove a feed's chain and sets; to add the chain first makes sure that the deletion finds it."""
        chain = f"{TABLE} {_chain(name)}"
        lines = [f"add table {TABLE}", f"add chain {chain}", f"flush chain {chain}", f"delete chain {chain}"]
        lines += [f"delete set {TABLE} {_set(*key, name)}" for key in self._sets_of(name)]
        self._nft.run("\n".join([*lines, ""]))
        self._made.discard(name)
        self._there.pop(name, None)

    def names(self) -> list[str]:
        """The feeds whose chain looks into every one of their sets."""
        chains: dict[str, set[str]] = {}
        sets: dict[str, set[str]] = {}
        for kind, item in self._layout():
            if kind == "chain" and item["name"].startswith(_CHAIN):
                chains.setdefault(item["name"].removeprefix(_CHAIN), set())
            elif kind == "rule" and item["chain"].startswith(_CHAIN):
                looked_up = re.findall(r'"@(f[46]_[^"]+)"', json.dumps(item["expr"]))
                chains.setdefault(item["chain"].removeprefix(_CHAIN), set()).update(looked_up)
            elif kind == "set" and (match := _SET.fullmatch(item["name"])):
                sets.setdefault(match[3], set()).add(item["name"])
        whole = [escaped for escaped, looked_up in chains.items() if sets.get(escaped, set()) == looked_up]
        known = {escape_jail(name): name for name in self._made}
        return sorted(known.get(escaped) or unescape_jail(escaped) or escaped for escaped in whole)

    def entries(self, name: str) -> list[Entry]:
        """What the kernel rejects for a feed. `until` may be up to one second early: nft tells whole seconds."""
        now = self._clock()
        found = []
        for family, length in self._sets_of(name):
            text = self._nft.query(f"list set {TABLE} {_set(family, length, name)}")
            for address, remaining in _parse(text):
                network = FeedNetwork("4" if family == "4" else "6", address, length, now + remaining)
                found.append(Entry(network.text, name, network.until))
        return found

    def verify(self) -> list[str]:
        if not self._made:
            return []
        missing = self._made.difference(self.names())
        return [f"feed {name} is missing or changed in table {TABLE}" for name in sorted(missing)]

    def show(self) -> str:
        """Give the table in nft's own syntax, but for the addresses: there are too many to look at."""
        text = []
        for kind, item in self._layout():
            if kind == "set":
                text.append(f"table {TABLE} set {item['name']}\n")
        return "".join(text)

    def flush(self) -> None:
        """Remove the table."""
        self._nft.run(f"add table {TABLE}\ndelete table {TABLE}\n")
        self._made = set()
        self._there = {}

    def _layout(self) -> Iterator[tuple[str, dict[str, Any]]]:
        # Not `list table`: for that, nft 1.0.6 fetches every element even if it is to print none.
        for item in nft_text.read_items(self._nft.query("list ruleset inet", terse=True)):
            for kind in ("set", "chain", "rule"):
                if kind in item and f"inet {item[kind]['table']}" == TABLE:
                    yield kind, item[kind]

    def _sets_of(self, name: str) -> list[tuple[str, int]]:
        matches = (_SET.fullmatch(item["name"]) for kind, item in self._layout() if kind == "set")
        return [(match[1], int(match[2])) for match in matches if match and match[3] == escape_jail(name)]


def _by_set(networks: Iterable[FeedNetwork]) -> dict[tuple[str, int], list[FeedNetwork]]:
    groups: dict[tuple[str, int], list[FeedNetwork]] = {}
    for network in networks:
        groups.setdefault((network.family, network.length), []).append(network)
    return groups


def _chain(name: str) -> str:
    return _checked(_CHAIN + escape_jail(name))


def _set(family: str, length: int, name: str) -> str:
    return _checked(f"f{family}_{length}_{escape_jail(name)}")


def _checked(name: str) -> str:
    if len(name) > 127:  # configuration allows 32 characters; NFT_CHAIN_MAXNAMELEN is 128
        raise FirewallError(f"the name of a feed is too long for the kernel: {name[:60]!r}…")
    return name


def _set_lines(key: tuple[str, int], name: str, verdict: Verdict) -> list[str]:
    """Make one set, empty, and the rule that looks into it."""
    family, length = key
    bits, word = (32, "ip") if family == "4" else (128, "ip6")
    number = (1 << bits) - (1 << (bits - length))
    mask = ipaddress.IPv4Address(number) if family == "4" else ipaddress.IPv6Address(number)
    address = f"{word} saddr" if length == bits else f"{word} saddr & {mask}"
    target = "drop" if verdict == "drop" else f"goto {nft_text.REFUSE}"
    set_name = _set(family, length, name)
    return [
        f"add set {TABLE} {set_name} {{ type ipv{family}_addr; flags timeout; size {SIZE}; }}",
        f"flush set {TABLE} {set_name}",
        f"add rule {TABLE} {_chain(name)} {address} @{set_name} {target}",
    ]


def _elements(set_name: str, networks: list[FeedNetwork], now: float) -> Iterator[str]:
    # A list has one time for all of it, APIBAN one per page.
    times = {until: nft_text.timeout(until, now) for until in {network.until for network in networks}}
    for begin in range(0, len(networks), _CHUNK):
        items = ", ".join(network.first + times[network.until] for network in networks[begin : begin + _CHUNK])
        yield f"add element {TABLE} {set_name} {{ {items} }}"


def _parse(text: str) -> Iterator[tuple[str, float]]:
    """Read the elements of one set: (address, seconds that remain)."""
    for item in nft_text.read_items(text):
        for element in item.get("set", {}).get("elem", ()):
            if isinstance(element, str):
                yield element, FOREVER
            else:
                yield element["elem"]["val"], float(element["elem"].get("expires", 0))
