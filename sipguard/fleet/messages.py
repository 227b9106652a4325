"""What the nodes of a fleet write to Redis: keys, events of the stream, and the beat. All that is read is untrusted.

A node writes under `sipguard:NAME:` alone. Times are Redis's own, POSIX seconds.
"""

from __future__ import annotations

import json
import math
import re
from collections.abc import Mapping
from typing import Any, Literal, NamedTuple, cast, get_args

from sipguard.networks import BITS, NetworkRefusedError, admit, parse
from sipguard.text import printable

Class = Literal["proven", "lent", "corroborated", "reported", "hand"]
"""What a shared ban rests on: docs/wire.md has the first four; `hand` is a ban that an operator made."""
CLASSES: tuple[Class, ...] = get_args(Class)
Kind = Literal["ban", "unban", "pardon"]
"""`unban` takes back what this node has banned; `pardon`, what any node has, for those who take it from this one."""

NODES = "sipguard:nodes"
"""Set of the names of all nodes: the one key that every node writes."""
NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9_.-]{0,62}", re.ASCII)
LONGEST = 30 * 86_400.0
"""Seconds that a shared ban lasts at most; one for ever is published anew in time."""
AHEAD = 60.0
"""Seconds that a stamp may lie in the future."""
WIDEST = {4: 24, 6: 48}
"""Shortest prefix of a ban accepted from others: an attacker has at most one customer's network."""
LONGEST_BEAT = 4096
"""Bytes of a beat that are read."""
MOST_ADDRESSES = 8
"""Most own addresses that a node may name; the others never reject these."""
_LONGEST_REASON, _LONGEST_WORD = 200, 64


def key(node: str, what: str) -> str:
    """The key of one node for `bans:CLASS`, `unbans`, `pardons`, `stream` or `node` (the beat)."""
    return f"sipguard:{node}:{what}"


class BadMessageError(ValueError):
    """A message of another node is invalid; the text says why without repeating it."""


class Event(NamedTuple):
    """One ban, unban or pardon on a node."""

    kind: Kind
    network: str
    until: float
    """Of a ban, its end. An unban or pardon ends all bans that would end by then; a ban with a later end still counts."""
    evidence: Class = "proven"
    jail: str = ""
    reason: str = ""
    at: float = 0.0
    """When it was written."""
    run: str = ""
    """The run of the node that wrote it."""
    number: int = 0
    """Number of the event within its run, from 1; shows gaps."""

    def fields(self) -> dict[str, str]:
        """For `XADD`."""
        return {
            "e": self.kind,
            "n": self.network,
            "u": f"{self.until:.3f}",
            "c": self.evidence,
            "j": self.jail[:_LONGEST_WORD],
            "r": self.reason[:_LONGEST_REASON],
            "a": f"{self.at:.3f}",
            "i": self.run,
            "q": str(self.number),
        }


def read_event(fields: Mapping[bytes, bytes]) -> Event:
    """An event as another node has written it. Raises `BadMessageError`."""
    text = {name: _text(fields.get(name.encode(), b"")) for name in "enucjraiq"}
    if text["e"] not in get_args(Kind) or text["c"] not in CLASSES:
        raise BadMessageError("no event of a fleet")
    return Event(
        cast("Kind", text["e"]),
        read_network(text["n"]),
        read_time(text["u"]),
        text["c"],
        printable(text["j"], _LONGEST_WORD),
        printable(text["r"], _LONGEST_REASON),
        read_time(text["a"]),
        printable(text["i"], 32),
        int(text["q"]) if text["q"].isascii() and text["q"].isdigit() and len(text["q"]) < 16 else 0,
    )


def read_network(text: str | bytes) -> str:
    """A banned address or network, canonical. Raises `BadMessageError`."""
    if isinstance(text, bytes):
        text = _text(text)
    try:
        return admit(text, WIDEST)
    except NetworkRefusedError as error:
        raise BadMessageError(str(error)) from None
    except ValueError:
        raise BadMessageError("no address") from None


def read_time(value: Any) -> float:
    """A time, or another number that is not negative. Raises `BadMessageError`."""
    try:
        time = float(value)
    except (ValueError, TypeError):
        raise BadMessageError("no time") from None
    if not math.isfinite(time) or time < 0:
        raise BadMessageError("no time")
    return time


class Beat(NamedTuple):
    """A node's sign of life, written every few seconds."""

    at: float
    run: str
    number: int
    """Number of its last event."""
    bans: int
    """Number of bans it shares now."""
    version: str = ""
    addresses: tuple[str, ...] = ()
    """The node's own addresses."""

    def text(self) -> str:
        """For `SET`."""
        return json.dumps(self._asdict())


def read_beat(data: bytes) -> Beat:
    """A beat as another node has written it. Raises `BadMessageError`."""
    try:
        told: Any = json.loads(data[:LONGEST_BEAT])
    except (ValueError, RecursionError):
        raise BadMessageError("no beat") from None
    if not isinstance(told, dict):
        raise BadMessageError("no beat")
    at, number, bans = (read_time(told.get(name)) for name in ("at", "number", "bans"))
    addresses = told.get("addresses")
    listed = addresses if isinstance(addresses, list) else []
    own = tuple(one for one in map(_address, listed[:MOST_ADDRESSES]) if one)
    run, version = (printable(str(told.get(name, "")), 32) for name in ("run", "version"))
    return Beat(at, run, int(number), int(bans), version, own)


def _address(word: object) -> str:
    """The canonical form of a single public address; empty for anything else."""
    try:
        version, _, length = parse(str(word))
        return admit(str(word)) if length == BITS[version] else ""
    except ValueError:
        return ""


def _text(data: bytes) -> str:
    return data[:400].decode("utf-8", "replace")
