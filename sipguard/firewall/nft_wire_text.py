"""What is said to nft so that the kernel copies SIP packets to us, and holds back whom the meter names: nft(8).

In prerouting behind the bans (-310) and the feeds (-309): what is rejected is not copied. Before connection tracking and address
translation: a packet has its true source, and the port that it came to. In postrouting an answer has its true destination.
"""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, NamedTuple

from sipguard.firewall import nft_text
from sipguard.firewall.nft_names import PREFIX
from sipguard.wire_model import MARK_ALL, MARK_FAILED, MARK_FLUSH, MARK_SENT, MARK_SOURCE, SHORT

if TYPE_CHECKING:
    from collections.abc import Iterable

    from sipguard.wire_model import Meter, Watch

TABLE = "inet sipguard_wire"
LIMITED, HELD_BACK = "limited", "held_back"
"""Counters."""
PER_SOURCE, BURST = 100, 200
"""Packets per second of one address (IPv6: one /64) that are copied, and at once."""
SEGMENTS = 4
"""As many times that of TCP: a message takes several segments, and each is acknowledged."""
AT_ONCE = 200
"""Failing answers per second that wake us up each for itself; of more, each waits for some milliseconds."""
PIECES = 0.4
"""Share of the rate that fragments may take: they come for all ports."""
WHOLE = 65_531
"""The largest packet that NFLOG copies."""
_ANSWERS = 2
"""The server's answers may be as many times the rate: their number is bounded by the server, and they hold the nonces."""
_SIZE = 65_536
_MASK = "ffff:ffff:ffff:ffff::"
MOST_REQUESTS = 10_000
"""A limit's tokens times a week must fit the kernel's 64 bits."""


class Kind(NamedTuple):
    """One kind of address that sets hold: its part of the sets' names, its type, and how a packet's source is looked up."""

    suffix: str
    type: str
    source: str


KINDS = (
    Kind("4", "ipv4_addr", "ip saddr"),
    Kind("6", "ipv6_addr", "ip6 saddr"),
    Kind("64", "ipv6_addr", f"ip6 saddr & {_MASK}"),
)
"""Addresses of either family, and IPv6 networks of /64."""
METERS = ("shut", "held")
"""Sets of who is metered: who gets no more requests, and who gets a few."""
_BY_SOURCE = (KINDS[0], KINDS[2])
"""What limits count by: an attacker has a whole /64."""


def script(watch: Watch) -> str:
    """Make the table, or its rules anew; what is in its sets stays."""
    chains = _chains(watch)
    hooks = {
        "requests": " { type filter hook prerouting priority -308; policy accept; }",
        "answers": " { type filter hook postrouting priority 300; policy accept; }",
    }
    return "\n".join(
        [
            f"add table {TABLE} {{ }}",  # the braces wake a table that somebody has put to sleep
            *(f"add counter {TABLE} {name}" for name in (LIMITED, HELD_BACK)),
            *(f"add set {TABLE} {definition}" for definition in _sets()),
            *(f"add chain {TABLE} {name}{hooks.get(name, '')}" for name in chains),
            *(f"flush chain {TABLE} {name}" for name in chains),
            *(f"add rule {TABLE} {name} {rule}" for name, rules in chains.items() for rule in rules),
            "",
        ]
    )


