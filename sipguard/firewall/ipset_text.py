"""Commands for ipset and iptables as text, and parsers of ipset's output: ipset(8), iptables-extensions(8)."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, NamedTuple

from sipguard.firewall.xt_names import XtSet, parse_set, set_owner
from sipguard.model import FOREVER, PortRange, RejectWith, Rule

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Sequence

    from sipguard.firewall.nft_names import Family
    from sipguard.firewall.targets import Network, Target

HEAVY_RATE, HEAVY_BURST, HEAVY_MOST, HEAVY_EXPIRES = 20, 50, 65_536, 10_000
"""Limit on rejections for one banned address: packets per second, and burst. Most addresses counted; milliseconds until an
idle one is forgotten."""
LONGEST = 2_147_483
"""Longest timeout of an element in seconds; ipset refuses longer ones."""
_MULTIPORT = 15
"""Most ports in one rule; a range counts as two (iptables-extensions(8), multiport)."""
_ABOVE = (
    f"-m hashlimit --hashlimit-above {HEAVY_RATE}/sec --hashlimit-burst {HEAVY_BURST} --hashlimit-mode srcip "
    f"--hashlimit-name sipguard_heavy --hashlimit-htable-max {HEAVY_MOST} --hashlimit-htable-expire {HEAVY_EXPIRES}"
)
HEAVY: dict[str, str] = {"4": _ABOVE, "6": f"{_ABOVE} --hashlimit-srcmask 64"}
"""Family → match for the packets of a banned address (IPv6: its /64) above that limit. All sets of a family share one table."""
_FAMILIES: tuple[Family, Family] = ("4", "6")
ICMP_NAMES: dict[str, dict[str, str]] = {
    "4": {
        "port-unreachable": "icmp-port-unreachable",
        "host-unreachable": "icmp-host-unreachable",
        "admin-prohibited": "icmp-admin-prohibited",
    },
    "6": {
        "port-unreachable": "icmp6-port-unreachable",
        "host-unreachable": "icmp6-addr-unreachable",
        "admin-prohibited": "icmp6-adm-prohibited",
    },
}


def set_names(jail: str) -> list[XtSet]:
    """The four sets of a jail: addresses and networks, each for IPv4 and IPv6."""
    owner = set_owner(jail)
    return [XtSet(kind, family, owner) for kind in ("a", "n") for family in _FAMILIES]


def create(name: XtSet | str, *, family: Family, networks: bool, size: int, counts: bool = False) -> str:
    """The command that creates a set; it succeeds too if the set exists with the same properties.

    `counts`: the set counts the packets that each element matches.
    """
    kind = "hash:net" if networks else "hash:ip"
    inet = "inet" if family == "4" else "inet6"
    return f"create {name} {kind} family {inet} timeout 0 maxelem {size}{' counters' if counts else ''} -exist\n"


def timeout(until: float, now: float) -> int:
    """An element's timeout in whole seconds, rounded up, and at most `LONGEST`; 0 is for ever."""
    return 0 if until == FOREVER else int(min(max(1, math.ceil(until - now)), LONGEST))


def element(target: Target | Network) -> list[str]:
    """The elements for an address or network. hash:net cannot hold a /0, so a /0 becomes its two halves."""
    if str(target).endswith("/0") and not isinstance(target, int):
        return ["0.0.0.0/1", "128.0.0.0/1"] if target.version == 4 else ["::/1", "8000::/1"]
    return [str(target)]


class Header(NamedTuple):
    """A set as `ipset list -terse` describes it. `elements` includes those that have just expired."""

    name: XtSet
    size: int
    elements: int
    counts: bool = False
    """The set counts packets. Sets that an earlier version made do not."""


def parse_headers(text: str) -> Iterator[Header]:
    """Parse the output of `ipset list -terse`; other programs' sets are skipped."""
    name, size, counts = None, 0, False
    for line in text.splitlines():
        key, _, value = line.partition(": ")
        if key == "Name":
            name = parse_set(value)
        elif key == "Header" and name:
            words = value.split()
            counts = "counters" in words
            size = int(words[words.index("maxelem") + 1]) if "maxelem" in words else 0
        elif key == "Number of entries" and name:
            yield Header(name, size, int(value), counts)


