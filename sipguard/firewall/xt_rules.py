"""Rules of iptables in the form in which iptables-nft gives them to nf_tables, read and written without iptables.

Sources: linux/netfilter/nf_tables.h, nf_tables_compat.h, xt_multiport.h, xt_set.h, linux/netfilter_ipv4/ipt_REJECT.h,
linux/netfilter_ipv6/ip6t_REJECT.h, and what iptables 1.8.9 sends. Only what sipguard's own rules say is known here; of a rule
of others it can be told where it leads, and which sets it looks into.
"""

from __future__ import annotations

import re
import struct
import sys
from typing import TYPE_CHECKING

from sipguard.firewall import ipset_text
from sipguard.netlink import attribute, attributes, first

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    from sipguard.firewall.nft_names import Family

_RULE = re.compile(
    r"(?:-p (?P<protocol>\S+) )?(?:-m multiport --dports (?P<ports>\S+) )?(?:-m set --match-set (?P<set>\S+) src )?"
    r"(?P<uncounted>! --update-counters )?(?P<heavy>-m hashlimit --hashlimit-above \S.*? )?"
    r"-j (?P<target>\S+)(?: --reject-with (?P<answer>\S+))?"
)
_PROTOCOLS = {"tcp": 6, "udp": 17, "dccp": 33, "sctp": 132}
_ANSWERS: dict[str, dict[str, int]] = {
    "4": {
        "icmp-net-unreachable": 0,
        "icmp-host-unreachable": 1,
        "icmp-proto-unreachable": 2,
        "icmp-port-unreachable": 3,
        "icmp-net-prohibited": 5,
        "icmp-host-prohibited": 6,
        "tcp-reset": 7,
        "icmp-admin-prohibited": 8,
    },
    "6": {
        "icmp6-no-route": 0,
        "icmp6-adm-prohibited": 1,
        "icmp6-addr-unreachable": 3,
        "icmp6-port-unreachable": 4,
        "tcp-reset": 6,
    },
}
"""What REJECT may answer: enum ipt_reject_with, enum ip6t_reject_with."""
_VERDICTS = {"DROP": 0, "ACCEPT": 1, "RETURN": 0xFFFFFFFB}
_JUMP, _GOTO = 0xFFFFFFFD, 0xFFFFFFFC

_EXPRESSIONS, _COMPAT = 4, 5  # NFTA_RULE_…
_LIST_ELEMENT, _EXPR_NAME, _EXPR_DATA = 1, 1, 2
_META_REGISTER, _META_KEY, _L4PROTO = 1, 2, struct.pack(">I", 16)
_PROTOCOL_FIELD = b"".join(
    attribute(kind, struct.pack(">I", value)) for kind, value in ((1, 1), (2, 1), (3, 9), (4, 1))
)
"""NFTA_PAYLOAD_…: into register 1, of the IPv4 header, at byte 9, one byte: how iptables 1.8.10 and later ask for it."""
_CMP_REGISTER, _CMP_OPERATOR, _CMP_DATA, _EQUAL = 1, 2, 3, struct.pack(">I", 0)
_IMMEDIATE_REGISTER, _IMMEDIATE_DATA = 1, 2
_DATA_VALUE, _DATA_VERDICT, _VERDICT_CODE, _VERDICT_CHAIN = 1, 2, 1, 2
_EXTENSION_NAME, _EXTENSION_REVISION, _EXTENSION_INFO = 1, 2, 3  # of a match and of a target

_MULTIPORT = struct.Struct("=BB15H15BB")
"""struct xt_multiport_v1: flags, count, ports, whether a range begins there, inverted."""
_DESTINATION, _MOST_PORTS = 1, 15
_SET = struct.Struct("=HBB36xI4x")
"""struct xt_set_info_match_v4: index, dimensions, flags; the conditions on counters, which no rule of ours has; flags."""
_UNCOUNTED = 1 << 3
"""IPSET_FLAG_SKIP_COUNTER_UPDATE."""
_SOURCE = 1, 2
"""Dimensions and flags for `src`: one, and IPSET_SRC shifted by its number."""
_HASHLIMIT = struct.Struct("=255sxQQIIIIIIBB6x8x")
"""struct xt_hashlimit_mtinfo3: name; rate, burst, mode, buckets, elements, milliseconds between collections and of an idle
element, interval, bits of source and destination; what the kernel keeps for itself."""
_SCALE, _BY_SOURCE, _ABOVE = 1_000_000, 1 << 2, 1 << 4
"""XT_HASHLIMIT_SCALE_v2, XT_HASHLIMIT_HASH_SIP, XT_HASHLIMIT_INVERT."""
_COLLECTED = 1000
_MULTIPORT_REVISION, _SET_REVISION, _HASHLIMIT_REVISION = 1, 4, 3