def _chains(watch: Watch) -> dict[str, list[str]]:
    """The rules of each chain."""
    ports = ", ".join(str(first) if first == last else f"{first}-{last}" for first, last in watch.ports)
    return {
        "held": _held(),
        "many": [f"counter name {LIMITED}", *_told_once(watch.requests)],
        "many_tcp": [f"counter name {LIMITED}", *_told_once(watch.streams)],
        **{f"full_{name}": _full(group) for name, group in _groups(watch).items()},
        "pieces": [
            "fib daddr type != local return",
            *_copied(watch.requests, int(watch.rate * PIECES), "full_requests"),
        ],
        "udp_in": [
            "@th,64,32 0x5349502f return",  # `SIP/`: an answer to us
            "fib daddr type != local return",
            *_known_copied(watch),
            "jump held",
            *_limited_by_source("sources", "many", 1),
            *_copied(watch.requests, watch.rate, "full_requests"),
        ],
        "tcp_in": [
            "tcp flags & (syn | ack) == syn return",
            "fib daddr type != local return",
            *_limited_by_source("clients", "many_tcp", SEGMENTS),
            *_copied(watch.streams, watch.rate, "full_streams"),
        ],
        "udp_out": [
            f"limit rate over {_ANSWERS * watch.rate}/second burst {_ANSWERS * watch.rate} packets goto full_answers",
            # A failing answer at once: all else may wait for more to come, and failing ones too while there are many.
            f"@th,128,8 {{ 0x34, 0x35, 0x36 }} limit rate {AT_ONCE}/second burst {AT_ONCE} packets goto failed",
            f"log group {watch.answers} snaplen {WHOLE}",
        ],
        "failed": [
            f'log prefix "{MARK_FLUSH}" group {watch.requests} snaplen {SHORT} queue-threshold 1',
            f'log prefix "{MARK_FAILED}" group {watch.answers} snaplen {WHOLE} queue-threshold 1',
        ],
        "tcp_out": [
            f"limit rate over {_ANSWERS * watch.rate}/second burst {_ANSWERS * watch.rate} packets goto full_streams",
            f'tcp flags & psh == psh log prefix "{MARK_SENT}" group {watch.streams} snaplen {WHOLE} queue-threshold 1 return',
            f'log prefix "{MARK_SENT}" group {watch.streams} snaplen {WHOLE}',
        ],
        "requests": [
            'iifname "lo" return',
            f"meta l4proto udp th dport {{ {ports} }} goto udp_in",
            f"meta l4proto tcp th dport {{ {ports} }} goto tcp_in",
            "ip frag-off & 0x1fff != 0 goto pieces",  # all but the first: they name no port
            "frag frag-off != 0 goto pieces",
        ],
        "answers": [
            'oifname "lo" return',
            f"meta l4proto udp th sport {{ {ports} }} @th,64,32 0x5349502f @th,128,8 != 0x31 goto udp_out",
            f"meta l4proto tcp th sport {{ {ports} }} goto tcp_out",
        ],
    }


def _groups(watch: Watch) -> dict[str, int]:
    return {"requests": watch.requests, "answers": watch.answers, "streams": watch.streams}


def _sets() -> Iterable[str]:
    for kind in _BY_SOURCE:
        for name in ("sources", "clients", "told"):
            yield (f"{name}{kind.suffix} {{ type {kind.type}; flags dynamic, timeout; size {_SIZE}; timeout 10s; }}")
    for kind in KINDS:
        held = "limit rate over 1/week burst 5 packets"
        yield f"held{kind.suffix} {{ type {kind.type}; flags dynamic, timeout; size {_SIZE}; {held}; }}"
        yield f"shut{kind.suffix} {{ type {kind.type}; flags timeout; size {_SIZE}; }}"
    for kind in KINDS[:2]:
        yield f"known{kind.suffix} {{ type {kind.type} . inet_service; flags timeout; size {_SIZE}; }}"


def _held() -> list[str]:
    """The meter: an element's own limit lets its few packets through, and matches from then on. No limit lets none through."""
    known = [f"{kind.source} . th sport @known{kind.suffix} return" for kind in KINDS[:2]]
    held = [f"{kind.source} @{name}{kind.suffix}" for kind in KINDS for name in METERS]
    return [*known, *(f"{one} counter name {HELD_BACK} drop" for one in held)]


