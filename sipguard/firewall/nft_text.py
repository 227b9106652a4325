"""What sipguard says to nft, in nft(8)'s language, and what nft's JSON answers mean."""

from __future__ import annotations

import itertools
import json
import math
from typing import TYPE_CHECKING, Any, NamedTuple

from sipguard.errors import FirewallError
from sipguard.firewall.nft_names import PREFIX, Family, Kind, SetName, escape_jail, parse_set_name
from sipguard.firewall.targets import Network
from sipguard.model import FOREVER, Rule

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator, Mapping

    from sipguard.firewall.cover import Piece
    from sipguard.firewall.options import Options
    from sipguard.firewall.targets import Target

TABLE = "inet sipguard"
CHAIN = "banned"
REFUSE = "refuse"
MOST_NETWORKS = 65_536
"""Elements of a set of networks at most."""

_MASK = "ffff:ffff:ffff:ffff::"
"""The first `PREFIX` bits."""
HEAVY_RATE, HEAVY_BURST = 20, 50
"""Packets per second, and burst, of a banned address that are rejected; what exceeds them is dropped."""
_LIMIT = f"limit rate over {HEAVY_RATE}/second burst {HEAVY_BURST} packets"
_HEAVY = (
    "heavy4 { type ipv4_addr; flags dynamic, timeout; size 65536; timeout 10s; }",
    "heavy6 { type ipv6_addr; flags dynamic, timeout; size 65536; timeout 10s; }",
)
_DROPPED = (f"update @heavy4 {{ ip saddr {_LIMIT} }} drop", f"update @heavy6 {{ ip6 saddr & {_MASK} {_LIMIT} }} drop")
"""Rejecting a packet costs this host twice as much as dropping it. An address that slows down is rejected again."""
_CHUNK = 500
_DAY = 86_400_000
_LONGEST_DAYS = 36_500
_SHORTEST = 100
"""Milliseconds. The kernel counts in ticks of up to 10 ms, and a timeout of no tick means forever."""


class UnreadableError(FirewallError):
    """What nft printed is no JSON."""


def table_script(rules: Iterable[Rule], stale: Iterable[SetName], options: Options) -> str:
    """Make the table for these jails, keeping the elements of sets that are there, and delete the `stale` sets.

    The hook is prerouting at -310: before connection tracking (-200) and any DNAT, Docker's too, so that the rules see
    the address and port that the packet came with. No rule of another table can shield a flow: an `accept` ends only
    its own chain, a `reject` is final.
    """
    rules = list(rules)
    names = dict.fromkeys(name for rule in rules for name in set_names(rule.jail))
    hook = "{ type filter hook prerouting priority -310; policy accept; }"
    return "\n".join(
        [
            f"add table {TABLE} {{ }}",  # the braces wake a table that somebody has put to sleep
            *(f"add set {TABLE} {name} {{ {set_properties(name, options.size)} }}" for name in names),
            *(f"add set {TABLE} {definition}" for definition in _HEAVY),
            f"add chain {TABLE} {REFUSE}",
            f"add chain {TABLE} {CHAIN} {hook}",
            f"flush chain {TABLE} {CHAIN}",
            f"flush chain {TABLE} {REFUSE}",
            *(f"add rule {TABLE} {REFUSE} {rule}" for rule in _DROPPED),
            f"add rule {TABLE} {REFUSE} meta l4proto tcp reject with tcp reset",
            f"add rule {TABLE} {REFUSE} reject with icmpx type {options.reject_with}",
            *(rule_line(rule, name) for rule in rules for name in set_names(rule.jail)),
            *(f"delete set {TABLE} {name}" for name in stale),
            "",
        ]
    )


def set_names(jail: str) -> list[SetName]:
    """Give the five sets of a jail."""
    escaped = escape_jail(jail)
    kinds: tuple[tuple[Kind, Family], ...] = (("a", "4"), ("a", "6"), ("p", "6"), ("n", "4"), ("n", "6"))
    return [SetName(kind, family, escaped) for kind, family in kinds]


def set_for(jail: str, target: Target) -> SetName:
    """Give the set of a jail that holds a target."""
    family: Family = "4" if target.version == 4 else "6"
    escaped = escape_jail(jail)
    if not isinstance(target, Network):
        return SetName("a", family, escaped)
    return SetName("p" if family == "6" and target.prefixlen == PREFIX else "n", family, escaped)


def set_of_canonical(jail: str, address: str) -> SetName:
    """As `set_for`, of what `targets.is_canonical` has said yes to."""
    return SetName("p" if "/" in address else "a", "6" if ":" in address else "4", escape_jail(jail))


def set_properties(name: SetName, size: int) -> str:
    """Give the definition of a set of `size` elements that count: hashed, or intervals."""
    flags = "interval, timeout" if name.kind == "n" else "timeout"
    size = min(size, MOST_NETWORKS) if name.kind == "n" else size
    return f"type ipv{name.family}_addr; flags {flags}; size {size}; counter;"


def room(address: str, size: int) -> tuple[str, int]:
    """Name the kind of set that holds a canonical address or network, and how many it holds. Read from the text: asked often."""
    family = 6 if ":" in address else 4
    if "/" not in address:
        return f"IPv{family} addresses", size
    if family == 6 and address.endswith(f"/{PREFIX}"):
        return f"IPv6 networks of /{PREFIX}", size
    return f"IPv{family} networks", min(size, MOST_NETWORKS)