def encode(rule: str, family: Family, sets: Mapping[str, int]) -> bytes:
    """Give the attributes that make this rule (`[-p P] [-m multiport …] [-m set …] -j …`). `sets` has each set's index.

    Raises `KeyError` for a set that is not there, `ValueError` for a rule such as sipguard does not make.
    """
    match = _RULE.fullmatch(rule)
    if not match:
        raise ValueError(f"no rule of sipguard's: {rule}")
    parts: list[bytes] = []
    protocol = 0
    if match["protocol"]:
        protocol = _PROTOCOLS[match["protocol"]]
        parts += _protocol(protocol)
    if match["ports"]:
        parts.append(_extension(b"match", b"multiport", _MULTIPORT_REVISION, multiport(match["ports"])))
    if match["set"]:
        parts.append(
            _extension(b"match", b"set", _SET_REVISION, _look(sets[match["set"]], counts=not match["uncounted"]))
        )
    if match["heavy"]:
        if match["heavy"].rstrip() != ipset_text.HEAVY[family]:
            raise ValueError(f"no rule of sipguard's: {rule}")
        parts.append(_extension(b"match", b"hashlimit", _HASHLIMIT_REVISION, _heavy(family)))
    parts.append(_expression(b"counter", attribute(1, bytes(8)) + attribute(2, bytes(8))))
    if match["target"] == "REJECT":
        answer = struct.pack("=I4x", _ANSWERS[family][match["answer"]])
        parts.append(_extension(b"target", b"REJECT", 0, answer))
    else:
        parts.append(_verdict(match["target"]))
    made = attribute(_EXPRESSIONS, b"".join(parts), nested=True)
    if protocol:  # what multiport and REJECT want to know before they let themselves be used
        made += attribute(_COMPAT, attribute(1, _u32(protocol)) + attribute(2, _u32(0)), nested=True)
    return made


def decode(body: bytes, family: Family, sets: Mapping[int, str]) -> str:
    """Give a rule from its attributes as iptables -S writes it; what is not known here stands in brackets."""
    words: list[str] = []
    loaded = False
    for _, expression in attributes(first(body, _EXPRESSIONS)):
        name = first(expression, _EXPR_NAME).rstrip(b"\0")
        data = first(expression, _EXPR_DATA)
        if (name == b"meta" and first(data, _META_KEY) == _L4PROTO) or (name == b"payload" and data == _PROTOCOL_FIELD):
            loaded = True
            continue
        if name == b"cmp" and loaded:
            words.append(_read_protocol(data))
        elif name in (b"match", b"target"):
            words.append(_read_extension(data, family, sets))
        elif name == b"immediate":
            words.append(_read_verdict(data))
        elif name != b"counter":
            words.append(f"[{name.decode('ascii', 'replace')}]")
        loaded = False
    return " ".join(words)


def _u32(number: int) -> bytes:
    return struct.pack(">I", number)


def _expression(name: bytes, data: bytes) -> bytes:
    inner = attribute(_EXPR_NAME, name + b"\0") + attribute(_EXPR_DATA, data, nested=True)
    return attribute(_LIST_ELEMENT, inner, nested=True)


def _extension(kind: bytes, name: bytes, revision: int, info: bytes) -> bytes:
    """A match or target of x_tables, which nf_tables calls by way of nft_compat."""
    data = attribute(_EXTENSION_NAME, name + b"\0") + attribute(_EXTENSION_REVISION, _u32(revision))
    return _expression(kind, data + attribute(_EXTENSION_INFO, info))


def _protocol(number: int) -> Iterator[bytes]:
    """Load the packet's protocol into a register and compare it."""
    yield _expression(b"meta", attribute(_META_KEY, _L4PROTO) + attribute(_META_REGISTER, _u32(1)))
    value = attribute(_CMP_DATA, attribute(_DATA_VALUE, bytes([number])), nested=True)
    yield _expression(b"cmp", attribute(_CMP_REGISTER, _u32(1)) + attribute(_CMP_OPERATOR, _EQUAL) + value)