def _known_copied(watch: Watch) -> list[str]:
    """Of known flows half of the rate is read: packets in their names, which the meter lets through, must not blind us."""
    limit = f"limit rate {watch.rate // 2}/second burst {watch.rate // 2} packets"
    log = f"log group {watch.requests} snaplen {WHOLE}"
    return [f"{kind.source} . th sport @known{kind.suffix} {limit} {log} return" for kind in KINDS[:2]]


def _limited_by_source(name: str, full: str, times: int) -> list[str]:
    limit = f"limit rate over {times * PER_SOURCE}/second burst {times * BURST} packets"
    return [f"update @{name}{kind.suffix} {{ {kind.source} {limit} }} goto {full}" for kind in _BY_SOURCE]


def _told_once(group: int) -> list[str]:
    """Name an address of which more came than is copied, once a second."""
    log = f'log prefix "{MARK_SOURCE}" group {group} snaplen {SHORT} queue-threshold 1'
    return [
        f"update @told{kind.suffix} {{ {kind.source} limit rate 1/second burst 1 packets }} "
        f"limit rate {PER_SOURCE}/second burst {PER_SOURCE} packets {log}"
        for kind in _BY_SOURCE
    ]


def _copied(group: int, rate: int, full: str) -> list[str]:
    return [f"limit rate over {rate}/second burst {rate} packets goto {full}", f"log group {group} snaplen {WHOLE}"]


def _full(group: int) -> list[str]:
    log = f'log prefix "{MARK_ALL}" group {group} snaplen {SHORT} queue-threshold 1'
    return [f"counter name {LIMITED}", f"limit rate 2/second burst 2 packets {log}"]


def meter_script(meters: Iterable[Meter], now: float) -> str:
    """Meter these addresses. One that is metered already goes on as it was."""
    lines = []
    for one in meters:
        address, kind = set_of(one.address)
        time = nft_text.timeout(one.until, now)
        few = f" limit rate over 1/week burst {min(one.requests, MOST_REQUESTS)} packets" if one.requests else ""
        lines.append(f"add element {TABLE} {'held' if few else 'shut'}{kind} {{ {address}{few}{time} }}\n")
        lines.append(flows_script([one], now))
    return "".join(lines)


def flows_script(meters: Iterable[Meter], now: float) -> str:
    """Let the known flows of these through until their meters end."""
    lines = []
    for one in meters:
        if not one.flows:
            continue
        known = f"element {TABLE} known{'6' if ':' in one.address else '4'}"
        time = nft_text.timeout(one.until, now)
        items = [f"{source} . {port}" for source, port in one.flows]
        for item in items:  # anew where it is there: its time is another
            lines += [f"add {known} {{ {item} }}\n", f"delete {known} {{ {item} }}\n"]
        lines.append(f"add {known} {{ {', '.join(f'{item}{time}' for item in items)} }}\n")
    return "".join(lines)


def unmeter_script(addresses: Iterable[str]) -> str:
    """Meter these no more. To add one first makes sure that the deletion finds it."""
    lines = []
    for text in addresses:
        address, kind = set_of(text)
        for name, few in zip(METERS, ("", " limit rate over 1/week burst 1 packets"), strict=True):
            element = f"element {TABLE} {name}{kind} {{ {address}"
            lines += [f"add {element}{few} }}\n", f"delete {element} }}\n"]
    return "".join(lines)


def set_of(address: str) -> tuple[str, str]:
    """How a canonical address, or an IPv6 network of /64, stands in its set, and that set's suffix."""
    bare, _, length = address.partition("/")
    if length:
        return bare, "64" if length == str(PREFIX) else ""
    return bare, "6" if ":" in address else "4"


def remaining(element: object) -> tuple[str, float] | None:
    """Address and seconds that are left of an element as nft's JSON has it; None for what is none."""
    if not isinstance(element, dict) or "elem" not in element:
        return None
    inner = element["elem"]
    return str(inner["val"]), float(inner.get("expires", 0)) if "timeout" in inner else math.inf
