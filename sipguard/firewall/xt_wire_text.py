"""What is said to iptables and ip6tables so that the kernel copies SIP packets to us: iptables-extensions(8), NFLOG.

Requests in `raw` PREROUTING, before address translation, answers in `mangle` POSTROUTING. What `nft_wire_text` says, in this
language. A rule with `-g` ends the chain that it stands in.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from sipguard.firewall.ipset_text import port_lists
from sipguard.model import PortRange
from sipguard.wire_model import MARK_ALL, MARK_FAILED, MARK_FLUSH, MARK_SENT, MARK_SOURCE, SHORT

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

    from sipguard.firewall.nft_names import Family
    from sipguard.wire_model import Watch

PER_SOURCE, BURST, AT_ONCE = 100, 200, 200
SEGMENTS = 4
PIECES = 0.4
WHOLE = 65_531
_MOST = 10_000
"""Packets per second, and burst, that the match `limit` can count."""
BIG = 1 << 40
"""Count of packets at which a metered address is held back: each begins as many below as it may still send."""
_UDP_PAYLOAD = {"4": 28, "6": 48}
"""Where it begins in a packet without options."""
_PIECE = {"4": "-f", "6": "-m ipv6header --soft --header frag"}


def chains(watch: Watch, name: str, family: Family, *, meter: bool) -> dict[str, dict[str, list[str]]]:
    """Table → chain → rules. The first chain of each table is the one to jump to."""
    begin = _UDP_PAYLOAD[family]
    sip = _text(begin, "SIP/2.0 ")
    ports = list(port_lists(PortRange(first, last) for first, last in watch.ports))
    mask = "" if family == "4" else " --hashlimit-srcmask 64"
    fragments = int(watch.rate * PIECES)
    requests = {
        name: [
            "-i lo -j RETURN",
            *(f"-p {kind} -m multiport --dports {one} -j {name}-{kind}" for kind in ("udp", "tcp") for one in ports),
            f"{_PIECE[family]} -m addrtype --dst-type LOCAL -m limit --limit {fragments}/sec --limit-burst {fragments} "
            f"-g {name}-req",
            f"{_PIECE[family]} -m addrtype --dst-type LOCAL -j {name}-full",
        ],
        f"{name}-udp": [
            f"{sip} -j RETURN",
            "-m addrtype ! --dst-type LOCAL -j RETURN",
            *(_held(watch, name, family) if meter else ()),
            f"{_above('req', mask, 1)} -g {name}-many",
            *_limited(watch.rate, f"{name}-req", f"{name}-full"),
        ],
        f"{name}-tcp": [
            "-p tcp -m tcp --tcp-flags SYN,ACK SYN -j RETURN",
            "-m addrtype ! --dst-type LOCAL -j RETURN",
            f"{_above('tcp', mask, SEGMENTS)} -g {name}-manyt",
            *_limited(watch.rate, f"{name}-str", f"{name}-fullt"),
        ],
        f"{name}-req": [_log(watch.requests)],
        f"{name}-str": [_log(watch.streams)],
        f"{name}-many": [_told(watch.requests, mask)],
        f"{name}-manyt": [_told(watch.streams, mask)],
        f"{name}-full": [_full(watch.requests)],
        f"{name}-fullt": [_full(watch.streams)],
    }
    return {"raw": requests, "mangle": _answers(watch, name, begin, ports)}


def _answers(watch: Watch, name: str, begin: int, ports: list[str]) -> dict[str, list[str]]:
    """The chains for what goes out."""
    sip = _text(begin, "SIP/2.0 ")
    failing = [_text(begin, f"SIP/2.0 {digit}") for digit in "456"]
    return {
        name: [
            "-o lo -j RETURN",
            *(f"-p {kind} -m multiport --sports {one} -j {name}-{kind}" for kind in ("udp", "tcp") for one in ports),
        ],
        f"{name}-udp": [
            f"{_text(begin, 'SIP/2.0 1')} -j RETURN",
            f"{sip.replace('--string', '! --string')} -j RETURN",
            *_limited(2 * watch.rate, f"{name}-ans", f"{name}-full"),
        ],
        f"{name}-tcp": _limited(2 * watch.rate, f"{name}-str", f"{name}-fullt"),
        f"{name}-ans": [
            *(f"{one} -m limit --limit {AT_ONCE}/sec --limit-burst {AT_ONCE} -g {name}-fail" for one in failing),
            _log(watch.answers),
        ],
        f"{name}-fail": [
            f"{_log(watch.requests, MARK_FLUSH, SHORT)} --nflog-threshold 1",
            f"{_log(watch.answers, MARK_FAILED)} --nflog-threshold 1",
        ],
        f"{name}-str": [
            f"-p tcp -m tcp --tcp-flags PSH PSH {_log(watch.streams, MARK_SENT)} --nflog-threshold 1",
            f"-p tcp -m tcp ! --tcp-flags PSH PSH {_log(watch.streams, MARK_SENT)}",
        ],
        f"{name}-full": [_full(watch.answers)],
        f"{name}-fullt": [_full(watch.streams)],
    }


def _text(begin: int, text: str) -> str:
    """Matches packets that have this text at this place."""
    return f'-m string --algo bm --from {begin} --to {begin + len(text)} --string "{text}"'


def _log(group: int, mark: str = "", size: int = WHOLE) -> str:
    prefix = f"--nflog-prefix {mark} " if mark else ""
    return f"-j NFLOG {prefix}--nflog-group {group} --nflog-size {size}"


def _limited(rate: int, log: str, full: str) -> list[str]:
    rate = min(rate, _MOST)
    return [f"-m limit --limit {rate}/sec --limit-burst {rate} -g {log}", f"-g {full}"]


def _above(name: str, mask: str, times: int) -> str:
    return (
        f"-m hashlimit --hashlimit-above {times * PER_SOURCE}/sec --hashlimit-burst {times * BURST} "
        f"--hashlimit-mode srcip{mask} "
        f"--hashlimit-name sipguard_{name} --hashlimit-htable-max 65536 --hashlimit-htable-expire 10000"
    )


def _told(group: int, mask: str) -> str:
    return (
        f"-m hashlimit --hashlimit-upto 1/sec --hashlimit-burst 1 --hashlimit-mode srcip{mask} --hashlimit-name "
        f"sipguard_told --hashlimit-htable-max 65536 --hashlimit-htable-expire 10000 -m limit --limit {PER_SOURCE}/sec "
        f"--limit-burst {PER_SOURCE} {_log(group, MARK_SOURCE, SHORT)} --nflog-threshold 1"
    )


def _full(group: int) -> str:
    return f"-m limit --limit 2/sec --limit-burst 2 {_log(group, MARK_ALL, SHORT)} --nflog-threshold 1"


def sets(family: Family) -> dict[str, str]:
    """Name → properties of the meter's sets: who is held back, and which flows pass freely."""
    if family == "4":
        return {
            "sg_wire_held4": "hash:ip family inet timeout 0 counters",
            "sg_wire_known4": "hash:ip,port family inet timeout 0",
        }
    return {
        "sg_wire_held6": "hash:ip family inet6 timeout 0 counters",
        "sg_wire_held64": "hash:ip family inet6 netmask 64 timeout 0 counters",
        "sg_wire_known6": "hash:ip,port family inet6 timeout 0",
    }


def _held(watch: Watch, name: str, family: Family) -> Iterator[str]:
    rate = min(watch.rate // 2, _MOST)
    flows = f"-m set --match-set sg_wire_known{family} src,src"
    yield f"{flows} -m limit --limit {rate}/sec --limit-burst {rate} -g {name}-req"
    known = flows.replace("--match-set", "! --match-set")
    for kind in ("4",) if family == "4" else ("6", "64"):
        yield f"{known} -m set --match-set sg_wire_held{kind} src --packets-gt {BIG} -j DROP"


def script(tables: dict[str, dict[str, list[str]]], unhook: Iterable[str], hook: dict[str, str]) -> str:
    """Make these chains anew, and jump to the first of each table from `hook` (table → line that inserts the jump)."""
    lines = []
    for table, found in tables.items():
        lines += [f"*{table}", *(f":{name} - [0:0]" for name in found)]
        lines += [f"-A {name} {rule}" for name, rules in found.items() for rule in rules]
        lines += [line for line in unhook if line.startswith(f"{table} ")]
        lines += [hook[table]] if table in hook else []
        lines.append("COMMIT")
    return "\n".join(line.split(" ", 1)[1] if line.startswith(("raw ", "mangle ")) else line for line in lines) + "\n"