def rule_line(rule: Rule, name: SetName) -> str:
    """Give the rule that refuses a jail's ports to one of its sets. The ports come first: so media pass cheapest."""
    protocols = rule.protocols or (("tcp", "udp", "sctp", "dccp") if rule.ports else ())
    match = f"meta l4proto {{ {', '.join(protocols)} }} " if protocols else ""
    if rule.ports:
        match += f"th dport {{ {', '.join(map(str, rule.ports))} }} "
    family = "ip" if name.family == "4" else "ip6"
    verdict = "drop" if rule.verdict == "drop" else f"goto {REFUSE}"
    part = f" & {_MASK}" if name.kind == "p" else ""
    return f"add rule {TABLE} {CHAIN} {match}{family} saddr{part} @{name} {verdict}"


def timeout(until: float, now: float) -> str:
    """Give an element's timeout; empty for FOREVER, never 0 (which means forever), a hundred years at most."""
    if until == FOREVER:
        return ""
    span = (
        max(_SHORTEST, math.ceil((until - now) * 1000))
        if until - now < _LONGEST_DAYS * 86_400
        else _LONGEST_DAYS * _DAY
    )
    days, rest = divmod(span, _DAY)
    # nft 1.0.6 refuses a number of more than eight digits, so milliseconds alone do not reach two days.
    return f" timeout {days}d{rest // 1000}s{rest % 1000}ms"


def counter(counted: Counted | None) -> str:
    """Give an element's counter as it was; it stands between the address and its timeout."""
    return f" counter packets {counted.packets} bytes {counted.bytes}" if counted else ""


def elements(verb: str, name: SetName, items: Iterable[str]) -> str:
    """Give `add|create|delete element` lines. Each line becomes one netlink message or more, so lines hold many.

    An item begins with its address or network, however the set holds it.
    """
    chunks = iter(items) if name.kind != "p" else (item.replace(f"/{PREFIX}", "", 1) for item in items)
    lines = []
    while chunk := list(itertools.islice(chunks, _CHUNK)):
        lines.append(f"{verb} element {TABLE} {name} {{ {', '.join(chunk)} }}\n")
    return "".join(lines)


def address_items(targets: Mapping[str, float], now: float) -> Iterator[str]:
    """Give the elements of a set of addresses."""
    return (f"{target}{timeout(until, now)}" for target, until in targets.items())


def piece_items(pieces: Iterable[Piece], now: float) -> Iterator[str]:
    """Give the elements of a set of networks; a part of a network names the whole in its comment."""
    for piece in pieces:
        comment = "" if piece.network == piece.stands_for else f' comment "{piece.stands_for}"'
        yield f"{piece.network}{timeout(piece.until, now)}{comment}"


class Counted(NamedTuple):
    """Packets and bytes that matched an element."""

    packets: int
    bytes: int


_NOTHING = Counted(0, 0)


class Listed(NamedTuple):
    """One element as the kernel lists it. `remaining` is in whole seconds, rounded down; infinite without a timeout."""

    name: SetName
    target: str
    remaining: float
    counted: Counted | None = None
    """What was rejected since the element was written; None in a set of an earlier version, which does not count."""


def parse_elements(text: str) -> Iterator[Listed]:
    """Read the elements of our sets from the JSON of `list set` or `list table`; parts of a network as the whole."""
    for item in read_items(text, object_hook=_shrink):
        found = item.get("set")
        name = parse_set_name(found["name"]) if found else None
        if not name:
            continue
        length = f"/{PREFIX}" if name.kind == "p" else ""
        for element in found.get("elem", ()):
            if isinstance(element, str):
                yield Listed(name, element + length, FOREVER)
            elif isinstance(element, tuple) and isinstance(element[0], str):
                yield Listed(name, element[0] + length, *element[1:])


def read_items(text: str, object_hook: Callable[[dict[str, Any]], Any] | None = None) -> list[Any]:
    """Read nft's JSON. Raises `UnreadableError`: of a table that sleeps (`dormant`), nft 1.0.6 prints anything."""
    try:
        items: list[Any] = json.loads(text, object_hook=object_hook)["nftables"]
    except (ValueError, KeyError, TypeError):
        raise UnreadableError(f"nft's answer cannot be read: it begins with {text[:60]!r}") from None
    return items


def _shrink(node: dict[str, Any]) -> Any:
    """Turn each element into a small tuple while it is read: as nested dictionaries, 100,000 of them take 100 MB."""
    if "prefix" in node:
        return f"{node['prefix']['addr']}/{node['prefix']['len']}"
    if "val" in node:
        # An element in its last second has `expires` 0 or none; one without `timeout` never ends.
        remaining = float(node.get("expires", 0)) if "timeout" in node else FOREVER
        return (node.get("comment", node["val"]), remaining, node.get("counter"))
    if "packets" in node:
        # Most have none: those share one.
        return Counted(node["packets"], node["bytes"]) if node["packets"] else _NOTHING
    if isinstance(node.get("elem"), tuple):
        return node["elem"]
    return node


def parse_layout(text: str) -> list[tuple[str, str]]:
    """Read a terse `list ruleset inet`: (what it is, its definition without handle) of our table, sets, chains and rules."""
    layout = []
    for item in read_items(text):
        if "table" in item and item["table"]["name"] == "sipguard":
            layout.append((f"table {TABLE}", json.dumps(item["table"].get("flags"))))
        for kind in ("set", "chain", "rule"):
            if kind in item and item[kind]["table"] == "sipguard":
                definition = {key: value for key, value in item[kind].items() if key not in ("handle", "elem")}
                label = f"{kind} {definition['chain' if kind == 'rule' else 'name']}"
                layout.append((label, json.dumps(definition, sort_keys=True)))
    return layout