def _read_protocol(data: bytes) -> str:
    number = first(first(data, _CMP_DATA), _DATA_VALUE)
    names = [name for name, known in _PROTOCOLS.items() if bytes([known]) == number]
    return f"-p {names[0]}" if names and first(data, _CMP_OPERATOR) == _EQUAL else "[cmp]"


def multiport(text: str) -> bytes:
    """What the match multiport wants to know for `80,5060:5061`, as destination ports."""
    ports, begins = [], []
    for word in text.split(","):
        numbers = [int(number) for number in word.split(":")]
        ports += numbers
        begins += [1, 0] if len(numbers) == 2 else [0]
    padding = [0] * (_MOST_PORTS - len(ports))
    return _MULTIPORT.pack(_DESTINATION, len(ports), *ports, *padding, *begins, *padding, 0)


def _look(index: int, *, counts: bool = True) -> bytes:
    """The match of a packet's source with a set."""
    return _SET.pack(index, *_SOURCE, 0 if counts else _UNCOUNTED)


def _heavy(family: Family) -> bytes:
    """The match `ipset_text.HEAVY`."""
    bits = (32, 32) if family == "4" else (64, 128)
    rate = _SCALE // ipset_text.HEAVY_RATE
    counted = (rate, ipset_text.HEAVY_BURST, _BY_SOURCE | _ABOVE, 0, ipset_text.HEAVY_MOST, _COLLECTED)
    return _HASHLIMIT.pack(b"sipguard_heavy", *counted, ipset_text.HEAVY_EXPIRES, 0, *bits)


def _read_multiport(info: bytes) -> str:
    kind, count, *rest, inverted = _MULTIPORT.unpack(info)
    ports, begins = rest[:count], rest[_MOST_PORTS:][:count]
    if kind != _DESTINATION or inverted:
        return "[multiport]"
    text = "".join(f"{port}{':' if begin else ','}" for port, begin in zip(ports, begins, strict=True))
    return f"-m multiport --dports {text[:-1]}"


def _read_extension(data: bytes, family: Family, sets: Mapping[int, str]) -> str:
    name = first(data, _EXTENSION_NAME).rstrip(b"\0").decode("ascii", "replace")
    revision = int.from_bytes(first(data, _EXTENSION_REVISION), "big")
    info = first(data, _EXTENSION_INFO)
    if (name, revision, len(info)) == ("multiport", _MULTIPORT_REVISION, _MULTIPORT.size):
        return _read_multiport(info)
    if name == "hashlimit" and info[: _HASHLIMIT.size] == _heavy(family):
        return ipset_text.HEAVY[family]
    if name == "set" and len(info) >= 2:
        index = int.from_bytes(info[:2], sys.byteorder)
        forms = {_look(index): "src", _look(index, counts=False): "src ! --update-counters"}
        form = forms.get(info) if revision == _SET_REVISION else None
        return f"-m set --match-set {sets.get(index, '?')} {form or '[set]'}"
    if name == "REJECT" and len(info) >= 4:
        number = int.from_bytes(info[:4], sys.byteorder)
        answers = [answer for answer, known in _ANSWERS[family].items() if known == number]
        return f"-j REJECT --reject-with {answers[0] if answers else number}"
    return f"[{name}]"


def _verdict(target: str) -> bytes:
    inner = attribute(_VERDICT_CODE, _u32(_VERDICTS.get(target, _JUMP)))
    if target not in _VERDICTS:
        inner += attribute(_VERDICT_CHAIN, target.encode("ascii") + b"\0")
    value = attribute(_IMMEDIATE_DATA, attribute(_DATA_VERDICT, inner, nested=True), nested=True)
    return _expression(b"immediate", attribute(_IMMEDIATE_REGISTER, _u32(0)) + value)


def _read_verdict(data: bytes) -> str:
    verdict = first(first(data, _IMMEDIATE_DATA), _DATA_VERDICT)
    code = int.from_bytes(first(verdict, _VERDICT_CODE), "big")
    chain = first(verdict, _VERDICT_CHAIN).rstrip(b"\0").decode("ascii", "replace")
    if code in (_JUMP, _GOTO):
        return f"-{'j' if code == _JUMP else 'g'} {chain}"
    return next((f"-j {name}" for name, known in _VERDICTS.items() if known == code), "[immediate]")