class Element(NamedTuple):
    """One element as `ipset save` writes it. `remaining` is in whole seconds; infinite if the element never expires."""

    target: str
    remaining: float
    packets: int | None = None
    """Packets rejected since the element was added; None if the set does not count."""


def parse_elements(text: str) -> Iterator[Element]:
    """Parse lines `add NAME ADDRESS timeout N [packets N bytes N]`; the two halves of a /0 become one element again."""
    halves: dict[str, tuple[float, int | None]] = {}
    for line in text.splitlines():
        words = line.split()
        if len(words) >= 5 and words[0] == "add" and words[3] == "timeout":
            remaining = float(words[4]) or FOREVER
            packets = int(words[6]) if words[5:6] == ["packets"] else None
            if words[2] in ("0.0.0.0/1", "128.0.0.0/1", "::/1", "8000::/1"):
                halves[words[2]] = remaining, packets
            else:
                yield Element(words[2], remaining, packets)
    for one, other, whole in (("0.0.0.0/1", "128.0.0.0/1", "0.0.0.0/0"), ("::/1", "8000::/1", "::/0")):
        if one in halves and other in halves:
            (first, seen), (second, also) = halves.pop(one), halves.pop(other)
            yield Element(whole, min(first, second), None if seen is None or also is None else seen + also)
    yield from (Element(target, *rest) for target, rest in halves.items())


def jail_rules(rules: Sequence[Rule], family: Family, reject_with: RejectWith, *, heavy: bool = False) -> list[str]:
    """The rules of our chain. Each tests the jail's ports before its sets: media packets are let go at the cheaper test.

    `heavy`: packets above `HEAVY_RATE` are dropped instead of rejected.
    """
    lines = []
    for rule in rules:
        names = [name for name in set_names(rule.jail) if name.family == family]
        for protocol, match in _matches(rule):
            lines += [
                line
                for name in names
                for line in set_rules(name, rule.verdict, reject_with, protocol=protocol, match=match, heavy=heavy)
            ]
    return lines


def set_rules(
    name: XtSet, verdict: str, reject_with: RejectWith, *, protocol: str = "", match: str = "", heavy: bool = False
) -> Iterator[str]:
    """The rules that reject the addresses of one set: TCP with a reset, other protocols with an ICMP error."""
    looked_up = f"-m set --match-set {name} src"
    if verdict == "drop":
        yield f"{match}{looked_up} -j DROP"
        return
    if heavy:
        yield f"{match}{looked_up} {HEAVY[name.family]} -j DROP"
        looked_up += " ! --update-counters"  # the rule above has counted the packet
    if protocol in ("", "tcp"):
        tcp = match or "-p tcp "
        yield f"{tcp}{looked_up} -j REJECT --reject-with tcp-reset"
    if protocol != "tcp":
        yield f"{match}{looked_up} -j REJECT --reject-with {ICMP_NAMES[name.family][reject_with]}"


def _matches(rule: Rule) -> Iterator[tuple[str, str]]:
    """(protocol, match) for each rule that a jail needs; both are empty if the jail rejects all traffic."""
    for protocol in rule.protocols or (("tcp", "udp", "sctp", "dccp") if rule.ports else ("",)):
        match = f"-p {protocol} " if protocol else ""
        if not rule.ports:
            yield protocol, match
        for ports in port_lists(rule.ports):
            yield protocol, f"{match}-m multiport --dports {ports} "


def port_lists(ports: Iterable[PortRange]) -> Iterator[str]:
    """Port lists for multiport, each within its limit of `_MULTIPORT` ports."""
    words: list[str] = []
    room = _MULTIPORT
    for port in ports:
        cost = 1 if port.first == port.last else 2
        if cost > room:
            yield ",".join(words)
            words, room = [], _MULTIPORT
        words.append(str(port.first) if cost == 1 else f"{port.first}:{port.last}")
        room -= cost
    if words:
        yield ",".join(words)
